package proof

import (
	"context"
	"net/http"
	"net/http/httptrace"
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
	case unresolved:
		return &oneTry{next: transport, seen: make(map[string]bool)}
	}
	return transport
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) Do(req *http.Request) (*http.Response, error) { return f(req) }

// oneTry hides retries from the store: it sees a connection for the first try of a request only, so that it takes a
// "condition not met" for the answer to the one request that it sent.
type oneTry struct {
	next policy.Transporter
	mu   sync.Mutex
	seen map[string]bool // x-ms-client-request-id, which the tries of a request share
}

func (o *oneTry) Do(req *http.Request) (*http.Response, error) {
	id := req.Header.Get("x-ms-client-request-id")
	o.mu.Lock()
	again := o.seen[id]
	o.seen[id] = true
	o.mu.Unlock()
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && !again {
		trace.GetConn(req.URL.Host)
		trace.GotConn(httptrace.GotConnInfo{})
	}
	return o.next.Do(req.WithContext(untraced{req.Context()}))
}

// untraced is a context without values.
type untraced struct{ context.Context }

func (untraced) Value(any) any { return nil }
