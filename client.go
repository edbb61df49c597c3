package checkpointstore

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// clientOptions completes the options of a client that the store builds. It also
// returns the transport that it created, or nil if the caller set one.
func (s *settings) clientOptions() (container.ClientOptions, *http.Transport) {
	options := s.ClientOptions
	timeout := s.Timeout
	if timeout < 0 {
		timeout = DefaultTimeout
	}
	setDefault(&options.Retry.MaxRetries, 3)
	setDefault(&options.Retry.RetryDelay, 200*time.Millisecond)
	setDefault(&options.Retry.MaxRetryDelay, timeout/2)
	setDefault(&options.Retry.TryTimeout, defaultTryTimeout(timeout))

	// Never append to the caller's slices, which other clients may share. The
	// decoder comes first, so that the caller's policies see what the service sent.
	options.PerCallPolicies = slices.Clip(options.PerCallPolicies)
	options.PerRetryPolicies = append([]policy.Policy{policyFunc(decodeLists)}, options.PerRetryPolicies...)
	if s.APIVersion != "" {
		options.PerCallPolicies = append(options.PerCallPolicies, apiVersionPolicy(s.APIVersion))
	}
	if s.SecondaryHost != "" {
		second := secondary{host: s.SecondaryHost}
		options.PerCallPolicies = append(options.PerCallPolicies, policyFunc(second.perCall))
		options.PerRetryPolicies = append(options.PerRetryPolicies, policyFunc(second.perTry))
	}
	var transport *http.Transport
	if options.Transport == nil {
		transport = newTransport()
		options.Transport = &http.Client{Transport: transport, CheckRedirect: noRedirect}
	}
	options.Transport = redact.Transport{Transporter: boundedTransport{options.Transport}}
	return options, transport
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// policyFunc makes a policy of a function.
type policyFunc func(*policy.Request) (*http.Response, error)

func (f policyFunc) Do(req *policy.Request) (*http.Response, error) { return f(req) }

// apiVersionPolicy sets the version of the service's API. It runs once per call,
// before the request is signed. The generated client writes the header's map key in
// lower case; Set would add a second header and break the signature.
func apiVersionPolicy(version string) policy.Policy {
	return policyFunc(func(req *policy.Request) (*http.Response, error) {
		map[string][]string(req.Raw().Header)["x-ms-version"] = []string{version}
		return req.Next()
	})
}

// maxIdleConnections limits the idle connections to one host. There are never more
// than there were requests in flight: one for each partition whose checkpoint is
// written at the same time, and an event hub has up to 1,024 partitions. With a
// lower limit, each round of requests would dial those beyond it again.
const maxIdleConnections = 1024

// newTransport is the Azure SDK's default transport with more idle connections.
// Their number has nothing to do with MaxConcurrency, which bounds claims only.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2 * maxIdleConnections, // the primary's and the secondary's
		MaxIdleConnsPerHost:   maxIdleConnections,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// noRedirect returns a redirect to the caller. The service sends none, and
// following one would send the SAS to its target in the Referer header.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// maxBody limits the body of a response. The largest that the service sends is a
// page of 5,000 blobs, each with up to 8 KiB of metadata and a name of up to 1,024
// characters.
const maxBody = 64 << 20

// boundedTransport fails bodies longer than maxBody, because azcore reads every
// body to its end and keeps it in memory.
type boundedTransport struct{ policy.Transporter }

func (t boundedTransport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.Transporter.Do(req)
	if err == nil && resp.Body != nil && (resp.ContentLength < 0 || resp.ContentLength > maxBody) {
		resp.Body = &boundedBody{resp.Body, maxBody}
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

var errBodyTooLong = &notRetriable{fmt.Errorf("the service's response has more than %d bytes", maxBody)}

// notRetriable is an error that azcore's retry policy does not retry.
type notRetriable struct{ error }

func (e *notRetriable) NonRetriable() {}
func (e *notRetriable) Unwrap() error { return e.error }

// tryTimeout limits a single try that the store sends without the client's retries.
// It is what the options say for a client that the store built.
func (s *BlobCheckpointStore) tryTimeout() time.Duration {
	if d := s.settings.ClientOptions.Retry.TryTimeout; d != 0 {
		return d
	}
	if s.settings.Timeout < 0 {
		return defaultTryTimeout(DefaultTimeout)
	}
	return defaultTryTimeout(s.settings.Timeout)
}

func defaultTryTimeout(timeout time.Duration) time.Duration { return timeout * 7 / 30 }
