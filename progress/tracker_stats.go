package progress

import (
	"context"
	"time"
)

// Pending is an event that was begun. It is a small value that can be copied. Its
// methods may be called several times, from several goroutines, and after the
// Tracker was closed. Only the first call of Done or Skip has an effect. The zero
// value belongs to no event.
type Pending struct {
	tracker *Tracker
	index   uint64
}

// Done records that the event was handled.
func (p Pending) Done() {
	if p.tracker != nil {
		p.tracker.finish(p.index, false)
	}
}

// Skip gives up on the event: it counts as done although it was not handled, and in
// [TrackerStats].Skipped. A later Done of its handler has no effect.
func (p Pending) Skip() {
	if p.tracker != nil {
		p.tracker.finish(p.index, true)
	}
}

// Position returns the last position of the prefix: every event up to it is
// done. It returns false as long as the first event is not done.
func (t *Tracker) Position() (Position, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.head > 0
}

// Oldest returns the oldest event that is not done, its position and for how
// long it has been in flight. It returns false if no event is in flight.
func (t *Tracker) Oldest() (event Pending, position Position, age time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == t.tail {
		return Pending{}, Position{}, 0, false
	}
	s := t.at(t.head)
	return Pending{t, t.head}, s.position, time.Since(t.epoch) - s.begun, true
}

// Drain waits until every event that was begun is done, no longer than ctx, and
// returns the context's error if it ends first. It works after Close as well.
func (t *Tracker) Drain(ctx context.Context) error {
	t.mu.Lock()
	if t.head == t.tail {
		t.mu.Unlock()
		return nil
	}
	if t.drained == nil {
		t.drained = make(chan struct{})
	}
	drained := t.drained
	t.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close makes waiting and later calls of Begin return [ErrClosed]. Events in flight
// can still be done, which moves the prefix on: what is completed after the consumer
// was told to stop is not lost. A second call has no effect.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.closing)
	}
}

// TrackerStats is a snapshot of a [Tracker].
type TrackerStats struct {
	Begun   uint64 // events begun so far
	Prefix  uint64 // of these, the ones in the prefix
	Skipped uint64 // events that Skip ended

	InFlight int   // events in the window: Begun - Prefix
	Undone   int   // of these, the ones that are not done
	Bytes    int64 // their sizes

	Oldest    Position      // the oldest event that is not done, if Undone > 0
	OldestAge time.Duration // for how long it has been in flight; 0 if there is none

	Waiting int // calls of Begin that wait for room
}

// Stats returns a snapshot.
func (t *Tracker) Stats() TrackerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TrackerStats{
		Begun: t.tail, Prefix: t.head, Skipped: t.skipped,
		InFlight: int(t.tail - t.head), Undone: t.undone, Bytes: t.bytes,
		Waiting: t.waiting,
	}
	if t.head < t.tail {
		oldest := t.at(t.head)
		s.Oldest, s.OldestAge = oldest.position, time.Since(t.epoch)-oldest.begun
	}
	return s
}
