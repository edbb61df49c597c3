package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// bounded calls f and waits for it until ctx is done, for at most d. f may ignore
// its context: then it goes on in a goroutine that hung counts until it returns.
func bounded[T any](ctx context.Context, d time.Duration, hung *atomic.Int64, f func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if n := hung.Load(); n >= maxHung {
		return none, fmt.Errorf("processor: %d calls to Event Hubs have not returned", n)
	}
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var over atomic.Bool // set by whoever of the two is done first
	results := make(chan result, 1)
	go func() {
		value, err := f(ctx)
		if over.CompareAndSwap(false, true) {
			results <- result{value, err}
		} else {
			hung.Add(-1)
		}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
	}
	if !over.CompareAndSwap(false, true) {
		r := <-results
		return r.value, r.err
	}
	hung.Add(1)
	return none, fmt.Errorf("processor: no answer from Event Hubs: %w", ctx.Err())
}

// maxHung is how many calls may hang before no more are made.
const maxHung = 64

// outlive returns a context with ctx's values and deadline that ends with ctx,
// except that the end of ctx because of end, which it was made from, leaves it the
// grace time.
func outlive(ctx, end context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if deadline, ok := ctx.Deadline(); ok {
		cancel()
		out, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	stopOwn := context.AfterFunc(ctx, func() {
		if end.Err() == nil && ctx.Err() == context.Canceled { // out has ctx's deadline itself
			cancel()
		}
	})
	stopEnd := context.AfterFunc(end, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() {
		stopOwn()
		stopEnd()
		cancel()
	}
}

// sleep waits for d and returns false if ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// backoff returns the delay after that many failures in a row.
func (p *Processor) backoff(failures int) time.Duration {
	return p.backoffWithin(p.options.MinBackoff, p.options.MaxBackoff, failures)
}

func (p *Processor) backoffWithin(d, most time.Duration, failures int) time.Duration {
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d - time.Duration(p.random.Int64N(int64(d/2)+1))
}

// interval returns the time to the next round.
func (p *Processor) interval() time.Duration {
	d := int64(p.options.UpdateInterval)
	return time.Duration(d*4/5 + p.random.Int64N(d*2/5+1))
}

// lockedSource makes a source fit for several goroutines.
type lockedSource struct {
	mu     sync.Mutex
	source rand.Source
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Uint64()
}
