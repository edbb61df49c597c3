package faults

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// Latency waits before a request is sent, as one that waits for its connection, and again before its answer arrives. Each
// wait is drawn from low to high. A context that ends in the first one ends the request unsent; one that ends in the
// second loses the answer.
func Latency(low, high time.Duration) Fault {
	return always("latency", func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		there, back := h.between(low, high), h.between(low, high)
		if err := wait(req.Context(), there); err != nil {
			note(req, "cancelled")
			return nil, Unsent(req, err)
		}
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		if err := wait(req.Context(), back); err != nil {
			note(req, "cancelled")
			return nil, swallowed(resp, err)
		}
		return resp, nil
	})
}

// RefuseConnection fails to connect, with ECONNREFUSED.
func RefuseConnection() Fault { return always("refused", refuse) }

func refuse(_ hit, req *http.Request, _ TransportFunc) (*http.Response, error) {
	note(req, "refused")
	err := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	return nil, Unsent(req, &net.OpError{Op: "dial", Net: "tcp", Err: err})
}

// Outage refuses this and every other connection for a while, whose length is drawn from low to high.
func Outage(low, high time.Duration) Fault {
	return always("outage", func(h hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		h.on.mu.Lock()
		h.on.down = time.Now().Add(h.between(low, high))
		h.on.mu.Unlock()
		return refuse(h, req, next)
	})
}

// ResetBeforeSend resets the connection while it is being made, with ECONNRESET: nothing was sent.
func ResetBeforeSend() Fault {
	return always("reset before send", func(_ hit, req *http.Request, _ TransportFunc) (*http.Response, error) {
		note(req, "reset")
		return nil, Unsent(req, errReset())
	})
}

// LoseRequest resets the connection, with ECONNRESET, after the request was sent and before it reached the service.
func LoseRequest() Fault {
	return always("request lost", func(_ hit, req *http.Request, _ TransportFunc) (*http.Response, error) {
		Sent(req)
		note(req, "dropped")
		return nil, errReset()
	})
}

// LoseResponse closes the connection, with io.ErrUnexpectedEOF, after the request was applied.
func LoseResponse() Fault {
	return always("response lost", func(_ hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		note(req, "dropped")
		return nil, swallowed(resp, io.ErrUnexpectedEOF)
	})
}

// HangWithoutApplying waits until the request's context is done, and never applies it.
func HangWithoutApplying() Fault {
	return always("hang", func(_ hit, req *http.Request, _ TransportFunc) (*http.Response, error) {
		Sent(req)
		return nil, hang(req)
	})
}

// HangAfterApplying applies the request and waits until its context is done.
func HangAfterApplying() Fault {
	return always("hang, applied", func(_ hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		return nil, swallowed(resp, hang(req))
	})
}

func hang(req *http.Request) error {
	note(req, "hung")
	<-req.Context().Done()
	return context.Cause(req.Context())
}

// RunBefore runs a function before the request is applied, as [Fault.Before] does.
func RunBefore(run func()) Fault {
	return always("run before", func(_ hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		return next(req)
	}).Before(run)
}

// RunAfter runs a function between the request's effect and its response. The function may send requests of its own; those
// meet the same faults. A context that it ends loses the response.
func RunAfter(run func()) Fault {
	return always("run after", func(_ hit, req *http.Request, next TransportFunc) (*http.Response, error) {
		resp, err := next(req)
		if err != nil {
			return nil, err
		}
		run()
		if err := context.Cause(req.Context()); err != nil {
			note(req, "cancelled")
			return nil, swallowed(resp, err)
		}
		return resp, nil
	})
}

func errReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// swallowed reads a response that nobody will see to its end, and returns the error that is seen instead.
func swallowed(resp *http.Response, err error) error {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return err
}

// wait lets time pass, no longer than the context.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
