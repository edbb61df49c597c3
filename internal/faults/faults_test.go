package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// exchange is what a client sees of one request.
type exchange struct {
	status  int
	code    string
	err     error
	header  http.Header
	body    string
	bodyErr error
	asked   atomic.Int64 // for connections
	had     atomic.Int64 // connections
	headers atomic.Int64 // sent
	sent    atomic.Int64
	took    time.Duration
}

func send(ctx context.Context, t *testing.T, transport policy.Transporter, method, url string) *exchange {
	t.Helper()
	x := &exchange{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { x.asked.Add(1) },
		GotConn:      func(httptrace.GotConnInfo) { x.had.Add(1) },
		WroteHeaders: func() { x.headers.Add(1) },
		WroteRequest: func(httptrace.WroteRequestInfo) { x.sent.Add(1) },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(""))
	require.NoError(t, err)
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	begin := time.Now()
	resp, err := transport.Do(req)
	x.took, x.err = time.Since(begin), err
	if err != nil {
		require.Nil(t, resp)
		return x
	}
	x.status, x.code, x.header = resp.StatusCode, resp.Header.Get("x-ms-error-code"), resp.Header
	body, err := io.ReadAll(resp.Body)
	x.body, x.bodyErr = string(body), err
	require.NoError(t, resp.Body.Close())
	return x
}

