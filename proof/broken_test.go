package proof

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// breaks wraps the transport of a store so that the store is broken as the variant says.
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

// generationHeader returns the name of the header as azblob sends it, which is not the canonical form.
func generationHeader() string { return "x-ms-meta-" + "generation" }

// relabel hides the generation from the store, and writes the stored generation, or the next one for a rewind.
type relabel struct {
	next   policy.Transporter
	mu     sync.Mutex
	stored int64 // the highest that it has seen
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

// oneTry retries below the store, which therefore takes "condition not met" for the response to the only request that it sent.
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
