package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// network is what lies between a store and its container.
type network struct {
	client *http.Client

	latency, jitter   time.Duration
	drop, reset, busy float64 // shares of requests: answer lost after it took effect, connection reset before, 503
	gone              atomic.Bool

	// fail, if it is set, is asked whether a request gets a 503.
	fail func(request) bool
	// slow, if it is set, is asked whether a request waits until its context ends.
	slow func(request) bool
	// sent, if it is set, is told of each request that took effect, before its
	// answer is handed on.
	sent func(request)

	// won, if it is set, is told of each claim that took effect.
	won func(partition, owner string)

	// ahead is how far the owner's clock is ahead of the service's: the service's times
	// are as much in the past for it.
	ahead time.Duration

	mu    sync.Mutex
	begun int64     // rounds
	last  time.Time // when a request about ownerships began or ended

	writes   atomic.Int64 // of ownerships, that took effect
	requests atomic.Int64
	answered atomic.Int64
	lists    atomic.Int64 // of ownerships, answered: one a round
}

// request is what a request is about.
type request struct {
	method string
	blob   string // or the prefix that is listed
	list   bool
}

func describe(r *http.Request) request {
	q := r.URL.Query()
	if q.Get("comp") == "list" {
		return request{r.Method, q.Get("prefix"), true}
	}
	blob, _ := url.PathUnescape(r.URL.EscapedPath())
	return request{method: r.Method, blob: blob}
}

func (r request) ownership() bool  { return strings.Contains(r.blob, "/ownership/") }
func (r request) checkpoint() bool { return strings.Contains(r.blob, "/checkpoint/") }

// claim reports whether the request claims a partition.
func (r request) claim() bool { return r.method == http.MethodPut && r.ownership() }

var _ policy.Transporter = (*network)(nil)

func newNetwork() *network {
	return &network{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

func (f *network) Do(req *http.Request) (*http.Response, error) {
	r := describe(req)
	f.requests.Add(1)
	f.note(r)
	defer f.note(request{method: r.method, blob: r.blob})
	wait := f.latency
	if f.jitter > 0 {
		wait += rand.N(f.jitter)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	switch {
	case f.slow != nil && f.slow(r):
		<-req.Context().Done()
		return nil, req.Context().Err()
	case f.gone.Load():
		return nil, syscall.ECONNREFUSED
	case rand.Float64() < f.reset:
		return nil, syscall.ECONNRESET
	case rand.Float64() < f.busy, f.fail != nil && f.fail(r):
		return serverBusy(req), nil
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer f.answered.Add(1) // after the others are counted
	if r.claim() && resp.StatusCode < 300 {
		f.writes.Add(1)
		if f.won != nil {
			f.won(path.Base(r.blob), ownerOf(req.Header))
		}
	}
	if f.sent != nil {
		f.sent(r)
		if err := req.Context().Err(); err != nil { // as a client that went away
			_ = resp.Body.Close()
			return nil, err
		}
	}
	if rand.Float64() < f.drop {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	if r.list && r.ownership() {
		f.lists.Add(1)
	}
	if f.ahead != 0 {
		return shifted(resp, r.list, f.ahead)
	}
	return resp, nil
}

// pause is the least time between two rounds, at an interval of a second; within a
// round, requests about ownerships follow each other at a tenth of that.
const pause = 600 * time.Millisecond

// round is how many rounds the owner has begun. It counts lists that come a while
// after all earlier requests about ownerships, and is meant for intervals of a second
// or more.
func (f *network) round() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

// note counts rounds.
func (f *network) note(r request) {
	if !r.ownership() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.list && time.Since(f.last) > pause {
		f.begun++
	}
	f.last = time.Now()
}

// close closes the connections that are kept.
func (f *network) close() { f.client.CloseIdleConnections() }

var lastModified = regexp.MustCompile(`<Last-Modified>([^<]*)</Last-Modified>`)

// ownerOf is the owner id of a claim. Names of metadata are sent as they are, so Get
// does not find them.
func ownerOf(h http.Header) string {
	for name, values := range h {
		if strings.EqualFold(name, "x-ms-meta-ownerid") {
			return values[0]
		}
	}
	return ""
}

// shifted is a response whose times are as a clock that is ahead would have them.
func shifted(resp *http.Response, list bool, ahead time.Duration) (*http.Response, error) {
	for _, name := range []string{"Date", "Last-Modified"} {
		if at, err := http.ParseTime(resp.Header.Get(name)); err == nil {
			resp.Header.Set(name, at.Add(-ahead).Format(http.TimeFormat))
		}
	}
	if !list {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	body = lastModified.ReplaceAllFunc(body, func(element []byte) []byte {
		at, err := http.ParseTime(string(lastModified.FindSubmatch(element)[1]))
		if err != nil {
			panic(err)
		}
		return []byte("<Last-Modified>" + at.Add(-ahead).Format(http.TimeFormat) + "</Last-Modified>")
	})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

func serverBusy(req *http.Request) *http.Response {
	const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>busy</Message></Error>`
	return &http.Response{
		StatusCode: http.StatusServiceUnavailable,
		Status:     "503 The server is busy.",
		Header:     http.Header{"X-Ms-Error-Code": {"ServerBusy"}, "Content-Type": {"application/xml"}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    req,
	}
}
