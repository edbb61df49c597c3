package faults

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// late are the requests that clients have given up and that are still on their way.
type late struct {
	sending sync.WaitGroup
	flush   chan struct{} // closed to send them at once; guarded by Transport.mu
}

// detach takes a request from its client, which sees it as sent. It keeps nothing of the client's context: neither its
// end nor its trace.
func detach(req *http.Request) *http.Request {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	sent(req)
	own := req.Clone(context.Background())
	own.Body = http.NoBody
	if len(body) > 0 {
		own.Body = io.NopCloser(bytes.NewReader(body))
	}
	return own
}

// later sends a request after a delay, or when the transport is drained.
func (t *Transport) later(delay time.Duration, req *http.Request, next send) {
	t.mu.Lock()
	flush := t.late.flush
	t.late.sending.Add(1)
	t.mu.Unlock()
	go func() {
		defer t.late.sending.Done()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-flush:
		}
		_ = swallow(next(req))
	}()
}

// Drain sends what is still on its way at once, and returns when all of it has been answered. Call it when the calls
// that were to meet faults have returned: a request that is struck meanwhile may be missed.
func (t *Transport) Drain() {
	t.mu.Lock()
	close(t.late.flush)
	t.late.flush = make(chan struct{})
	t.mu.Unlock()
	t.late.sending.Wait()
}