// Each case puts a blob once. The client waits a second for its answer.
func TestFaults(t *testing.T) {
	const patience = time.Second
	var giveUp context.CancelFunc // of the request
	cancel := func() { giveUp() }
	nothing := func() {}
	for _, c := range []struct {
		fault  faults.Fault
		name   string // what Struck counts it by
		status int
		code   string
		is     error
		unsent bool // a connection was asked for, and there was none
		effect string
		took   time.Duration
		line   string // of the transcript
	}{
		{fault: faults.Latency(10*time.Millisecond, 10*time.Millisecond), name: "latency", status: 201, effect: "applied", took: 20 * time.Millisecond, line: `201 etag="0x1"`},
		{fault: faults.Latency(2*time.Second, 2*time.Second), name: "latency", is: context.DeadlineExceeded, unsent: true, took: patience, line: "cancelled"},
		{fault: faults.Latency(600*time.Millisecond, 600*time.Millisecond), name: "latency", is: context.DeadlineExceeded, effect: "applied", took: patience, line: `201 etag="0x1" cancelled`},
		{fault: faults.RefuseConnection(), name: "refused", is: syscall.ECONNREFUSED, unsent: true, line: "refused"},
		{fault: faults.Outage(time.Second, time.Second), name: "outage", is: syscall.ECONNREFUSED, unsent: true, line: "refused"},
		{fault: faults.ResetBeforeSend(), name: "reset before send", is: syscall.ECONNRESET, unsent: true, line: "reset"},
		{fault: faults.LoseRequest(), name: "request lost", is: syscall.ECONNRESET, line: "dropped"},
		{fault: faults.LoseResponse(), name: "response lost", is: io.ErrUnexpectedEOF, effect: "applied", line: `201 etag="0x1" dropped`},
		{fault: faults.HangWithoutApplying(), name: "hang", is: context.DeadlineExceeded, took: patience, line: "hung"},
		{fault: faults.HangAfterApplying(), name: "hang, applied", is: context.DeadlineExceeded, effect: "applied", took: patience, line: `201 etag="0x1" hung`},
		{fault: faults.ApplyLate(time.Second, time.Second), name: "late", is: context.DeadlineExceeded, effect: "applied late", took: patience, line: `hung late 201 etag="0x1"`},
		{fault: faults.ResetThenApplyLate(time.Second, time.Second), name: "reset, late", is: syscall.ECONNRESET, effect: "applied late", line: `dropped late 201 etag="0x1"`},
		{fault: faults.RunBefore(nothing), name: "run before", status: 201, effect: "applied", line: `201 etag="0x1"`},
		{fault: faults.RunBefore(cancel), name: "run before", is: context.Canceled, line: "cancelled"},
		{fault: faults.RunAfter(nothing), name: "run after", status: 201, effect: "applied", line: `201 etag="0x1"`},
		{fault: faults.RunAfter(cancel), name: "run after", is: context.Canceled, effect: "applied", line: `201 etag="0x1" cancelled`},
		{fault: faults.LoseResponse().Before(cancel), name: "response lost", is: context.Canceled, line: "cancelled"},
		{fault: faults.Status(412, ""), name: "412", status: 412, line: "412"},
		{fault: faults.Status(500, "InternalError"), name: "500", status: 500, code: "InternalError", line: "500 InternalError"},
		{fault: faults.ApplyThenStatus(500, "InternalError"), name: "500, applied", status: 500, code: "InternalError", effect: "applied", line: `201 etag="0x1" answered 500 InternalError`},
		{fault: faults.StatusWithBody(502, "text/html", "<html>"), name: "502", status: 502, line: "502"},
		{fault: faults.Busy(0), name: "503", status: 503, code: "ServerBusy", line: "503 ServerBusy"},
		{fault: faults.Busy(time.Second).Named("busy"), name: "busy", status: 503, code: "ServerBusy", line: "503 ServerBusy"},
		{fault: faults.Answer{Status: 503, Code: "ServerBusy", RetryAfter: time.Second, Applied: true}.Fault(), name: "503 with retry-after, applied", status: 503, code: "ServerBusy", effect: "applied", line: `201 etag="0x1" answered 503 ServerBusy`},
		{fault: faults.Forbidden(), name: "403", status: 403, code: "AuthorizationPermissionMismatch", line: "403 AuthorizationPermissionMismatch"},
		{fault: faults.AuthenticationFailed("detail"), name: "403", status: 403, code: "AuthenticationFailed", line: "403 AuthenticationFailed"},
		{fault: faults.WithoutHeaders("ETag", "Last-Modified"), name: "stripped", status: 201, effect: "applied", line: `201 etag="0x1" stripped ETag,Last-Modified`},
		{fault: faults.TruncateBody(), name: "truncated", status: 201, effect: "applied", line: `201 etag="0x1" truncated`},
		{fault: faults.ShortenBody(), name: "shortened", status: 201, effect: "applied", line: `201 etag="0x1" shortened`},
		{fault: faults.SkewDate(time.Hour), name: "date off", status: 201, effect: "applied", line: `201 etag="0x1" skewed`},
		{fault: faults.SkewClock(time.Hour), name: "clock off", status: 201, effect: "applied", line: `201 etag="0x1" skewed`},
	} {
		t.Run(fmt.Sprintf("%s: %s", c.name, c.line), func(t *testing.T) {
			requireAnswer := func(t *testing.T, x *exchange, service string) {
				t.Helper()
				require.Equal(t, c.status, x.status)
				require.Equal(t, c.code, x.code)
				require.ErrorIs(t, x.err, c.is)
				var wrapped *url.Error
				if errors.As(x.err, &wrapped) {
					require.Equal(t, "Put", wrapped.Op)
					require.Equal(t, service+"/a", wrapped.URL)
				}
				require.Equal(t, x.err != nil, wrapped != nil)
				require.EqualValues(t, 1, x.asked.Load(), "a connection is always asked for")
				require.Equal(t, c.unsent, x.had.Load() == 0)
				require.Equal(t, map[bool]int64{true: 0, false: 1}[c.unsent], x.had.Load())
			}
			// In front of the fake service, whose transcript tells what became of the request.
			synctest.Test(t, func(t *testing.T) {
				service := fakeblob.New()
				remove := service.Inject(c.fault)
				ctx, stop := context.WithTimeout(t.Context(), patience)
				defer stop()
				giveUp = stop
				x := send(ctx, t, service, http.MethodPut, service.URL()+"/a")
				requireAnswer(t, x, service.URL())
				require.Equal(t, x.had.Load(), x.headers.Load())
				require.Equal(t, x.had.Load(), x.sent.Load())
				require.Equal(t, c.took, x.took)
				_, applied := service.Get("a")
				require.Equal(t, c.effect == "applied", applied)

				time.Sleep(time.Second)
				synctest.Wait()
				_, applied = service.Get("a")
				require.Equal(t, c.effect != "", applied)
				require.EqualValues(t, 1, x.asked.Load(), "a late request is not in the client's trace")
				require.Equal(t, "PUT  /c/a -> "+c.line+"\n", service.Transcript())
				require.Equal(t, 1, service.Requests())
				remove()
				require.Equal(t, 200, send(t.Context(), t, service, http.MethodGet, service.URL()+"?restype=container").status)
			})
			if c.took > 0 || c.effect == "applied late" {
				return
			}
			// In front of a real connection.
			var served atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				served.Add(1)
				w.WriteHeader(http.StatusCreated)
			}))
			defer server.Close()
			connections := &http.Transport{}
			defer connections.CloseIdleConnections()
			transport := faults.New(faults.TransportFunc(connections.RoundTrip), 1, c.fault)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			giveUp = stop
			x := send(ctx, t, transport, http.MethodPut, server.URL+"/a")
			requireAnswer(t, x, server.URL)
			require.Equal(t, c.effect == "applied", served.Load() == 1)
			require.Equal(t, map[string]int{c.name: 1}, transport.Struck())
			require.Equal(t, c.name, c.fault.String())
		})
	}
}

