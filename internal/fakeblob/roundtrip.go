package fakeblob

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Do answers one request, as policy.Transporter asks.
//
// Errors are *url.Error with the method, the full URL (query included) and the cause, as net/http makes them. A
// request whose context is done before it starts calls no hook of [httptrace.ClientTrace], one that fails while it
// connects calls GetConn, and any other calls GetConn, GotConn, WroteHeaders and WroteRequest once each.
//
// A context that is done while the request waits for its latency, or after a fault's Before, ends the request before
// it is applied; one that is done after the fault's After ends it although it took effect.
func (s *Service) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, transportError(req, context.Cause(ctx))
	}
	if err := checkHeader(req.Header); err != nil {
		return nil, transportError(req, err)
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	fault := s.faults.match(req)
	line := s.record.begin(req, s.isSecondary(req.URL.Host))
	if fault.Action == Refuse {
		line.end("refused")
		return nil, transportError(req, dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)))
	}
	if !s.serves(req) {
		line.end("no such host")
		lookup := &net.DNSError{Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true}
		return nil, transportError(req, dialError(lookup))
	}

	c := read(req)
	s.traffic.arrive(c.op)
	defer s.traffic.leave()
	callHooks(ctx)
	drain(req)
	if err := s.wait(ctx); err != nil {
		line.end("cancelled")
		return nil, transportError(req, err)
	}
	r, err := s.serve(ctx, c, fault, line)
	if err != nil {
		return nil, transportError(req, err)
	}
	resp := s.response(req, c, r)
	for _, name := range fault.StripHeaders {
		resp.Header.Del(name)
	}
	return resp, nil
}

// serve applies a call, unless the fault says otherwise, and returns the answer or the reason why there is none.
func (s *Service) serve(ctx context.Context, c *call, fault *Fault, line *line) (*reply, error) {
	if fault.Before != nil {
		fault.Before()
		if ctx.Err() != nil {
			line.end("cancelled")
			return nil, context.Cause(ctx)
		}
	}
	switch fault.Action {
	case Answer:
		r := fault.reply()
		line.answered(r, "")
		return r, nil
	case DropBefore:
		line.end("dropped")
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	case HangBefore:
		line.end("hung")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}

	r := s.apply(c)
	line.answered(r, "")
	if fault.After != nil {
		fault.After()
		if ctx.Err() != nil {
			line.answered(r, " cancelled")
			return nil, context.Cause(ctx)
		}
	}
	switch fault.Action {
	case DropAfter:
		line.answered(r, " dropped")
		return nil, io.ErrUnexpectedEOF
	case HangAfter:
		line.answered(r, " hung")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case ApplyThenAnswer:
		answer := fault.reply()
		line.answered(r, " answered "+answer.summary())
		return answer, nil
	}
	if len(fault.StripHeaders) > 0 {
		line.answered(r, " stripped "+strings.Join(fault.StripHeaders, ","))
	}
	return r, nil
}

// wait lets the latency pass.
func (s *Service) wait(ctx context.Context) error {
	latency := time.Duration(s.latency.Load())
	if latency <= 0 {
		return nil
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// callHooks tells the request's trace that the request reached a connection.
func callHooks(ctx context.Context) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

// drain reads the request's body to its end, as a connection would.
func drain(req *http.Request) {
	if req.Body != nil && req.Body != http.NoBody {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

// checkHeader refuses header values that net/http refuses to send.
func checkHeader(header http.Header) error {
	for name, values := range header {
		for _, value := range values {
			for i := 0; i < len(value); i++ {
				if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
					return fmt.Errorf("net/http: invalid header field value for %q", name)
				}
			}
		}
	}
	return nil
}

func dialError(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

// transportError wraps err as http.Client does.
func transportError(req *http.Request, err error) error {
	op := req.Method
	if op == "" {
		op = http.MethodGet
	}
	return &url.Error{Op: op[:1] + strings.ToLower(op[1:]), URL: req.URL.Redacted(), Err: err}
}
