package progress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ea947076/checkpointstore"
)

// Checkpointer writes the latest position of one partition from time to time: after
// [CheckpointerOptions].Events events or Interval, whichever comes first, so also
// when the stream goes quiet. There is one write at a time, and positions never go
// back. If a write fails, that position or a later one is tried again after a
// back-off. A stale position is behind the stored one, and is not tried again.
//
// If the WriteFunc returns [checkpointstore.ErrRewound], somebody has rewound the
// stored position: the Checkpointer ends at once. Stopped is closed, Err tells why,
// and the owner has to release the partition.
//
// A Checkpointer owns one goroutine, which ends with Close, CloseLost or a rewind.
// All methods may be called from any number of goroutines at once.
type Checkpointer struct {
	write   WriteFunc
	options CheckpointerOptions
	wakeUp  chan struct{} // tells the goroutine to look again
	stopped chan struct{} // closed when the goroutine ends
	refuses atomic.Bool   // whether Admit lets nothing begin; follows what is below

	mu        sync.Mutex    // never held during a write or a hook
	given     bool          // whether there was a position
	highest   int64         // its sequence number, of the highest one
	pending   batch         // what the next write covers
	writing   batch         // what the write under way covers
	cancel    func()        // ends the write under way
	flushes   []*flush      // that wait for an answer
	failures  int           // attempts that failed since the last that did not
	notBefore time.Time     // back-off
	room      chan struct{} // closed when something was written; nil if nobody waits
	closing   bool          // no more positions are taken
	lost      bool          // the partition was lost: a stale answer is no error
	ended     bool          // nothing is written any more
	err       error         // why it ended by itself
	result    error         // what a Close after the end returns
	stats     CheckpointerStats
}

// batch is a position with what it stands for. Without positions it is empty.
type batch struct {
	position  Position
	positions int       // given, of which position is the last
	events    int       // that entered the prefix
	since     time.Time // when the first did
}

// NewCheckpointer returns a Checkpointer for one partition in one tenure, from its
// claim to its loss or release. Call Close or CloseLost at the end.
func NewCheckpointer(write WriteFunc, options *CheckpointerOptions) *Checkpointer {
	c := &Checkpointer{
		write:   write,
		options: options.withDefaults(),
		wakeUp:  make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	go c.run()
	return c
}

// Update sets the position to write next: every event up to it is done. The argument
// events is how many were done since the last call. Update ignores a position that is
// not after all earlier ones, and any after Close or a rewind. It never waits for
// the storage.
func (c *Checkpointer) Update(position Position, events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing || c.ended:
		return
	case c.given && position.SequenceNumber <= c.highest:
		c.stats.Coalesced++
		return
	}
	c.given, c.highest = true, position.SequenceNumber
	p, before := &c.pending, c.pending.events
	if p.positions == 0 {
		p.since = time.Now()
	} else {
		c.stats.Coalesced++
	}
	p.position = position
	p.positions++
	p.events += max(events, 1)
	if c.full() {
		c.refuses.Store(true)
	}
	if p.positions == 1 || before < c.options.Events && p.events >= c.options.Events {
		c.wake()
	}
}

// Admit returns nil if an event may be begun. While
// [CheckpointerOptions].MaxUnwritten events are done and not written, it returns a
// channel: call Admit again when that is closed. The error is [ErrClosed] after
// Close, and that of Err after a rewind.
func (c *Checkpointer) Admit() (wait <-chan struct{}, err error) {
	if !c.refuses.Load() {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, c.err
	case c.closing || c.ended:
		return nil, ErrClosed
	case !c.full():
		return nil, nil
	}
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room, nil
}

// Stopped returns a channel that is closed when nothing more will be written: after
// Close, CloseLost or a rewind. Err tells which.
func (c *Checkpointer) Stopped() <-chan struct{} { return c.stopped }