func TestResponses(t *testing.T) {
	service := fakeblob.New()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	service.SetClock(func() time.Time { return now })
	for i := range 20 {
		service.Put(fmt.Sprint("some/blob/", i), nil)
	}
	list := func(injected ...faults.Fault) *exchange {
		for _, f := range injected {
			defer service.Inject(f)()
		}
		return send(t.Context(), t, service, http.MethodGet, service.URL()+"?restype=container&comp=list")
	}
	whole := list()
	const at, before = "Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 02 Jan 2026 02:04:05 GMT"
	require.Equal(t, at, whole.header.Get("Date"))

	cut := list(faults.TruncateBody())
	require.ErrorIs(t, cut.bodyErr, io.ErrUnexpectedEOF)
	require.True(t, strings.HasPrefix(whole.body, cut.body))
	require.Equal(t, fmt.Sprint(len(whole.body)), cut.header.Get("Content-Length"), "as promised")

	short := list(faults.ShortenBody())
	require.NoError(t, short.bodyErr)
	require.True(t, strings.HasPrefix(whole.body, short.body))
	require.Less(t, len(short.body), len(whole.body))
	require.Equal(t, fmt.Sprint(len(short.body)), short.header.Get("Content-Length"))

	off := list(faults.SkewDate(-time.Hour))
	require.Equal(t, before, off.header.Get("Date"))
	require.Equal(t, whole.body, off.body)
	off = list(faults.SkewClock(-time.Hour))
	require.Equal(t, before, off.header.Get("Date"))
	require.Equal(t, strings.ReplaceAll(whole.body, "<Last-Modified>"+at, "<Last-Modified>"+before), off.body)
	require.Equal(t, 20, strings.Count(off.body, before))
	remove := service.Inject(faults.SkewClock(-time.Hour))
	require.Equal(t, before, send(t.Context(), t, service, http.MethodHead, service.URL()+"/some/blob/0").header.Get("Last-Modified"))
	remove()

	busy := list(faults.Busy(2 * time.Second))
	require.Equal(t, "2", busy.header.Get("Retry-After"))
	require.Contains(t, busy.body, "<Code>ServerBusy</Code>")
	require.Equal(t, at, busy.header.Get("Date"), "the service's clock")
	require.NotEmpty(t, busy.header.Get("x-ms-request-id"))
	require.NotEmpty(t, busy.header.Get("x-ms-version"))
	soon := list(faults.Busy(1500 * time.Millisecond))
	require.Empty(t, soon.header.Get("Retry-After"))
	require.Equal(t, "1500", soon.header.Get("x-ms-retry-after-ms"))
	require.Empty(t, list(faults.Busy(0)).header.Get("Retry-After"))
	remove = service.Inject(faults.Busy(0))
	require.Empty(t, send(t.Context(), t, service, http.MethodHead, service.URL()+"/a").body)
	remove()

	require.Contains(t, list(faults.AuthenticationFailed("line one\nline two")).body, "<AuthenticationErrorDetail>line one&#xA;line two</AuthenticationErrorDetail>")
	require.Empty(t, list(faults.Status(500, "")).body)
	proxy := list(faults.StatusWithBody(502, "text/html", "<html>"))
	require.Equal(t, "<html>", proxy.body)
	require.Equal(t, "text/html", proxy.header.Get("Content-Type"))
	require.Empty(t, proxy.header.Get("x-ms-request-id"))
	stripped := list(faults.WithoutHeaders("x-ms-request-id"), faults.Status(404, ""))
	require.Empty(t, stripped.header.Get("x-ms-request-id"), "the first fault is the outer one")
	require.NotEmpty(t, stripped.header.Get("x-ms-version"))
}

// fate tells what becomes of n requests to a path: the class of each one's status, or x.
func fate(t *testing.T, transport policy.Transporter, path string, n int) string {
	t.Helper()
	var b strings.Builder
	for range n {
		if x := send(t.Context(), t, transport, http.MethodHead, "https://host/"+path); x.err != nil {
			b.WriteString("x")
		} else {
			fmt.Fprint(&b, x.status/100)
		}
	}
	return b.String()
}

// healthy is a service that always answers 200.
var healthy = faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
	faults.Sent(req)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
})

