package faults

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// ApplyLate keeps a request on its way until the client gives up: until its context ends. The request reaches the service
// after that, by a delay from low to high, and nobody sees the answer. Without a deadline it waits for ever.
func ApplyLate(low, high time.Duration) Fault {
	return always("late", func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		own := detach(req)
		err := hang(req)
		h.on.later(h.between(low, high), own, next)
		return nil, err
	})
}

// ResetThenApplyLate resets the connection at once, while the request is still on its way. It reaches the service by a
// delay from low to high after that, and nobody sees the answer.
func ResetThenApplyLate(low, high time.Duration) Fault {
	return always("reset, late", func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		own := detach(req)
		note(req, "dropped")
		h.on.later(h.between(low, high), own, next)
		return nil, errReset()
	})
}

// late are the requests that clients have given up and that are still on their way.
type late struct {
	sending sync.WaitGroup
	flush   chan struct{} // closed to send them at once; guarded by Transport.mu
}

// detach takes a request from its client, which sees it as sent. It keeps nothing of the client's context: neither its
// end nor its trace. Only what becomes of it is still noted.
func detach(req *http.Request) *http.Request {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	Sent(req)
	own := req.Clone(WithNotes(context.Background(), Notes(req.Context())))
	own.Body = http.NoBody
	if len(body) > 0 {
		own.Body = io.NopCloser(bytes.NewReader(body))
	}
	return own
}

// later sends a request after a delay, or when the transport is drained.
func (t *Transport) later(delay time.Duration, req *http.Request, next TransportFunc) {
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
		note(req, "late")
		if resp, err := next(req); err == nil {
			_ = swallowed(resp, nil)
		}
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
