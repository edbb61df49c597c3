package progress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/progress"
)

// model is a tracker by brute force: it keeps every event for ever, and looks at
// all of them for each answer.
type model struct {
	maxEvents int
	maxBytes  int64
	events    []modelEvent
	skipped   uint64
	closed    bool
}

type modelEvent struct {
	sequenceNumber int64
	size           int64
	done           bool
}

func (m *model) prefix() (n int) {
	for n < len(m.events) && m.events[n].done {
		n++
	}
	return n
}

func (m *model) stats() progress.TrackerStats {
	n := m.prefix()
	s := progress.TrackerStats{Begun: uint64(len(m.events)), Prefix: uint64(n), Skipped: m.skipped, InFlight: len(m.events) - n}
	for i, e := range m.events {
		if e.done {
			continue
		}
		if i == n {
			s.Oldest = at(e.sequenceNumber)
		}
		s.Undone++
		s.Bytes += e.size
	}
	return s
}

// begin returns what Begin does with a context that has ended.
func (m *model) begin(sequenceNumber, size int64) error {
	s := m.stats()
	switch n := len(m.events); {
	case m.closed:
		return progress.ErrClosed
	case n > 0 && sequenceNumber <= m.events[n-1].sequenceNumber:
		return progress.ErrOutOfOrder
	case s.InFlight >= m.maxEvents, s.Undone > 0 && s.Bytes+size > m.maxBytes:
		return context.Canceled
	}
	m.events = append(m.events, modelEvent{sequenceNumber, size, false})
	return nil
}

func (m *model) finish(i int, skip bool) {
	if !m.events[i].done && skip {
		m.skipped++
	}
	m.events[i].done = true
}

// playTracker does what the script says to a tracker and to the model, and
// returns the first difference. Each byte is one step, with the next ones as its
// arguments; counts tells which steps had an effect.
func playTracker(script []byte, counts map[string]int) error {
	byteAt := func(i int) int64 {
		if i < len(script) {
			return int64(script[i])
		}
		return 0
	}
	m := &model{maxEvents: 1 + int(byteAt(0))%70, maxBytes: 50 + byteAt(1)}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	told := &modelRecorder{}
	tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: m.maxEvents, MaxBytes: m.maxBytes, Recorder: told})
	var handles []progress.Pending
	last := int64(-100)
	for i := 2; i < len(script); i += 2 {
		op, arg := script[i], byteAt(i+1)
		switch {
		case op < 120: // begin, mostly the next one
			n, size := last+arg%9-1, arg%16
			want := m.begin(n, size)
			p, err := tracker.Begin(ended, at(n), int(size))
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				return fmt.Errorf("step %d: begin %d, %d bytes: %v, want %v", i, n, size, err, want)
			}
			if err == nil {
				handles, last = append(handles, p), n
			}
			counts[fmt.Sprint("begin: ", want)]++
		case op < 254: // finish one of the last 64, or of all
			if len(handles) == 0 {
				continue
			}
			first := max(0, len(handles)-64)
			if op%8 == 0 {
				first = 0
			}
			which := first + int(arg)%(len(handles)-first)
			skip := op%16 == 1
			switch {
			case m.events[which].done:
				counts["again"]++
			case which == m.prefix():
				counts["head"]++
			default:
				counts["later"]++
			}
			m.finish(which, skip)
			if skip {
				handles[which].Skip()
			} else {
				handles[which].Done()
			}
		case op == 255 && arg > 150:
			m.closed = true
			tracker.Close()
			counts["close"]++
		}
		if err := sameState(tracker, m, told); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

type modelRecorder struct {
	last   progress.Position
	events int
}

func (r *modelRecorder) Update(p progress.Position, events int) {
	r.last, r.events = p, r.events+events
}

func (r *modelRecorder) Admit() (<-chan struct{}, error) { return nil, nil }

func sameState(tracker *progress.Tracker, m *model, told *modelRecorder) error {
	got, want := tracker.Stats(), m.stats()
	got.OldestAge = 0
	if got != want {
		return fmt.Errorf("state %+v, want %+v", got, want)
	}
	n := m.prefix()
	position, ok := tracker.Position()
	switch {
	case ok != (n > 0):
		return fmt.Errorf("a position: %v, with %d events in the prefix", ok, n)
	case ok && position != at(m.events[n-1].sequenceNumber):
		return fmt.Errorf("position %v, want %d", position, m.events[n-1].sequenceNumber)
	case told.events != n || told.last != position:
		return fmt.Errorf("the recorder was told %d events up to %v, want %d up to %v", told.events, told.last, n, position)
	}
	_, oldest, _, ok := tracker.Oldest()
	if ok != (want.InFlight > 0) || oldest != want.Oldest {
		return fmt.Errorf("oldest %v, want %v", oldest, want.Oldest)
	}
	return nil
}

func TestTheTrackerAgreesWithAModel(t *testing.T) {
	counts := make(map[string]int)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		if seed%2 == 0 { // no close
			for i := 2; i < len(script); i += 2 {
				script[i] = min(script[i], 253)
			}
		}
		require.NoError(t, playTracker(script, counts), "seed %d", seed)
	}
	t.Log(counts)
	for _, what := range []string{"begin: <nil>", "begin: context canceled", "begin: " + progress.ErrClosed.Error(), "begin: " + progress.ErrOutOfOrder.Error(), "again", "head", "later", "close"} {
		require.Greater(t, counts[what], 50, what)
	}
}

func FuzzTrackerAgreesWithAModel(f *testing.F) {
	f.Add([]byte{3, 0, 0, 2, 0, 2, 121, 1, 121, 0, 121, 1, 0, 2})
	f.Add([]byte{0, 200, 0, 15, 255, 255, 0, 2, 129, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if err := playTracker(script, make(map[string]int)); err != nil {
			t.Fatal(err)
		}
	})
}
