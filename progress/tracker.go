package progress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultMaxEvents bounds the window of a [Tracker].
	DefaultMaxEvents = 4096

	// DefaultMaxBytes bounds the events of a [Tracker] that are not done: 64 MiB.
	DefaultMaxBytes = 64 << 20
)

var (
	// ErrClosed: the [Tracker] or the [Checkpointer] was closed.
	ErrClosed = errors.New("progress: closed")

	// ErrOutOfOrder: the position is not after the one begun before. The event was
	// delivered twice, for example because a receiver was opened again. Ignore it: it
	// is already in flight or done.
	ErrOutOfOrder = errors.New("progress: out of order")
)

// Recorder gets the position of a [Tracker]. [Checkpointer] is one.
type Recorder interface {
	// Update is called each time the prefix grows, with its last position and the
	// number of events that it grew by. The tracker's lock is held, so that calls come
	// in the order of the positions: Update must not block, do I/O or call the tracker.
	Update(position Position, events int)

	// Admit is called before an event is begun. If the channel is nil, the event
	// begins; otherwise Begin waits until the channel is closed and calls Admit again.
	// Begin returns the error.
	Admit() (wait <-chan struct{}, err error)
}

// TrackerOptions are the options of [NewTracker]. Nil is the same as the zero
// value.
type TrackerOptions struct {
	// MaxEvents bounds the window: all events from the oldest that is not done to the
	// newest, done or not, because all of them are handled again after a crash. Zero
	// means [DefaultMaxEvents], negative means no bound.
	MaxEvents int

	// MaxBytes bounds the sum of the sizes of the events that are not done. An event
	// that is larger than that is begun when no other is in flight. Zero means
	// [DefaultMaxBytes], negative means no bound.
	MaxBytes int64

	// Recorder gets the position each time it changes. With nil, call Position.
	Recorder Recorder
}

// Tracker keeps the contiguous prefix of the events of a partition that are
// done. Events are begun in the order of delivery and may be done in any order.
// All methods may be called from any number of goroutines at once. A Tracker has
// no goroutine of its own.
type Tracker struct {
	options TrackerOptions
	epoch   time.Time     // when the tracker was made, which begun times count from
	closing chan struct{} // closed by Close

	mu      sync.Mutex
	slots   []slot // the window, a ring: index i is at i % len, a power of two
	head    uint64 // index of the oldest event that is not done; all before it are the prefix
	tail    uint64 // index that the next event gets; never used again, so it stamps a Pending
	undone  int    // events in the window that are not done
	bytes   int64  // their sizes
	skipped uint64
	closed  bool
	newest  int64 // the sequence number begun last, if tail > 0
	last    Position
	waiting int           // calls of Begin that wait
	room    chan struct{} // wakes one of them
	drained chan struct{} // closed when the window is empty; nil if nobody waits
}

// slot is one event of the window.
type slot struct {
	position Position
	size     int64
	begun    time.Duration // since the tracker's epoch
	done     bool
}

// NewTracker returns a Tracker without events.
func NewTracker(options *TrackerOptions) *Tracker {
	t := &Tracker{
		epoch:   time.Now(),
		closing: make(chan struct{}),
		slots:   make([]slot, 16),
		room:    make(chan struct{}, 1),
	}
	if options != nil {
		t.options = *options
	}
	if t.options.MaxEvents == 0 {
		t.options.MaxEvents = DefaultMaxEvents
	}
	if t.options.MaxBytes == 0 {
		t.options.MaxBytes = DefaultMaxBytes
	}
	return t
}

// Begin records that an event of size bytes was delivered, and returns the handle to
// call Done on. It waits while the window is full, until ctx is done; if there is
// room, it ignores ctx. Call it in the order of delivery, from the goroutine that
// reads the partition: sequence numbers must increase, by any amount.
//
// Errors, after which the event was not begun: [ErrOutOfOrder], [ErrClosed], that of
// ctx, and that of [Recorder].Admit.
func (t *Tracker) Begin(ctx context.Context, position Position, size int) (Pending, error) {
	if t.options.Recorder != nil {
		if err := t.admit(ctx); err != nil {
			return Pending{}, t.notBegun(position, err)
		}
	}
	t.mu.Lock()
	index, err := t.begin(ctx, position, int64(max(size, 0)))
	t.wake() // there may be room for another one, or this call took its wake-up
	t.mu.Unlock()
	if err != nil {
		return Pending{}, t.notBegun(position, err)
	}
	return Pending{t, index}, nil
}

