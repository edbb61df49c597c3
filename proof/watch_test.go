package proof

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// watch sees what the service holds and what callers were told.
type watch struct {
	service *fakeblob.Service
	mu      sync.Mutex
	acked   checkpoint // the furthest that was acknowledged
	found   []string
	acks    []int64
	basis   map[string]string // the offset that each handler began behind
	refused map[string]int64  // the generation that was stored when each handler was first told that its own is over
	results map[string]int
	broken  []string // in which ways the promise was
	calls   []string // as their callers saw them, in the order of their ends
}

// checkpoint is what the service holds, or held. The zero value is none. Each position is written by one handler, which the
// offset names.
type checkpoint struct {
	generation, position int64
	offset               string
}

// behind tells whether a record may not follow another one.
func (r checkpoint) behind(other checkpoint) bool {
	return r.generation < other.generation || r.generation == other.generation && r.position < other.position
}

func (r checkpoint) String() string {
	return fmt.Sprintf("%d of generation %d (%s)", r.position, r.generation, r.offset)
}

// checkpointBy is a position of a handler. Its offset is found nowhere else.
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

// stored is what the service holds.
func (w *watch) stored() checkpoint {
	b, found := w.service.Get(checkpointPrefix + "0")
	if !found {
		return checkpoint{}
	}
	return checkpoint{number(b.Metadata["generation"]), number(b.Metadata["sequencenumber"]), b.Metadata["offset"]}
}

func number(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (w *watch) saw(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

func (w *watch) blame(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// began notes where a handler began.
func (w *watch) began(handler string, from checkpointstore.Checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.basis[handler] = *from.Offset
}

// updated holds the outcome of an update against what is stored now.
func (w *watch) updated(handler string, position int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stored := w.stored()
	w.saw("%s updates to %d: %v", handler, position, cmp.Or(err, errors.New("stored")))
	switch {
	case err == nil:
		w.results["stored"]++
		if strings.HasPrefix(w.basis[handler], "operator") {
			w.results["stored after a rewind"]++
		}
		w.acknowledge(position)
		if stored.generation == 0 && stored.position < position {
			w.blame("%s was told that %d is stored, and it is %v", handler, position, stored)
		}
	case errors.Is(err, checkpointstore.ErrRewound):
		w.results["refused for its generation"]++
		if _, again := w.refused[handler]; !again {
			w.refused[handler] = stored.generation
		}
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
		w.results["stale"]++
		if stored.generation == 0 && stored.position <= position {
			w.blame("%s was told that %d is stale, and stored is %v", handler, position, stored)
		}
	default:
		w.results["unknown"]++
	}
}

// rewound notes what came of a rewind.
func (w *watch) rewound(to checkpointstore.Checkpoint, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw("%s rewinds: %v", *to.Offset, cmp.Or(err, errors.New("stored")))
	if err == nil {
		w.results["rewound"]++
		w.acknowledge(*to.SequenceNumber)
	}
}

// acknowledge notes that a caller was told that its position is stored, and what the service holds by then.
func (w *watch) acknowledge(position int64) {
	w.acks = append(w.acks, position)
	stored := w.stored()
	if w.acked.behind(stored) {
		w.acked = stored
	}
	if stored.behind(w.acked) {
		w.blame("%v was stored when something was acknowledged, and now it is %v", w.acked, stored)
	}
}

func (w *watch) mark() checkpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

func (w *watch) furthestAcked() int64 { return w.mark().position }

// claimed notes what came of a claim.
func (w *watch) claimed(who, as, on string, winners []checkpointstore.Ownership, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	result := "lost"
	switch {
	case err != nil:
		result = err.Error()
	case len(winners) == 1:
		result = "won, " + string(*winners[0].ETag)
	}
	w.saw("%s claims on %s for %s: %s", who, cmp.Or(on, "none"), cmp.Or(as, "nobody"), result)
}

// looked holds what a look found against what was stored before it began.
func (w *watch) looked(who string, found checkpointstore.Checkpoint, before checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw("%s looks and finds %d (%s)", who, *found.SequenceNumber, *found.Offset)
	w.found = append(w.found, *found.Offset)
	if before.generation == 0 && w.stored().generation == 0 && *found.SequenceNumber < before.position {
		w.blame("%s looked and found %d, after %v had been acknowledged", who, *found.SequenceNumber, before)
	}
}

// check holds all that was written against the promise, in the order in which the service applied it.
func (w *watch) check(wire string) {
	written, last := map[string]checkpoint{"": {}}, checkpoint{}
	positions := make(map[int64]bool)
	for _, r := range applied(wire) {
		if r.behind(last) {
			w.blame("the checkpoint went back from %v to %v", last, r)
		}
		if _, twice := written[r.offset]; !twice {
			written[r.offset] = r
		}
		last, positions[r.position] = r, true
		handler, _, _ := strings.Cut(r.offset, "@")
		if basis, isHandler := w.basis[handler]; isHandler && written[basis].generation != r.generation {
			w.blame("%s began in generation %d, and stored %v", handler, written[basis].generation, r)
		}
	}
	for handler, generation := range w.refused {
		if began := written[w.basis[handler]].generation; generation <= began {
			w.blame("%s began in generation %d, and was told that it is over when %d was stored", handler, began, generation)
		}
	}
	for _, offset := range w.found {
		if _, found := written[offset]; !found {
			w.blame("nobody wrote %s, which a look found", offset)
		}
	}
	for _, position := range w.acks {
		if !positions[position] {
			w.blame("nobody wrote %d, which was acknowledged", position)
		}
	}
	if last != w.stored() {
		w.blame("written last was %v, and stored is %v", last, w.stored())
	}
}

// applied is what was written, in the order of the ETags, which the fake counts.
func applied(wire string) []checkpoint {
	type write struct {
		etag uint64
		checkpoint
	}
	var writes []write
	for line := range strings.Lines(wire) {
		if !strings.HasPrefix(line, "PUT") || !strings.Contains(line, checkpointPrefix) {
			continue
		}
		request, result, _ := strings.Cut(line, " -> ")
		etag, err := strconv.ParseUint(value(result, "etag"), 0, 64)
		if err != nil {
			continue // it took no effect
		}
		writes = append(writes, write{etag, checkpoint{
			number(value(request, "generation")), number(value(request, "sequencenumber")), value(request, "offset"),
		}})
	}
	slices.SortFunc(writes, func(a, b write) int { return cmp.Compare(a.etag, b.etag) })
	records := make([]checkpoint, len(writes))
	for i, w := range writes {
		records[i] = w.checkpoint
	}
	return records
}

// value is what stands in quotes behind a name in a line of the transcript.
func value(line, name string) string {
	_, text, _ := strings.Cut(line, " "+name+`="`)
	text, _, _ = strings.Cut(text, `"`)
	return text
}
