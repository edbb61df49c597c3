package proof

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// moment is when a context is cancelled in the course of a request.
type moment string

const (
	unsent   moment = "before it is sent"
	inFlight moment = "in flight"
	inEffect moment = "when it took effect"
	answered moment = "when it was answered"
)

// cutting cancels at one of the requests that pass it.
type cutting struct {
	next   policy.Transporter
	at     int64
	moment moment
	cancel context.CancelFunc
	seen   atomic.Int64
}

func (c *cutting) Do(req *http.Request) (*http.Response, error) {
	n := c.seen.Add(1)
	if n == c.at && c.moment == unsent {
		c.cancel()
	}
	resp, err := c.next.Do(req)
	if n == c.at && c.moment == answered {
		c.cancel()
	}
	return resp, err
}

func TestCancelAtEveryRequest(t *testing.T) {
	for _, c := range append(readCalls(), updateCalls()...) {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range []moment{unsent, inFlight, inEffect, answered} {
				for _, busy := range []bool{false, c.options.ClientOptions.Retry.MaxRetries >= 0} {
					n := 1
					for ; cutAt(t, c, m, n, busy); n++ {
					}
					require.Greater(t, n, 1, "no request was cut")
				}
			}
		})
	}
}

// cutAt makes a call that is cancelled at its nth request, and tells whether there was one. If busy, every first try is
// answered with 503, so that the call is also cancelled while it waits for the next one.
func cutAt(t *testing.T, c publicCall, m moment, n int, busy bool) (cut bool) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	service := fakeblob.New()
	options := c.options
	options.ClientOptions.Retry.RetryDelay = time.Millisecond
	transport := &cutting{next: service, cancel: func() {}}
	w := onFake(service)
	store, err := w.newStore(transport, options)
	require.NoError(t, err)
	if c.prepare != nil {
		c.prepare(t, service, store)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	transport.at, transport.moment, transport.cancel = int64(n), m, cancel
	transport.seen.Store(0)
	service.Reset()
	cutOnService(service, m, n, cancel)
	if busy {
		service.Inject(faults.Busy(0).On(odd()))
	}
	err = c.call(ctx, store)
	cut = ctx.Err() != nil
	what := fmt.Sprintf("request %d, %s, busy %v\n%s", n, m, busy, service.Transcript())
	if err != nil {
		require.True(t, cut, "%v: %s", err, what)
		require.ErrorIs(t, err, context.Canceled, what)
	}
	if c.holds != nil {
		c.holds(t, service, err)
	}
	require.NoError(t, c.call(context.Background(), store), "the store stays usable: %s", what)
	require.NoError(t, store.Close())
	goleak.VerifyNone(t, ignore)
	return cut
}

// cutOnService cancels while the service has the nth request.
func cutOnService(service *fakeblob.Service, m moment, n int, cancel context.CancelFunc) {
	switch m {
	case inFlight:
		service.Inject(faults.RunBefore(cancel).On(faults.Nth(n, nil)))
	case inEffect:
		service.Inject(faults.RunAfter(cancel).On(faults.Nth(n, nil)))
	}
}

// odd matches every other request to a URL, the first one among them.
func odd() faults.Matcher {
	var mu sync.Mutex
	matched := make(map[string]bool) // whether the last one was
	return func(req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		at := req.Method + req.URL.String()
		matched[at] = !matched[at]
		return matched[at]
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
