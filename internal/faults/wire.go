package faults

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
)

// Sent tells the request's trace what it would see of a request that was sent, and takes the body as a connection does.
func Sent(req *http.Request) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	trace := asked(req)
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

// Unsent ends a request that asked for a connection and did not get one, with an error that it returns.
func Unsent(req *http.Request, err error) error {
	asked(req)
	return err
}

// asked closes a request's body and tells its trace that a connection was asked for. The trace may be nil.
func asked(req *http.Request) *httptrace.ClientTrace {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	trace := httptrace.ContextClientTrace(req.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	return trace
}

type notesKey struct{}

// WithNotes returns a context whose requests tell, in a few words each time and in order, what becomes of them: faults do,
// and so does the service behind them if it calls [Notes]. The function may be called after the request has ended, by one
// that is applied late.
func WithNotes(ctx context.Context, notes func(string)) context.Context {
	if notes == nil {
		return ctx
	}
	return context.WithValue(ctx, notesKey{}, notes)
}

// Notes returns the function of [WithNotes], nil if there is none.
func Notes(ctx context.Context) func(string) {
	notes, _ := ctx.Value(notesKey{}).(func(string))
	return notes
}

func note(req *http.Request, what string) {
	if notes := Notes(req.Context()); notes != nil {
		notes(what)
	}
}
