// Package fakeblob is an in-memory stand-in for one Azure Blob Storage container.
//
// A [Service] is an azcore policy.Transporter: put it in azcore.ClientOptions.Transport of an azblob client, or call
// [Service.Client]. Requests pass through the client's real pipeline (policies, retries, request and response
// encoding) and stop at the place where a socket would begin.
//
// It answers as Azure does, and not as Azurite does where the two differ: Set Blob Metadata with If-Match on an
// absent blob is 404 BlobNotFound, Put Blob on a leased blob is 412 LeaseIdMissing, Set Blob Metadata ignores
// If-None-Match: *. It knows empty block blobs with metadata and nothing else; what it does not know it answers
// with 501 and the code [CodeUnsupported], never with a guess.
//
// Tests can bend it: [Service.Inject] puts faults of package faults in front of it, [Service.Put] and its neighbours change blobs without a request,
// [Service.Transcript] tells what came over the wire.
package fakeblob

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/faults"
)

const (
	primaryHost   = "account.blob.core.windows.net"
	containerName = "c"
)

// Service is one blob container behind an HTTP transport. Use [New]; the zero value is not ready. All methods are
// safe for concurrent use.
type Service struct {
	mu               sync.Mutex // guards the five fields below; never held while a hook or a matcher runs
	blobs            map[string]*blob
	containerGone    bool
	containerChanged time.Time
	pageSize         int
	emptyPages       bool

	writes    atomic.Int64 // the last ETag given out
	requestID atomic.Int64
	clock     atomic.Pointer[func() time.Time]
	secondary atomic.Pointer[string]

	faults  *faults.Transport // in front of serve
	traffic traffic
	record  transcript
}

var _ policy.Transporter = (*Service)(nil)

// New returns a service whose container exists and is empty. It records requests; see [Service.SetRecording].
func New() *Service {
	s := &Service{blobs: map[string]*blob{}, traffic: traffic{byOp: map[faults.Op]int{}}}
	s.faults = faults.New(faults.TransportFunc(s.serve), 0)
	s.faults.Now = s.now
	s.SetClock(time.Now)
	s.containerChanged = s.now()
	return s
}

// URL returns the container's URL, without a query.
func (s *Service) URL() string { return "https://" + primaryHost + "/" + containerName }

// Client returns a client without credential for the container, whose transport is s. Its retries wait a millisecond
// or two; each option may change the client's options before it is built. Client panics if azblob refuses them.
func (s *Service) Client(options ...func(*container.ClientOptions)) *container.Client {
	o := &container.ClientOptions{}
	o.Transport = s
	o.Retry.RetryDelay = time.Millisecond
	o.Retry.MaxRetryDelay = 2 * time.Millisecond
	for _, option := range options {
		option(o)
	}
	client, err := container.NewClientWithNoCredential(s.URL(), o)
	if err != nil {
		panic("fakeblob: " + err.Error())
	}
	return client
}

// SetClock sets the source of Last-Modified, x-ms-creation-time and Date. The service cuts it to whole seconds, as
// Azure does. The clock must not call s.
func (s *Service) SetClock(now func() time.Time) { s.clock.Store(&now) }

func (s *Service) now() time.Time { return (*s.clock.Load())().UTC().Truncate(time.Second) }

// SetPageSize limits the number of blobs in one page of a listing. Zero, the default, means Azure's limit of 5000.
// A request's maxresults can lower it further.
func (s *Service) SetPageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

// SetEmptyPages makes every page of a listing follow a page that has no blobs and a NextMarker, as Azure may send.
func (s *Service) SetEmptyPages(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emptyPages = on
}

// ServeSecondary makes requests to host be served from the same data. The transcript shows the host in front of the
// path. A request to a host that is neither this one nor that of [Service.URL] fails as an unknown host does.
func (s *Service) ServeSecondary(host string) { s.secondary.Store(&host) }

func (s *Service) isSecondary(host string) bool {
	h := s.secondary.Load()
	return h != nil && *h == host
}

func (s *Service) serves(req *http.Request) bool {
	return req.URL.Host == primaryHost || s.isSecondary(req.URL.Host)
}
