package processor

import (
	"context"
	"slices"
	"sync"
	"time"
)

// handlersKey is how the context that a Processor runs with leads to its handlers.
type handlersKey struct{}

// handlers are the goroutines that serve the partitions of one Processor.
type handlers struct {
	ctx     context.Context // the handlers' own; done when they have to return
	cancel  context.CancelFunc
	timeout time.Duration // for them to return, once that is so

	turns *turnstiles

	mu      sync.Mutex
	running int
	byID    map[string][]*context.CancelFunc // of each partition
	stopped bool                             // whether no more may start
	idle    chan struct{}                    // closed when stopped and none is running
	// deadline is when stop waits no longer, set by its first call.
	deadline time.Time
}

func newHandlers(ctx context.Context, timeout time.Duration, turns *turnstiles) *handlers {
	ctx, cancel := context.WithCancel(ctx)
	return &handlers{
		ctx: ctx, cancel: cancel, timeout: timeout, turns: turns,
		byID: make(map[string][]*context.CancelFunc), idle: make(chan struct{}),
	}
}

// start runs serve in a goroutine, unless the handlers are stopped. The
// Processor closes the client of a partition that nobody serves when it ends.
func (h *handlers) start(id string, serve func(ctx context.Context)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped || h.ctx.Err() != nil {
		return
	}
	h.running++
	ctx, cancel := context.WithCancel(h.ctx)
	h.byID[id] = append(h.byID[id], &cancel)
	go func() {
		defer h.done(id, &cancel)
		defer cancel()
		serve(ctx)
	}()
}

func (h *handlers) done(id string, cancel *context.CancelFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byID[id] = slices.DeleteFunc(h.byID[id], func(c *context.CancelFunc) bool { return c == cancel })
	h.running--
	if h.stopped && h.running == 0 {
		close(h.idle)
	}
}

// end tells the handler of a partition to return, and reports whether there is
// one, be it that of an earlier Processor.
func (h *handlers) end(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, cancel := range h.byID[id] {
		(*cancel)()
	}
	return len(h.byID[id]) > 0 || h.turns.isTaken(id)
}

// stop lets no more start, tells those that run to return, and waits for them:
// until ctx is done, and not longer than the timeout, counted from the first call.
func (h *handlers) stop(ctx context.Context) {
	h.mu.Lock()
	if !h.stopped {
		h.stopped = true
		h.cancel()
		h.deadline = time.Now().Add(h.timeout)
		if h.running == 0 {
			close(h.idle)
		}
	}
	deadline := h.deadline
	h.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case <-h.idle:
	case <-ctx.Done():
	}
}

// linger waits for those that are still running after stop, for that long.
func (h *handlers) linger(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-h.idle:
	case <-t.C:
	}
}
