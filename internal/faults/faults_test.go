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
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

const blobName = "b"

// seen is what a client sees of one request.
type seen struct {
	status       int
	err          error
	body         string
	bodyErr      error
	header       http.Header
	asked, had   int // of connections
	wrote        int
	took         time.Duration
	appliedByEnd bool // whether it had taken effect when the client had its answer
}

// put sends a Put Blob through the transport.
func put(ctx context.Context, t *testing.T, service *fakeblob.Service, transport policy.Transporter) *seen {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, service.URL()+"/"+blobName, strings.NewReader(""))
	require.NoError(t, err)
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("x-ms-meta-ownerid", "a")
	s := send(t, req, transport)
	_, s.appliedByEnd = service.Get(blobName)
	return s
}

func list(t *testing.T, service *fakeblob.Service, transport policy.Transporter) *seen {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, service.URL()+"?restype=container&comp=list", nil)
	require.NoError(t, err)
	return send(t, req, transport)
}

func send(t *testing.T, req *http.Request, transport policy.Transporter) *seen {
	t.Helper()
	s := &seen{}
	trace := &httptrace.ClientTrace{
		GetConn:      func(string) { s.asked++ },
		GotConn:      func(httptrace.GotConnInfo) { s.had++ },
		WroteRequest: func(httptrace.WroteRequestInfo) { s.wrote++ },
	}
	begin := time.Now()
	resp, err := transport.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	s.took, s.err = time.Since(begin), err
	if err != nil {
		require.Nil(t, resp)
		return s
	}
	s.status, s.header = resp.StatusCode, resp.Header
	body, err := io.ReadAll(resp.Body)
	s.body, s.bodyErr = string(body), err
	require.NoError(t, resp.Body.Close())
	return s
}

func always(f faults.Fault) faults.Rule { return faults.Rule{Fault: f, Chance: 1} }

func TestWhatEachFaultDoes(t *testing.T) {
	const tryTimeout = time.Second
	for _, c := range []struct {
		fault         faults.Fault
		name          string
		status        int
		is            error
		connections   int  // that the client had
		applied       bool // when the client has its answer
		appliedLater  bool // when the transport was drained
		least, longer time.Duration
	}{
		{fault: faults.Latency(10*time.Millisecond, 20*time.Millisecond), name: "latency", status: 201, connections: 1, applied: true, least: 20 * time.Millisecond, longer: 40 * time.Millisecond},
		{fault: faults.Latency(2*time.Second, 2*time.Second), name: "latency", is: context.DeadlineExceeded, least: tryTimeout, longer: tryTimeout + 1},
		{fault: faults.Latency(600*time.Millisecond, 600*time.Millisecond), name: "latency", is: context.DeadlineExceeded, connections: 1, applied: true, least: tryTimeout, longer: tryTimeout + 1},
		{fault: faults.RefuseConnection(), name: "refused", is: syscall.ECONNREFUSED},
		{fault: faults.Outage(time.Second, time.Second), name: "outage", is: syscall.ECONNREFUSED},
		{fault: faults.ResetBeforeSend(), name: "reset before send", is: syscall.ECONNRESET},
		{fault: faults.LoseRequest(), name: "request lost", is: syscall.ECONNRESET, connections: 1},
		{fault: faults.LoseResponse(), name: "response lost", is: syscall.ECONNRESET, connections: 1, applied: true},
		{fault: faults.ApplyLate(time.Second, time.Second), name: "late", is: context.DeadlineExceeded, connections: 1, appliedLater: true, least: tryTimeout, longer: tryTimeout + 1},
		{fault: faults.ResetThenApplyLate(time.Second, time.Second), name: "reset, late", is: syscall.ECONNRESET, connections: 1, appliedLater: true},
		{fault: faults.Busy(0).Fault(), name: "503", status: 503, connections: 1},
		{fault: faults.Busy(time.Second).After().Fault(), name: "503 with retry-after, applied", status: 503, connections: 1, applied: true},
		{fault: faults.InternalError().Fault(), name: "500", status: 500, connections: 1},
		{fault: faults.InternalError().After().Fault(), name: "500, applied", status: 500, connections: 1, applied: true},
		{fault: faults.SkewDate(time.Hour), name: "date off", status: 201, connections: 1, applied: true},
		{fault: faults.Busy(0).Fault().Named("busy"), name: "busy", status: 503, connections: 1},
	} {
		t.Run(fmt.Sprint(c.name, c.least), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fakeblob.New()
				transport := faults.New(service, 1, always(c.fault))
				ctx, cancel := context.WithTimeout(context.Background(), tryTimeout)
				defer cancel()
				s := put(ctx, t, service, transport)
				require.Equal(t, c.status, s.status)
				if c.is != nil {
					require.ErrorIs(t, s.err, c.is)
					require.ErrorAs(t, s.err, new(*url.Error))
				} else {
					require.NoError(t, s.err)
				}
				require.Equal(t, 1, s.asked, "a connection is always asked for")
				require.Equal(t, c.connections, s.had)
				require.Equal(t, c.connections, s.wrote)
				require.Equal(t, c.applied, s.appliedByEnd)
				require.GreaterOrEqual(t, s.took, c.least)
				require.LessOrEqual(t, s.took, max(c.longer, c.least))
				require.Equal(t, map[string]int{c.name: 1}, transport.Struck())
				require.Equal(t, c.name, c.fault.String())

				drained := time.Now()
				transport.Drain()
				require.Zero(t, time.Since(drained), "what is late is sent at once")
				_, applied := service.Get(blobName)
				require.Equal(t, c.applied || c.appliedLater, applied)
				require.Equal(t, c.connections, s.had, "the late request is not in the client's trace")
			})
		})
	}
}

