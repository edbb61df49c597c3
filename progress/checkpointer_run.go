package progress

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore"
)

// run writes what is due until there is nothing more to write for good.
func (c *Checkpointer) run() {
	defer close(c.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		now := time.Now()
		c.expireFlushes(now)
		if c.ends() {
			c.mu.Unlock()
			return
		}
		at, ok := c.due()
		if ok && !now.Before(at) {
			a := c.begin()
			c.mu.Unlock()
			c.try(a)
			continue
		}
		for _, f := range c.flushes {
			if deadline := f.deadline(); deadline.Before(at) {
				at = deadline
			}
		}
		c.mu.Unlock()

		timer.Stop()
		if ok {
			timer.Reset(at.Sub(now))
		}
		select {
		case <-c.wakeUp:
		case <-timer.C:
		}
	}
}

// attempt is one call of the WriteFunc.
type attempt struct {
	batch
	ctx     context.Context
	cancel  func()
	flushes []*flush // that it answers if it succeeds
}

// try makes an attempt, and does with the answer what is to be done.
func (c *Checkpointer) try(a attempt) {
	began := time.Now()
	err := c.write(a.ctx, a.position)
	a.cancel()
	took := time.Since(began)

	c.mu.Lock()
	c.settle(a, err)
	c.mu.Unlock()
	if c.options.OnWrite != nil {
		c.options.OnWrite(Write{Position: a.position, Events: a.events, Coalesced: a.positions - 1, Duration: took, Err: err})
	}
	c.mu.Lock()
	c.completeFlushes(a, err)
	c.mu.Unlock()
}

// The methods below are called with the lock held.

// due tells when the next attempt is to be made, if there is something to write.
func (c *Checkpointer) due() (at time.Time, ok bool) {
	if c.pending.positions == 0 {
		return time.Time{}, false
	}
	if slices.ContainsFunc(c.flushes, func(f *flush) bool { return !f.tried }) {
		return time.Time{}, true // whatever the back-off
	}
	if len(c.flushes) == 0 && c.pending.events < c.options.Events {
		at = c.pending.since.Add(c.options.Interval)
	}
	if at.Before(c.notBefore) {
		at = c.notBefore
	}
	return at, true
}

// begin takes what is pending for an attempt.
func (c *Checkpointer) begin() attempt {
	a := attempt{batch: c.pending, flushes: slices.Clone(c.flushes)}
	if n := len(a.flushes); n > 0 {
		a.ctx, a.cancel = context.WithCancel(a.flushes[n-1].ctx) // the latest deadline
	} else {
		a.ctx, a.cancel = context.WithTimeout(context.Background(), c.options.WriteTimeout)
	}
	c.pending, c.writing, c.cancel = batch{}, a.batch, a.cancel
	return a
}

// settle takes note of an attempt's outcome.
func (c *Checkpointer) settle(a attempt, err error) {
	c.writing, c.cancel = batch{}, nil
	c.stats.LastErr = err
	switch {
	case err == nil:
		c.stats.Written++
		c.stats.Last, c.stats.LastTime = a.position, time.Now()
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint): // or rewound
		c.stats.Stale++
		if errors.Is(err, checkpointstore.ErrRewound) {
			c.end(err)
		}
	default:
		c.stats.Failed++
		c.failures++
		c.notBefore = time.Now().Add(c.backoff())
		c.restore(a.batch)
		return
	}
	c.failures, c.notBefore = 0, time.Time{}
	c.review()
}

// end gives up what is unwritten after a rewind.
func (c *Checkpointer) end(err error) {
	c.ended, c.pending = true, batch{}
	c.result = err
	if !c.lost {
		c.err = err
	}
}

// restore puts back what was not written. A later position takes its place.
func (c *Checkpointer) restore(b batch) {
	if c.pending.positions > 0 {
		c.stats.Coalesced++
		b.position = c.pending.position
		b.positions += c.pending.positions
		b.events += c.pending.events
	}
	c.pending = b
}

func (c *Checkpointer) backoff() time.Duration {
	d := c.options.MinBackoff
	for range c.failures - 1 {
		if d >= c.options.MaxBackoff/2 {
			d = c.options.MaxBackoff
			break
		}
		d *= 2
	}
	return d - rand.N(d/2+1)
}

// completeFlushes tells the flushes that an attempt was for what became of it. The
// others, and those that try again, are left to expireFlushes.
func (c *Checkpointer) completeFlushes(a attempt, err error) {
	stale := errors.Is(err, checkpointstore.ErrStaleCheckpoint)
	failed := err != nil && !stale
	flushes := a.flushes
	if stale && c.pending.positions == 0 {
		flushes = slices.Clone(c.flushes) // also those that came during the attempt: it was for the last position
	}
	for _, f := range flushes {
		f.tried, f.err = true, err
		if failed && !f.once && !c.lost {
			continue
		}
		if err != nil {
			c.finish(f, notWritten(a.position.SequenceNumber, err))
			continue
		}
		c.finish(f, nil)
	}
}

// expireFlushes tells those that have nothing to wait for, or no time.
func (c *Checkpointer) expireFlushes(now time.Time) {
	for _, f := range slices.Clone(c.flushes) {
		switch {
		case c.ended:
			c.finish(f, c.result)
		case c.pending.positions == 0:
			c.finish(f, nil)
		case !now.Before(f.deadline()):
			c.finish(f, notWritten(c.pending.position.SequenceNumber, cmp.Or(f.err, context.DeadlineExceeded)))
		}
	}
}

func (c *Checkpointer) finish(f *flush, err error) {
	f.err = err
	if f.end {
		c.result = err
	}
	close(f.done)
	c.flushes = slices.DeleteFunc(c.flushes, func(other *flush) bool { return other == f })
}

func (f *flush) deadline() time.Time {
	deadline, _ := f.ctx.Deadline()
	return deadline
}

// ends reports whether nothing will be written any more.
func (c *Checkpointer) ends() bool {
	if c.closing && len(c.flushes) == 0 {
		c.ended = true
	}
	return c.ended
}
