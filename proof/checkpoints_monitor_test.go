package proof

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// checkpointMonitor compares what the service stores with what callers were told.
type checkpointMonitor struct {
	service *fakeblob.Service
	mu      sync.Mutex
	writes  []checkpointWrite
	acked   checkpoint // the latest that was acknowledged
	found   []string
	acks    []int64
	basis   map[string]string // the offset of the checkpoint that each handler started from
	refused map[string]int64  // the stored generation when each handler first received ErrRewound
	results map[string]int
	broken  []string // how the promise was broken
	calls   []string // as their callers saw them, in the order in which they ended
}

// checkpointBy returns a checkpoint of a handler, whose offset is unique.
func checkpointBy(handler string, position int64) checkpointstore.Checkpoint {
	c := checkpointAt("0", position)
	*c.Offset = offsetOf(handler, position)
	return c
}

func offsetOf(handler string, position int64) string {
	if handler == "" {
		return ""
	}
	return fmt.Sprint(handler, "@", position)
}

// stored returns what the service stores.
func (m *checkpointMonitor) stored() checkpoint {
	b, found := m.service.Get(checkpointPrefix + "0")
	if !found {
		return checkpoint{}
	}
	return checkpoint{number(b.Metadata["generation"]), number(b.Metadata["sequencenumber"]), b.Metadata["offset"]}
}

// observe notes a write that the service applied.
func (m *checkpointMonitor) observe(req *http.Request, etag uint64) {
	if strings.Contains(req.URL.Path, "/checkpoint/") {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.writes = append(m.writes, checkpointWrite{etag: etag, checkpoint: checkpointOf(req)})
	}
}

func (m *checkpointMonitor) saw(format string, args ...any) {
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
}

func (m *checkpointMonitor) fail(format string, args ...any) {
	m.broken = append(m.broken, fmt.Sprintf(format, args...))
}

// began notes where a handler started.
func (m *checkpointMonitor) began(handler string, from checkpointstore.Checkpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.basis[handler] = *from.Offset
}

// updated compares the result of an update with what is stored now.
func (m *checkpointMonitor) updated(handler string, position int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored := m.stored()
	m.saw("%s updates to %d: %v", handler, position, cmp.Or(err, errors.New("stored")))
	switch {
	case err == nil:
		m.results["stored"]++
		if strings.HasPrefix(m.basis[handler], "operator") {
			m.results["stored after a rewind"]++
		}
		m.acknowledge(position)
		if stored.generation == 0 && stored.position < position {
			m.fail("%s was told that %d is stored, and it is %v", handler, position, stored)
		}
	case errors.Is(err, checkpointstore.ErrRewound):
		m.results["refused for its generation"]++
		if _, again := m.refused[handler]; !again {
			m.refused[handler] = stored.generation
		}
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
		m.results["stale"]++
		if stored.generation == 0 && stored.position <= position {
			m.fail("%s was told that %d is stale, and stored is %v", handler, position, stored)
		}
	default:
		m.results["unknown"]++
	}
}

// rewound notes the result of a rewind.
func (m *checkpointMonitor) rewound(to checkpointstore.Checkpoint, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saw("%s rewinds: %v", *to.Offset, cmp.Or(err, errors.New("stored")))
	if err == nil {
		m.results["rewound"]++
		m.acknowledge(*to.SequenceNumber)
	}
}

// acknowledge notes that a caller was told that its position is stored, and what the service stores by then.
func (m *checkpointMonitor) acknowledge(position int64) {
	m.acks = append(m.acks, position)
	stored := m.stored()
	if m.acked.behind(stored) {
		m.acked = stored
	}
	if stored.behind(m.acked) {
		m.fail("%v was stored when something was acknowledged, and now it is %v", m.acked, stored)
	}
}

// furthest returns the latest checkpoint that was acknowledged.
func (m *checkpointMonitor) furthest() checkpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}

// claimed notes the result of a claim.
func (m *checkpointMonitor) claimed(who, as, on string, winners []checkpointstore.Ownership, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	result := "lost"
	switch {
	case err != nil:
		result = err.Error()
	case len(winners) == 1:
		result = "won, " + string(*winners[0].ETag)
	}
	m.saw("%s claims on %s for %s: %s", who, cmp.Or(on, "none"), cmp.Or(as, "nobody"), result)
}

// looked compares the result of a read with what had been acknowledged when it began.
func (m *checkpointMonitor) looked(who string, found checkpointstore.Checkpoint, before checkpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saw("%s looks and finds %d (%s)", who, *found.SequenceNumber, *found.Offset)
	m.found = append(m.found, *found.Offset)
	if before.generation == 0 && m.stored().generation == 0 && *found.SequenceNumber < before.position {
		m.fail("%s looked and found %d, after %v had been acknowledged", who, *found.SequenceNumber, before)
	}
}

// check checks all writes, in the order in which the service applied them.
func (m *checkpointMonitor) check() {
	written, last := map[string]checkpoint{"": {}}, checkpoint{}
	positions := make(map[int64]bool)
	for _, w := range inOrder(m.writes) {
		r := w.checkpoint
		if r.behind(last) {
			m.fail("the checkpoint went back from %v to %v", last, r)
		}
		if _, twice := written[r.offset]; !twice {
			written[r.offset] = r
		}
		last, positions[r.position] = r, true
		handler, _, _ := strings.Cut(r.offset, "@")
		if basis, isHandler := m.basis[handler]; isHandler && written[basis].generation != r.generation {
			m.fail("%s started in generation %d, and stored %v", handler, written[basis].generation, r)
		}
	}
	for handler, generation := range m.refused {
		if began := written[m.basis[handler]].generation; generation <= began {
			m.fail("%s started in generation %d, and received ErrRewound when %d was stored", handler, began, generation)
		}
	}
	for _, offset := range m.found {
		if _, found := written[offset]; !found {
			m.fail("nobody wrote %s, which a read returned", offset)
		}
	}
	for _, position := range m.acks {
		if !positions[position] {
			m.fail("nobody wrote %d, which was acknowledged", position)
		}
	}
	if last != m.stored() {
		m.fail("written last was %v, and stored is %v", last, m.stored())
	}
}

// written notes that a position is given to a store while an event up to it is open.
func (m *checkpointMonitor) written(who string, position, open int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail("%s writes %d, and %d is not done", who, position, open)
}

// closed compares the result of a final flush with what is stored.
func (m *checkpointMonitor) closed(who string, position int64, any bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saw("%s closes at %d: %v", who, position, err)
	if err == nil && any {
		m.results["flushed"]++
		if stored := m.stored(); stored.generation == 0 && stored.position < position {
			m.fail("%s was told that %d was flushed, and %v is stored", who, position, stored)
		}
	}
}