func TestTheFaultsOfAnswers(t *testing.T) {
	service := fakeblob.New()
	for i := range 20 {
		service.Put(fmt.Sprint("some/blob/", i), map[string]string{"ownerid": "a"})
	}
	whole := list(t, service, service)
	cut := list(t, service, faults.New(service, 1, always(faults.TruncateBody())))
	require.ErrorIs(t, cut.bodyErr, io.ErrUnexpectedEOF)
	require.True(t, strings.HasPrefix(whole.body, cut.body))
	require.Equal(t, fmt.Sprint(len(whole.body)), cut.header.Get("Content-Length"), "as promised")

	short := list(t, service, faults.New(service, 1, always(faults.ShortenBody())))
	require.NoError(t, short.bodyErr)
	require.True(t, strings.HasPrefix(whole.body, short.body))
	require.Less(t, len(short.body), len(whole.body))
	require.Equal(t, fmt.Sprint(len(short.body)), short.header.Get("Content-Length"))

	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	service.SetClock(func() time.Time { return now })
	off := list(t, service, faults.New(service, 1, always(faults.SkewDate(-time.Hour))))
	require.Equal(t, "Fri, 02 Jan 2026 02:04:05 GMT", off.header.Get("Date"))

	busy := list(t, service, faults.New(service, 1, always(faults.Busy(2*time.Second).Fault())))
	require.Equal(t, "2", busy.header.Get("Retry-After"))
	require.Equal(t, "ServerBusy", busy.header.Get("x-ms-error-code"))
	require.Contains(t, busy.body, "<Code>ServerBusy</Code>")
	soon := list(t, service, faults.New(service, 1, always(faults.Busy(20*time.Millisecond).Fault())))
	require.Empty(t, soon.header.Get("Retry-After"))
	require.Equal(t, "20", soon.header.Get("x-ms-retry-after-ms"))
	require.Empty(t, list(t, service, faults.New(service, 1, always(faults.Busy(0).Fault()))).header.Get("Retry-After"))
}

func TestAnOutageLastsAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fakeblob.New()
		first := true
		transport := faults.New(service, 1, faults.Rule{
			Fault: faults.Outage(time.Second, time.Second), Chance: 1,
			Match: func(*http.Request) bool { was := first; first = false; return was },
		})
		for _, want := range []error{syscall.ECONNREFUSED, syscall.ECONNREFUSED, nil} {
			require.ErrorIs(t, list(t, service, transport).err, want)
			time.Sleep(600 * time.Millisecond)
		}
		require.Equal(t, 1, service.Requests())
	})
}

// fate tells which of n requests to a path were struck.
func fate(t *testing.T, transport *faults.Transport, path string, n int) string {
	var b strings.Builder
	for range n {
		req, err := http.NewRequest(http.MethodHead, "https://host/"+path, nil)
		require.NoError(t, err)
		if resp, err := transport.Do(req); err != nil {
			b.WriteString("x")
		} else {
			fmt.Fprint(&b, resp.StatusCode/100)
		}
	}
	return b.String()
}

// answering is a service that always answers 200.
type answering struct{}

func (answering) Do(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func TestTheSeedDecides(t *testing.T) {
	rules := []faults.Rule{{Fault: faults.LoseRequest(), Chance: 0.3}, {Fault: faults.Busy(0).Fault(), Chance: 0.3}}
	newTransport := func(seed uint64, rules ...faults.Rule) *faults.Transport {
		return faults.New(answering{}, seed, rules...)
	}
	const n = 1000

	a := newTransport(7, rules...)
	want := fate(t, a, "a", n)
	require.InDelta(t, 0.3*n, strings.Count(want, "x"), 0.06*n, "the chance")
	require.InDelta(t, 0.3*0.7*n, strings.Count(want, "5"), 0.06*n, "the first rule is the outer one")
	require.Equal(t, strings.Count(want, "x"), a.Struck()["request lost"])

	b := newTransport(7, rules...)
	require.NotEqual(t, want, fate(t, b, "b", n), "each URL has its own draws")
	require.Equal(t, want, fate(t, b, "a", n), "which do not depend on other requests")
	require.NotEqual(t, want, fate(t, newTransport(8, rules...), "a", n), "nor are those of another seed")

	one := fate(t, newTransport(7, rules[0]), "a", n)
	require.Equal(t, strings.ReplaceAll(want, "5", "2"), one, "a rule less changes nothing of the others")
	require.Equal(t, strings.Repeat("2", n), fate(t, newTransport(7), "a", n))

	a.Heal()
	require.Equal(t, strings.Repeat("2", n), fate(t, a, "a", n))
}

func TestALateRequestComesByItselfAndKeepsItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := make(chan string, 2)
		service := doer(func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			bodies <- string(body) + " " + req.Header.Get("If-Match")
			return &http.Response{StatusCode: 200, Body: http.NoBody}, errors.Join(err, req.Context().Err())
		})
		transport := faults.New(service, 1, always(faults.ApplyLate(time.Second, 3*time.Second)))
		ctx, giveUp := context.WithCancelCause(context.Background())
		why := errors.New("the client gave up")
		time.AfterFunc(time.Minute, func() { giveUp(why) })
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://host/", strings.NewReader("text"))
		require.NoError(t, err)
		req.Header.Set("If-Match", "0x1")
		_, err = transport.Do(req)
		require.ErrorIs(t, err, why)
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, bodies)
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, bodies, 1)
		require.Equal(t, "text 0x1", <-bodies)
		transport.Drain()
		require.Empty(t, bodies)
	})
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(req *http.Request) (*http.Response, error) { return d(req) }

// TestBehindAHTTPClient takes the transport as a http.RoundTripper, over a real connection.
func TestBehindAHTTPClient(t *testing.T) {
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	defer server.Close()
	transport := faults.New(faults.RoundTripper(http.DefaultTransport), 1, always(faults.LoseResponse()))
	client := &http.Client{Transport: transport}
	_, err := client.Get(server.URL)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, 1, strings.Count(err.Error(), server.URL), "the error has the URL once: %v", err)
	require.Equal(t, 1, served)
	transport.Heal()
	resp, err := client.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 2, served)
}