func TestScripts(t *testing.T) {
	forbidden, busy, lost := faults.Forbidden(), faults.Busy(0), faults.LoseRequest()
	for name, c := range map[string]struct {
		faults []faults.Fault
		want   string // of 6 requests
	}{
		"none":                       {nil, "222222"},
		"the zero value":             {[]faults.Fault{{}}, "222222"},
		"always":                     {[]faults.Fault{busy}, "555555"},
		"never":                      {[]faults.Fault{busy.WithChance(0)}, "222222"},
		"once":                       {[]faults.Fault{busy.Once()}, "522222"},
		"one after the other":        {[]faults.Fault{busy.Limit(2), forbidden.Limit(3)}, "554442"},
		"twice, a value counts anew": {[]faults.Fault{busy.Limit(2), busy.Limit(2)}, "555522"},
		"the second":                 {[]faults.Fault{busy.On(faults.Nth(2, nil))}, "252222"},
		"a matcher sees the requests that another fault ends":  {[]faults.Fault{busy.Limit(3), lost.On(faults.Nth(2, nil)), lost.On(faults.Nth(5, nil))}, "5552x2"},
		"a fault that ends no request is in front of the next": {[]faults.Fault{faults.WithoutHeaders("ETag"), busy.Once()}, "522222"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, fate(t, faults.New(healthy, 1, c.faults...), "a", 6))
		})
	}
	t.Run("removed", func(t *testing.T) {
		transport := faults.New(healthy, 1)
		first, second := transport.Inject(forbidden), transport.Inject(busy)
		require.Equal(t, "4", fate(t, transport, "a", 1))
		first()
		first()
		require.Equal(t, "5", fate(t, transport, "a", 1))
		second()
		require.Equal(t, "2", fate(t, transport, "a", 1))
	})
	t.Run("requests of a hook meet the same faults", func(t *testing.T) {
		transport := faults.New(healthy, 1)
		transport.Inject(faults.RunBefore(func() { require.Equal(t, "5", fate(t, transport, "b", 1)) }).Once())
		transport.Inject(busy.Once())
		require.Equal(t, "2", fate(t, transport, "a", 1))
	})
	t.Run("a request whose context is done", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		x := send(ctx, t, faults.New(healthy, 1, busy), http.MethodHead, "https://host/a")
		require.ErrorIs(t, x.err, context.Canceled)
		require.Zero(t, x.asked.Load())
	})
}

func TestSeedDecides(t *testing.T) {
	rules := []faults.Fault{faults.LoseRequest().WithChance(0.3), faults.Busy(0).WithChance(0.3)}
	const n = 1000
	a := faults.New(healthy, 7, rules...)
	want := fate(t, a, "a", n)
	require.InDelta(t, 0.3*n, strings.Count(want, "x"), 0.06*n, "the chance")
	require.InDelta(t, 0.3*0.7*n, strings.Count(want, "5"), 0.06*n, "the first fault is the outer one")
	require.Equal(t, map[string]int{"request lost": strings.Count(want, "x"), "503": strings.Count(want, "5")}, a.Struck())

	b := faults.New(healthy, 7, rules...)
	require.NotEqual(t, want, fate(t, b, "b", n), "each URL has its own draws")
	require.Equal(t, want, fate(t, b, "a", n), "which do not depend on other requests")
	require.NotEqual(t, want, fate(t, faults.New(healthy, 8, rules...), "a", n), "nor are those of another seed")
	one := fate(t, faults.New(healthy, 7, rules[0]), "a", n)
	require.Equal(t, strings.ReplaceAll(want, "5", "2"), one, "a fault less changes nothing of the others")
	require.NotEqual(t, one, fate(t, faults.New(healthy, 7, rules[0].Named("other")), "a", n), "each name has its own draws")

	a.Heal()
	require.Equal(t, strings.Repeat("2", n), fate(t, a, "a", n))
}

func TestOutageLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outage := faults.Outage(time.Second, time.Second).Once()
		transport := faults.New(healthy, 1, outage)
		for _, want := range []string{"x", "x", "2"} {
			require.Equal(t, want, fate(t, transport, "any"+want, 1))
			time.Sleep(600 * time.Millisecond)
		}
		transport.Inject(outage)
		require.Equal(t, "x", fate(t, transport, "a", 1))
		transport.Heal()
		transport.Inject(faults.RunAfter(func() {}))
		require.Equal(t, "2", fate(t, transport, "a", 1))
	})
}

func TestLateRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := make(chan string, 2)
		service := faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			bodies <- string(body) + " " + req.Header.Get("If-Match")
			return &http.Response{StatusCode: 200, Body: http.NoBody}, errors.Join(err, req.Context().Err())
		})
		transport := faults.New(service, 1, faults.ApplyLate(time.Second, 3*time.Second))
		why := errors.New("the client gave up")
		request := func() {
			ctx, giveUp := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { giveUp(why) })
			req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://host/", strings.NewReader("text"))
			require.NoError(t, err)
			req.Header.Set("If-Match", "0x1")
			_, err = transport.Do(req)
			require.ErrorIs(t, err, why)
		}
		request()
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, bodies)
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, bodies, 1)
		require.Equal(t, "text 0x1", <-bodies)

		request()
		drained := time.Now()
		transport.Drain()
		require.Zero(t, time.Since(drained), "what is late is sent at once")
		require.Len(t, bodies, 1)
	})
}
