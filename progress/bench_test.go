package progress_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore/progress"
)

// mutexAndMap is what consumers write by hand: the events in flight in a map by
// their place in the stream, and a loop that moves the prefix on. It bounds
// nothing and knows no ages.
type mutexAndMap struct {
	mu         sync.Mutex
	events     map[uint64]mapEvent
	head, tail uint64
	last       progress.Position
}

type mapEvent struct {
	position progress.Position
	done     bool
}

func (m *mutexAndMap) begin(position progress.Position) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	index := m.tail
	m.events[index] = mapEvent{position: position}
	m.tail++
	return index
}

func (m *mutexAndMap) done(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.events[index]
	if !found || e.done {
		return
	}
	e.done = true
	m.events[index] = e
	for m.events[m.head].done {
		m.last = m.events[m.head].position
		delete(m.events, m.head)
		m.head++
	}
}

// BenchmarkBeginDone measures Begin and Done of one event, and beside it the same
// with a mutex and a map. Both take turns in each round, so that "map/tracker",
// the ratio of their times, is of one run.
func BenchmarkBeginDone(b *testing.B) {
	const window = 64
	var order [window]int // in which the events of a window are done
	for i := range order {
		order[i] = i * 37 % window
	}
	var offset = "4711"
	for name, inOrder := range map[string]bool{"in order": true, "out of order": false} {
		b.Run(name, func(b *testing.B) {
			tracker := progress.NewTracker(nil)
			byHand := &mutexAndMap{events: make(map[uint64]mapEvent)}
			var pending [window]progress.Pending
			var indexes [window]uint64
			var ours, theirs time.Duration
			which := func(i int) int {
				if inOrder {
					return i
				}
				return order[i]
			}
			next := int64(0)
			ctx := context.Background()
			b.ReportAllocs()
			events := 0
			for b.Loop() {
				start := time.Now()
				for i := range window {
					pending[i], _ = tracker.Begin(ctx, progress.Position{SequenceNumber: next + int64(i), Offset: offset}, 1000)
				}
				for i := range window {
					pending[which(i)].Done()
				}
				between := time.Now()
				for i := range window {
					indexes[i] = byHand.begin(progress.Position{SequenceNumber: next + int64(i), Offset: offset})
				}
				for i := range window {
					byHand.done(indexes[which(i)])
				}
				ours += between.Sub(start)
				theirs += time.Since(between)
				next += window
				events += window
			}
			report(b, events, ours, theirs)
		})
	}
}

func report(b *testing.B, events int, ours, theirs time.Duration) {
	b.ReportMetric(float64(ours)/float64(events), "tracker-ns/event")
	b.ReportMetric(float64(theirs)/float64(events), "map-ns/event")
	b.ReportMetric(float64(theirs)/float64(ours), "map/tracker")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBeginDoneWithCheckpointer is the same with a Checkpointer behind it,
// whose storage answers at once.
func BenchmarkBeginDoneWithCheckpointer(b *testing.B) {
	checkpointer := progress.NewCheckpointer(func(context.Context, progress.Position) error { return nil }, nil)
	defer checkpointer.Close(context.Background())
	tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: checkpointer})
	next := int64(0)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		p, _ := tracker.Begin(ctx, progress.Position{SequenceNumber: next, Offset: "4711"}, 1000)
		p.Done()
		next++
	}
}

// BenchmarkBeginDoneByFourWorkers hands events from one reader to four workers,
// so that the lock is fought for. The channel is part of what it measures.
func BenchmarkBeginDoneByFourWorkers(b *testing.B) {
	tracker := progress.NewTracker(nil)
	work := make(chan progress.Pending, 1000)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for p := range work {
				p.Done()
			}
		})
	}
	ctx := context.Background()
	next := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		p, _ := tracker.Begin(ctx, progress.Position{SequenceNumber: next}, 1000)
		work <- p
		next++
	}
	close(work)
	all.Wait()
}