// Err returns the error that ended the Checkpointer without a Close, in which
// [errors.Is] finds [checkpointstore.ErrRewound], or nil.
func (c *Checkpointer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats returns a snapshot.
func (c *Checkpointer) Stats() CheckpointerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Unwritten = c.pending.events + c.writing.events
	for _, b := range []batch{c.writing, c.pending} {
		if b.positions > 0 {
			s.UnwrittenAge = time.Since(b.since)
			break
		}
	}
	return s
}

// Flush writes the latest position, and tries again with back-off until it is written
// or [CheckpointerOptions].FlushTimeout has passed. It returns nil at once if there
// is nothing to write. Call it before the partition is released. It uses only the
// values of ctx, not its end: a flush is mostly needed when a context has ended.
//
// The error says which position was not written, and wraps that of the last attempt,
// also if the position was stale. After FlushTimeout the position is still kept.
func (c *Checkpointer) Flush(ctx context.Context) error { return c.flush(ctx, &flush{}) }

// Close accepts no more positions, writes the last one as Flush does, and ends the
// goroutine. It returns within FlushTimeout even if the WriteFunc ignores its
// context; the goroutine then ends when the WriteFunc returns. A second call returns
// the same result. After a rewind, that is the error of the rewind.
func (c *Checkpointer) Close(ctx context.Context) error { return c.flush(ctx, &flush{end: true}) }

// CloseLost is Close for a partition that was lost. It tries to write the position
// once, so that the new owner starts further on. A stale or rewound position is not
// an error: the new owner is already ahead. It also ends the attempts of a Flush.
func (c *Checkpointer) CloseLost(ctx context.Context) error {
	err := c.flush(ctx, &flush{end: true, once: true})
	if errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		return nil
	}
	return err
}

// flush is a call that waits for what is pending to be written.
type flush struct {
	end, once bool
	ctx       context.Context // that of its attempts, with a deadline of its own
	tried     bool            // whether an attempt has covered it
	err       error           // of the last attempt, then of the flush
	done      chan struct{}   // closed when err is final
}

func (c *Checkpointer) flush(ctx context.Context, f *flush) error {
	// The attempts end a little before the call, for their own error to come back.
	timeout := c.options.FlushTimeout
	var cancel func()
	f.ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), timeout-timeout/10)
	defer cancel()
	f.done = make(chan struct{})

	c.mu.Lock()
	if f.end {
		c.closing, c.lost = true, c.lost || f.once
		c.review()
	}
	if c.ended {
		defer c.mu.Unlock()
		return c.result
	}
	c.flushes = append(c.flushes, f)
	cancelWrite, position := c.cancel, c.highest
	c.wake()
	c.mu.Unlock()

	half, whole := time.NewTimer(timeout/2), time.NewTimer(timeout)
	defer half.Stop()
	defer whole.Stop()
	select {
	case <-f.done:
	case <-half.C:
		if cancelWrite != nil {
			cancelWrite() // the write that was under way hangs: the rest of the time is for another one
		}
		select {
		case <-f.done:
		case <-whole.C:
			return notWritten(position, errors.New("a write is still under way"))
		}
	}
	if f.end {
		select {
		case <-c.stopped:
		case <-whole.C: // another Close still writes
		}
	}
	return f.err
}

func notWritten(sequenceNumber int64, err error) error {
	return fmt.Errorf("progress: sequence number %d was not written: %w", sequenceNumber, err)
}

// The methods below are called with the lock held.

func (c *Checkpointer) wake() {
	select {
	case c.wakeUp <- struct{}{}:
	default:
	}
}

// full reports whether too many events are done and not written.
func (c *Checkpointer) full() bool {
	return c.options.MaxUnwritten > 0 && c.pending.events+c.writing.events >= c.options.MaxUnwritten
}

// review lets those whom Admit made wait ask again, after something has changed.
func (c *Checkpointer) review() {
	c.refuses.Store(c.closing || c.ended || c.full())
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}
