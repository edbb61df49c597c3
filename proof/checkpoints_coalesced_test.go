package proof

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore/progress"
)

// openEvents knows which events of one handler are not done.
type openEvents struct {
	mu   sync.Mutex
	open map[int64]bool
}

func (e *openEvents) set(position int64, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[position] = open
}

// upTo returns an event that is not done and not after a position.
func (e *openEvents) upTo(position int64) (int64, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, open := range e.open {
		if open && p <= position {
			return p, true
		}
	}
	return 0, false
}

// updateCoalesced puts package progress between the handler and the store: events begin in order and are done in any order,
// and a Checkpointer stores the position. Beside the promises of checkpoints_test.go, no position is given to the store
// before every event up to it is done, and a final flush that succeeds has stored its position or a later one.
func (c *consumer) updateCoalesced(ctx context.Context, id string, position int64, random *rand.Rand) {
	events := &openEvents{open: make(map[int64]bool)}
	checkpointer := progress.NewCheckpointer(func(_ context.Context, p progress.Position) error {
		if open, found := events.upTo(p.SequenceNumber); found {
			c.monitor.written(c.name, p.SequenceNumber, open)
		}
		return c.update(id, p.SequenceNumber)
	}, &progress.CheckpointerOptions{
		Events: 5, Interval: 10 * c.pace, MaxUnwritten: 20,
		WriteTimeout: 30 * c.pace, FlushTimeout: 40 * c.pace,
		MinBackoff: 1, MaxBackoff: 1, // without jitter, so that a seed gives the same history again
	})
	tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: 8, Recorder: checkpointer})
	var handlers sync.WaitGroup
	for c.pause(ctx, random) {
		for range 1 + random.IntN(4) {
			position += 1 + random.Int64N(5)
			at, takes := position, time.Duration(random.Int64N(5*int64(c.pace)))
			events.set(at, true)
			pending, err := tracker.Begin(ctx, progress.Position{SequenceNumber: at}, 1)
			if err != nil {
				events.set(at, false) // never begun
				break
			}
			handlers.Go(func() {
				time.Sleep(takes)
				events.set(at, false)
				pending.Done()
			})
		}
	}
	tracker.Close()
	handlers.Wait()
	last, any := tracker.Position()
	closes := checkpointer.Close
	if random.IntN(2) == 0 {
		closes = checkpointer.CloseLost
	}
	c.monitor.closed(id, last.SequenceNumber, any, closes(ctx))
	<-checkpointer.Stopped()
}
