package progress_test

import (
	"context"
	"sync"
	"testing"

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

// BenchmarkBeginDone measures Begin and Done of the events of a window, with a
// Tracker and with a mutex and a map. benchstat -col /with shows both.
func BenchmarkBeginDone(b *testing.B) {
	const window = 64
	for order, step := range map[string]int{"in": 1, "out": 37} {
		b.Run("order="+order+"/with=tracker", func(b *testing.B) {
			tracker := progress.NewTracker(nil)
			var pending [window]progress.Pending
			ctx := context.Background()
			b.ReportAllocs()
			for next := int64(0); b.Loop(); next += window {
				for i := range window {
					pending[i], _ = tracker.Begin(ctx, progress.Position{SequenceNumber: next + int64(i), Offset: "4711"}, 1000)
				}
				for i := range window {
					pending[i*step%window].Done()
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*window), "ns/event")
		})
		b.Run("order="+order+"/with=map", func(b *testing.B) {
			byHand := &mutexAndMap{events: make(map[uint64]mapEvent)}
			var indexes [window]uint64
			b.ReportAllocs()
			for next := int64(0); b.Loop(); next += window {
				for i := range window {
					indexes[i] = byHand.begin(progress.Position{SequenceNumber: next + int64(i), Offset: "4711"})
				}
				for i := range window {
					byHand.done(indexes[i*step%window])
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*window), "ns/event")
		})
	}
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
