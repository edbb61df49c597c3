package proof

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// breaks makes a store over the transport the broken one that the variant names.
func (v variant) breaks(transport policy.Transporter) policy.Transporter {
	switch v {
	case unconditional:
		return transportFunc(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.Header.Del("If-None-Match")
			return transport.Do(req)
		})
	case forgetful:
		return transportFunc(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			delete(req.Header, generationHeader())
			return transport.Do(req)
		})
	case relabelling:
		return &relabel{next: transport}
	case unresolved:
		return oneTry{transport}
	}
	return transport
}

// generationHeader is the name of a header as azblob sends it, which is not the canonical form.
func generationHeader() string { return "x-ms-meta-" + "generation" }

// relabel shows the store no generation, and gives what it writes that of the record, or the next one for a rewind.
type relabel struct {
	next   policy.Transporter
	mu     sync.Mutex
	stored int64 // the latest that it has seen
}

func (r *relabel) Do(req *http.Request) (*http.Response, error) {
	key := generationHeader()
	if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/checkpoint/") {
		req = req.Clone(req.Context())
		r.mu.Lock()
		generation := r.stored
		if len(req.Header[key]) > 0 {
			generation++
		}
		r.mu.Unlock()
		req.Header[key] = []string{strconv.FormatInt(generation, 10)}
	}
	resp, err := r.next.Do(req)
	if err == nil && req.Method == http.MethodHead {
		r.mu.Lock()
		r.stored = max(r.stored, number(resp.Header.Get(key)))
		r.mu.Unlock()
		resp.Header.Del(key)
	}
	return resp, err
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) Do(req *http.Request) (*http.Response, error) { return f(req) }

// oneTry makes the retries below the store, which sees a single try of each request: so it takes a "condition not met"
// for the answer to the one request that it sent.
type oneTry struct{ next policy.Transporter }

func (o oneTry) Do(req *http.Request) (resp *http.Response, err error) {
	for range 4 {
		if resp != nil {
			_ = resp.Body.Close()
		}
		resp, err = o.next.Do(req.Clone(req.Context()))
		if req.Context().Err() != nil || err == nil && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			break
		}
	}
	return resp, err
}
