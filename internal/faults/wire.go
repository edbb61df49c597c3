package faults

import (
	"context"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unsent ends a request that did not get a connection: it was asked for one.
func unsent(req *http.Request, err error) error {
	closeBody(req)
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	return err
}

// sent tells the request's trace what it would see of a request that was sent, and takes the body as a connection does.
func sent(req *http.Request) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	closeBody(req)
	trace := httptrace.ContextClientTrace(req.Context())
	if trace == nil {
		return
	}
	if trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
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

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// swallow reads an answer that nobody will see to its end.
func swallow(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

func reset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
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

// response is the answer as the service writes it: the code in a header, and in a body unless the request was HEAD.
func (a Answer) response(req *http.Request) *http.Response {
	var body strings.Builder
	if req.Method != http.MethodHead {
		body.WriteString(`<?xml version="1.0" encoding="utf-8"?><Error><Code>`)
		_ = xml.EscapeText(&body, []byte(a.Code))
		body.WriteString(`</Code><Message>The request was struck.</Message></Error>`)
	}
	header := http.Header{}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Content-Type", "application/xml")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	header.Set("x-ms-error-code", a.Code)
	switch {
	case a.RetryAfter <= 0:
	case a.RetryAfter%time.Second == 0:
		header.Set("Retry-After", strconv.FormatInt(int64(a.RetryAfter/time.Second), 10))
	default:
		header.Set("x-ms-retry-after-ms", strconv.FormatInt(a.RetryAfter.Milliseconds(), 10))
	}
	return &http.Response{
		Status:     strconv.Itoa(a.Status) + " " + http.StatusText(a.Status),
		StatusCode: a.Status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(body.String())),
		ContentLength: int64(body.Len()),
		Request:       req,
	}
}
