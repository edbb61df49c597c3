package faults

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Latency waits before a request is sent, as one that waits for its connection, and again before its answer arrives. Each
// wait is drawn from low to high. A context that ends in the first one ends the request unsent; one that ends in the
// second loses the answer.
func Latency(low, high time.Duration) Fault {
	return Fault{"latency", func(h hit, req *http.Request, next send) (*http.Response, error) {
		there, back := h.between(low, high), h.between(low, high)
		if err := wait(req.Context(), there); err != nil {
			return nil, unsent(req, err)
		}
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		if err := wait(req.Context(), back); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
		return resp, nil
	}}
}

// RefuseConnection fails to connect, with ECONNREFUSED.
func RefuseConnection() Fault {
	return Fault{"refused", func(_ hit, req *http.Request, _ send) (*http.Response, error) {
		return nil, unsent(req, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	}}
}

// Outage refuses this and every other connection for a while, whose length is drawn from low to high.
func Outage(low, high time.Duration) Fault {
	return Fault{"outage", func(h hit, req *http.Request, next send) (*http.Response, error) {
		h.on.mu.Lock()
		h.on.down = time.Now().Add(h.between(low, high))
		h.on.mu.Unlock()
		return RefuseConnection().do(h, req, next)
	}}
}

// ResetBeforeSend resets the connection while it is being made, with ECONNRESET: nothing was sent.
func ResetBeforeSend() Fault {
	return Fault{"reset before send", func(_ hit, req *http.Request, _ send) (*http.Response, error) {
		return nil, unsent(req, reset())
	}}
}

// LoseRequest resets the connection after the request was sent and before it reached the service.
func LoseRequest() Fault {
	return Fault{"request lost", func(_ hit, req *http.Request, _ send) (*http.Response, error) {
		sent(req)
		return nil, reset()
	}}
}

// LoseResponse resets the connection after the request was applied.
func LoseResponse() Fault {
	return Fault{"response lost", func(_ hit, req *http.Request, next send) (*http.Response, error) {
		if err := swallow(next(req)); err != nil {
			return nil, err
		}
		return nil, reset()
	}}
}

// ApplyLate keeps a request on its way until the client gives up: until its context ends. The request reaches the service
// after that, by a delay from low to high, and nobody sees the answer. Without a deadline it waits for ever.
func ApplyLate(low, high time.Duration) Fault {
	return Fault{"late", func(h hit, req *http.Request, next send) (*http.Response, error) {
		own := detach(req)
		<-req.Context().Done()
		h.on.later(h.between(low, high), own, next)
		return nil, context.Cause(req.Context())
	}}
}

// ResetThenApplyLate resets the connection at once, while the request is still on its way. It reaches the service by a
// delay from low to high after that, and nobody sees the answer.
func ResetThenApplyLate(low, high time.Duration) Fault {
	return Fault{"reset, late", func(h hit, req *http.Request, next send) (*http.Response, error) {
		h.on.later(h.between(low, high), detach(req), next)
		return nil, reset()
	}}
}

// Answer is an answer of the service that says nothing of the request's effect.
type Answer struct {
	Status int
	Code   string // of the service: "ServerBusy"

	// RetryAfter goes into Retry-After if it is whole seconds, and into x-ms-retry-after-ms otherwise. Zero is none.
	RetryAfter time.Duration

	// Applied tells that the request took effect all the same.
	Applied bool
}

// Busy is 503 ServerBusy, without effect.
func Busy(retryAfter time.Duration) Answer {
	return Answer{Status: http.StatusServiceUnavailable, Code: "ServerBusy", RetryAfter: retryAfter}
}

// InternalError is 500 InternalError, without effect.
func InternalError() Answer {
	return Answer{Status: http.StatusInternalServerError, Code: "InternalError"}
}

// After is the answer with the request's effect.
func (a Answer) After() Answer {
	a.Applied = true
	return a
}

// Fault answers requests so.
func (a Answer) Fault() Fault {
	name := strconv.Itoa(a.Status)
	if a.RetryAfter > 0 {
		name += " with retry-after"
	}
	if a.Applied {
		name += ", applied"
	}
	return Fault{name, func(_ hit, req *http.Request, next send) (*http.Response, error) {
		if !a.Applied {
			sent(req)
			return a.response(req), nil
		}
		if err := swallow(next(req)); err != nil {
			return nil, err
		}
		return a.response(req), nil
	}}
}

// TruncateBody cuts an answer's body somewhere and breaks the connection there: what its Content-Length promised does
// not arrive.
func TruncateBody() Fault {
	return Fault{"truncated", truncate(io.ErrUnexpectedEOF)}
}

// ShortenBody cuts an answer's body somewhere, as if that were all of it.
func ShortenBody() Fault {
	return Fault{"shortened", truncate(nil)}
}

func truncate(end error) func(hit, *http.Request, send) (*http.Response, error) {
	return func(h hit, req *http.Request, next send) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			body = body[:h.IntN(len(body))]
		}
		var cut io.Reader = bytes.NewReader(body)
		if end != nil {
			cut = io.MultiReader(cut, failing{end})
		} else {
			resp.ContentLength = int64(len(body))
			resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
		}
		resp.Body = io.NopCloser(cut)
		return resp, nil
	}
}

// SkewDate moves the Date of answers: the service's clock is off by d.
func SkewDate(d time.Duration) Fault {
	return Fault{"date off", func(_ hit, req *http.Request, next send) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			resp.Header.Set("Date", date.Add(d).UTC().Format(http.TimeFormat))
		}
		return resp, nil
	}}
}

// IsList matches List Blobs requests.
func IsList(req *http.Request) bool {
	return req.Method == http.MethodGet && req.URL.Query().Get("comp") == "list"
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
