package checkpointstore

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// What stands between a client that the store builds and the network.

// newTransport is the Azure SDK's default transport with as many idle
// connections as there are claims at once: with fewer, every round of claims
// dials the rest anew.
func newTransport(connections int) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2*connections + 2,
		MaxIdleConnsPerHost:   connections,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// noRedirect takes a redirect for the answer. The service sends none, and to
// follow one would tell its target the SAS, in the Referer header.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// mostBody bounds the body of an answer. The largest that the service sends is a
// page of 5000 blobs, each with up to 8 KiB of metadata and a name of up to 1024
// characters.
const mostBody = 64 << 20

// boundedTransport ends bodies that are longer than mostBody: azcore reads a body
// to its end, however long that takes memory.
type boundedTransport struct{ policy.Transporter }

func (t boundedTransport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.Transporter.Do(req)
	if err == nil && resp.Body != nil && (resp.ContentLength < 0 || resp.ContentLength > mostBody) {
		resp.Body = &boundedBody{resp.Body, mostBody}
	}
	return resp, err
}

// boundedBody fails once more than left bytes were read.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errBodyTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	b.left -= int64(n)
	if b.left < 0 {
		return n, errBodyTooLong
	}
	return n, err
}

var errBodyTooLong = &notRetriable{fmt.Errorf("the service's answer has more than %d bytes", mostBody)}

// notRetriable is an error that azcore's retry policy does not retry.
type notRetriable struct{ error }

func (e *notRetriable) NonRetriable() {}
func (e *notRetriable) Unwrap() error { return e.error }
