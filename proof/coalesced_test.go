package proof

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/progress"
)

// The histories of checkpoints_test.go once more, with package progress between the handlers and the stores: events are
// begun in order and done in any order, and what is written is the position of a Checkpointer. All promises are the same.
// Besides, no position is given to a store before every event up to it is done, and what a handler's last flush says is
// written is stored, or what is further on.

// doneEvents knows which events of one handler are done.
type doneEvents struct {
	mu   sync.Mutex
	open map[int64]bool
}

func (d *doneEvents) begin(position int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[position] = true
}

func (d *doneEvents) done(position int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, position)
}

// openUpTo returns an event that is not done and not after a position.
func (d *doneEvents) openUpTo(position int64) (int64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.open {
		if p <= position {
			return p, true
		}
	}
	return 0, false
}

// beginCoalesced starts a handler behind a position, whose positions are coalesced.
func (c *consumer) beginCoalesced(from checkpointstore.Checkpoint) {
	id := c.register(from)
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{end: cancel, done: make(chan struct{})}
	c.handlers = append(c.handlers, h)
	random := rand.New(rand.NewPCG(c.random.Uint64(), 3))
	events := &doneEvents{open: make(map[int64]bool)}
	checkpointer := progress.NewCheckpointer(func(_ context.Context, p progress.Position) error {
		if open, found := events.openUpTo(p.SequenceNumber); found {
			c.watch.broke("%s writes %d, and %d is not done", c.name, p.SequenceNumber, open)
		}
		return c.update(id, p.SequenceNumber)
	}, &progress.CheckpointerOptions{
		Events: 5, Interval: 10 * c.pace, MaxUnwritten: 20,
		WriteTimeout: 30 * c.pace, FlushTimeout: 40 * c.pace,
		MinBackoff: 1, MaxBackoff: 1, // without jitter, so that a seed gives the same history again
	})
	tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: 8, Recorder: checkpointer})
	go func() {
		defer close(h.done)
		var handlers sync.WaitGroup
		for position := *from.SequenceNumber; ctx.Err() == nil; {
			select {
			case <-time.After(time.Duration(random.Int64N(10 * int64(c.pace)))):
			case <-ctx.Done():
			}
			for range 1 + random.IntN(4) {
				position += 1 + random.Int64N(5)
				at, takes := position, time.Duration(random.Int64N(5*int64(c.pace)))
				events.begin(at)
				pending, err := tracker.Begin(ctx, progress.Position{SequenceNumber: at}, 1)
				if err != nil {
					events.done(at) // never begun
					break
				}
				handlers.Go(func() {
					time.Sleep(takes)
					events.done(at)
					pending.Done()
				})
			}
		}
		tracker.Close()
		handlers.Wait()
		last, any := tracker.Position()
		if random.IntN(2) == 0 {
			c.watch.closed(id, last.SequenceNumber, any, checkpointer.Close(ctx))
		} else {
			c.watch.closed(id, last.SequenceNumber, any, checkpointer.CloseLost(ctx))
		}
		<-checkpointer.Stopped()
	}()
}

func (w *watch) broke(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blame(format, args...)
}

// closed holds what a last flush said against what is stored.
func (w *watch) closed(who string, position int64, any bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw("%s closes at %d: %v", who, position, err)
	if err == nil && any {
		w.results["flushed"]++
		if stored := w.stored(); stored.generation == 0 && stored.position < position {
			w.blame("%s was told that %d was flushed, and %v is stored", who, position, stored)
		}
	}
}

func TestNoOwnerMovesACheckpointBackWithCoalescedWrites(t *testing.T) {
	n := fewer(200)
	report, results := broken(t, func(yield func(config) bool) {
		for c := range seeds(n, eightWriters()) {
			c.coalesced = true
			c.faults = mix(rand.New(rand.NewPCG(c.seed, 4)).IntN(mixes()))
			if !yield(c) {
				return
			}
		}
	})
	require.Empty(t, report)
	t.Logf("%d histories of 8 writers, updates: %v", n, results)
	for _, what := range []string{"stored", "stale", "unknown", "flushed"} {
		require.Greater(t, results[what], int(n), what)
	}
}

func TestTheCheckFindsUnfencedStoresBehindCoalescedWrites(t *testing.T) {
	c := eightWriters()
	c.store, c.coalesced, c.rewinds = unfenced, true, 0
	report, _ := broken(t, seeds(20, c))
	require.Contains(t, report, "went back")
	t.Log(report)
}