func (t *Tracker) notBegun(position Position, err error) error {
	return fmt.Errorf("sequence number %d was not begun: %w", position.SequenceNumber, err)
}

// admit waits until the recorder lets an event begin.
func (t *Tracker) admit(ctx context.Context) error {
	for {
		room, err := t.options.Recorder.Admit()
		if room == nil || err != nil {
			return err
		}
		t.countWaiting(+1)
		select {
		case <-room:
		case <-t.closing:
			err = ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
		}
		t.countWaiting(-1)
		if err != nil {
			return err
		}
	}
}

func (t *Tracker) countWaiting(by int) {
	t.mu.Lock()
	t.waiting += by
	t.mu.Unlock()
}

// The methods below up to grow are called with the lock held.

// begin waits for room and takes the next slot.
func (t *Tracker) begin(ctx context.Context, position Position, bytes int64) (index uint64, err error) {
	for {
		if err := t.refuses(position.SequenceNumber); err != nil {
			return 0, err
		}
		if t.hasRoom(bytes) {
			break
		}
		if err := t.wait(ctx); err != nil {
			return 0, err
		}
	}
	if t.tail-t.head == uint64(len(t.slots)) {
		t.grow()
	}
	index = t.tail
	s := t.at(index)
	s.position, s.size, s.begun, s.done = position, bytes, time.Since(t.epoch), false
	t.tail++
	t.undone++
	t.bytes += bytes
	t.newest = position.SequenceNumber
	return index, nil
}

func (t *Tracker) at(index uint64) *slot { return &t.slots[index&uint64(len(t.slots)-1)] }

func (t *Tracker) refuses(sequenceNumber int64) error {
	if t.closed {
		return ErrClosed
	}
	if t.tail > 0 && sequenceNumber <= t.newest {
		return fmt.Errorf("%w: %d was begun before", ErrOutOfOrder, t.newest)
	}
	return nil
}

func (t *Tracker) hasRoom(bytes int64) bool {
	if t.options.MaxEvents > 0 && t.tail-t.head >= uint64(t.options.MaxEvents) {
		return false
	}
	return t.options.MaxBytes < 0 || t.undone == 0 || bytes <= t.options.MaxBytes-t.bytes
}

// wait gives the lock up until there may be room.
func (t *Tracker) wait(ctx context.Context) (err error) {
	t.waiting++
	t.mu.Unlock()
	select {
	case <-t.room:
	case <-t.closing:
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	t.waiting--
	return err
}

// wake lets one waiting call look for room again. A call that stops waiting calls
// it in turn, so that no wake-up is lost.
func (t *Tracker) wake() {
	if t.waiting > 0 {
		select {
		case t.room <- struct{}{}:
		default:
		}
	}
}

func (t *Tracker) grow() {
	slots := make([]slot, 2*len(t.slots))
	for i := t.head; i < t.tail; i++ {
		slots[i&uint64(len(slots)-1)] = *t.at(i)
	}
	t.slots = slots
}

// finish marks an event as done and moves the prefix on.
func (t *Tracker) finish(index uint64, skip bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if index < t.head {
		return // and its slot may have the next event
	}
	s := t.at(index)
	if s.done {
		return
	}
	s.done = true
	t.undone--
	t.bytes -= s.size
	if skip {
		t.skipped++
	}
	if index == t.head {
		t.advance()
	}
	t.wake()
}

func (t *Tracker) advance() {
	first := t.head
	for t.head < t.tail && t.at(t.head).done {
		t.head++
	}
	t.last = t.at(t.head - 1).position
	if t.options.Recorder != nil {
		t.options.Recorder.Update(t.last, int(t.head-first))
	}
	if t.drained != nil && t.head == t.tail {
		close(t.drained)
		t.drained = nil
	}
}
