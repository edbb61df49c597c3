package proof

import (
	"net/http"

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
		return oneTry{transport}
	}
	return transport
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
