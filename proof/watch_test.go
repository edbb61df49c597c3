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
	acked   int64 // the furthest position that was acknowledged
	looks   []int64
	acks    []int64
	results map[string]int
	broken  []string // in which ways the promise was
	calls   []string // as their callers saw them, in the order of their ends
}

// stored is the position that the service holds; 0 if there is none.
func (w *watch) stored() int64 {
	b, found := w.service.Get(checkpointPrefix + "0")
	if !found {
		return 0
	}
	n, err := strconv.ParseInt(b.Metadata["sequencenumber"], 10, 64)
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

// updated holds the outcome of an update against what is stored now.
func (w *watch) updated(who string, position int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stored := w.stored()
	w.saw("%s updates to %d: %v", who, position, cmp.Or(err, errors.New("stored")))
	switch {
	case err == nil:
		w.results["stored"]++
		w.acked = max(w.acked, position)
		w.acks = append(w.acks, position)
		if stored < position {
			w.blame("%s was told that %d is stored, and it is %d", who, position, stored)
		}
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
		w.results["stale"]++
		if stored <= position {
			w.blame("%s was told that %d is stale, and it is %d", who, position, stored)
		}
	default:
		w.results["unknown"]++
	}
}

func (w *watch) furthestAcked() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

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

// looked holds what a look found against what had been acknowledged before it began.
func (w *watch) looked(who string, found, acked int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, found)
	w.saw("%s looks and finds %d", who, found)
	if found < acked {
		w.blame("%s looked and found %d, after %d had been acknowledged", who, found, acked)
	}
}

// check holds all that was written against the promise, in the order in which the service applied it.
func (w *watch) check(wire string) {
	written, last := map[int64]bool{0: true}, int64(0)
	for _, position := range applied(wire) {
		if position < last {
			w.blame("the position went back from %d to %d", last, position)
		}
		written[position], last = true, position
	}
	for _, position := range slices.Concat(w.looks, w.acks) {
		if !written[position] {
			w.blame("nobody wrote %d", position)
		}
	}
	if last != w.stored() {
		w.blame("written last was %d, and stored is %d", last, w.stored())
	}
}

// applied is the positions that were written, in the order of their ETags, which the fake counts.
func applied(wire string) []int64 {
	type write struct {
		etag     uint64
		position int64
	}
	var writes []write
	for line := range strings.Lines(wire) {
		if !strings.HasPrefix(line, "PUT") || !strings.Contains(line, checkpointPrefix) {
			continue
		}
		_, text, _ := strings.Cut(line, `sequencenumber="`)
		text, result, _ := strings.Cut(text, `"`)
		_, etag, took := strings.Cut(result, `etag="0x`)
		if !took {
			continue
		}
		etag, _, _ = strings.Cut(etag, `"`)
		var w write
		var errs [2]error
		w.position, errs[0] = strconv.ParseInt(text, 10, 64)
		w.etag, errs[1] = strconv.ParseUint(etag, 16, 64)
		if err := errors.Join(errs[:]...); err != nil {
			panic(err)
		}
		writes = append(writes, w)
	}
	slices.SortFunc(writes, func(a, b write) int { return int(a.etag) - int(b.etag) })
	positions := make([]int64, len(writes))
	for i, w := range writes {
		positions[i] = w.position
	}
	return positions
}
