package processor

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// backoff says how long to wait before what failed is started again.
type backoff struct {
	min, max, resetAfter time.Duration
	failures             int
}

// next is the time to wait after one more failure, of something that ran that
// long: from half to all of min, doubled with each failure in a row up to max.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= b.resetAfter {
		b.reset()
	}
	d := b.min
	for i := 0; i < b.failures && d < b.max; i++ {
		d *= 2
	}
	d = min(d, b.max)
	b.failures++
	return d - rand.N(d/2+1)
}

func (b *backoff) reset() { b.failures = 0 }

// sleep reports whether the time passed before ctx was done.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// turnstiles let one handler at a time into each partition, across Processors.
type turnstiles struct {
	mu   sync.Mutex
	byID map[string]*turnstile
}

// isTaken reports whether somebody is in.
func (t *turnstiles) isTaken(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	return s != nil && len(s.free) == 0
}

// turnstile lets a handler in when the last one has left and, if that failed, its
// time to wait is over.
type turnstile struct {
	free    chan struct{} // holds a token while nobody is in
	after   time.Time     // not before; owned by who holds the token
	backoff *backoff      // owned by who is in
}

func (t *turnstiles) of(id string, newBackoff func() *backoff) *turnstile {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = make(map[string]*turnstile)
	}
	s := t.byID[id]
	if s == nil {
		s = &turnstile{free: make(chan struct{}, 1), backoff: newBackoff()}
		s.free <- struct{}{}
		t.byID[id] = s
	}
	return s
}

// taken are the partitions that somebody is in.
func (t *turnstiles) taken() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []string
	for id, s := range t.byID {
		if len(s.free) == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// enter reports false if ctx was done first.
func (t *turnstile) enter(ctx context.Context) bool {
	select {
	case <-t.free:
	case <-ctx.Done():
		return false
	}
	if !sleep(ctx, time.Until(t.after)) {
		t.free <- struct{}{}
		return false
	}
	return true
}

// leave lets the next one in after the delay.
func (t *turnstile) leave(delay time.Duration) {
	t.after = time.Now().Add(delay)
	t.free <- struct{}{}
}
