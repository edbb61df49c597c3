package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// TestNoWinnerIsForgotten cancels claims at each request: what was answered before is returned, what may have taken effect
// is an error of its partition, and nothing is silently missing.
func TestNoWinnerIsForgotten(t *testing.T) {
	for _, atOnce := range []int{1, 3} {
		for _, m := range []moment{unsent, inFlight, inEffect, answered} {
			for _, busy := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d at once, cancelled %s, busy %v", atOnce, m, busy), func(t *testing.T) {
					n := 1
					for ; cutClaims(t, atOnce, m, n, busy); n++ {
					}
					require.Greater(t, n, 6)
				})
			}
		}
	}
}

// cutClaims claims six partitions: two that nobody has, two that it renews, one that was deleted, one that is lost.
func cutClaims(t *testing.T, atOnce int, m moment, n int, busy bool) (cut bool) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	service := fakeblob.New()
	transport := &cutting{next: service, cancel: func() {}}
	options := checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: atOnce}
	options.ClientOptions.Retry = policy.RetryOptions{RetryDelay: time.Millisecond}
	store, err := onFake(service).newStore(transport, options)
	require.NoError(t, err)
	before := make(map[string]string)
	asked := []checkpointstore.Ownership{claimOf("me", "0", ""), claimOf("me", "1", "")}
	for _, p := range []string{"2", "3", "4", "5"} {
		before[p] = service.Put(ownershipPrefix+p, map[string]string{"ownerid": "me"})
		asked = append(asked, claimOf("me", p, before[p]))
	}
	service.Delete(ownershipPrefix + "4")
	service.Put(ownershipPrefix+"5", map[string]string{"ownerid": "other"})

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	transport.at, transport.moment, transport.cancel = int64(n), m, cancel
	cutOnService(service, m, n, cancel)
	if busy {
		service.Inject(faults.Busy(0).On(odd()))
	}
	winners, err := store.ClaimOwnership(ctx, asked, nil)
	what := fmt.Sprintf("request %d\n%s", n, service.Transcript())
	requests := service.Requests()

	told := make(map[string]bool)
	for _, w := range winners {
		b, _ := service.Get(ownershipPrefix + w.PartitionID)
		require.Equal(t, b.ETag, string(*w.ETag), what)
		require.Equal(t, "me", b.Metadata["ownerid"])
		told[w.PartitionID] = true
	}
	failed := &checkpointstore.PartitionErrors{}
	if err != nil {
		require.ErrorAs(t, err, &failed)
	}
	for _, f := range failed.Errors {
		require.False(t, told[f.PartitionID], "both won and failed: %s", what)
		require.ErrorIs(t, f, context.Canceled, what)
		told[f.PartitionID] = true
	}
	for _, name := range service.Names() {
		b, _ := service.Get(name)
		p := name[len(ownershipPrefix):]
		if b.Metadata["ownerid"] == "me" && b.ETag != before[p] {
			require.True(t, told[p], "partition %s was claimed and is neither won nor an error: %s", p, what)
		}
	}
	if atOnce == 1 && !busy && ctx.Err() != nil {
		require.Len(t, winners, answeredBefore(n), "those answered before: %s", what)
	}
	if ctx.Err() == nil {
		require.NoError(t, err, what)
		require.Len(t, winners, 5)
	}
	goleak.VerifyNone(t, ignore)
	require.Equal(t, requests, service.Requests(), "nothing is sent after the call")
	return ctx.Err() != nil
}

// answeredBefore is how many claims had been won when the nth request was cut, one after the other: the fifth one takes
// two requests.
func answeredBefore(n int) int {
	switch {
	case n <= 5:
		return n - 1
	case n == 6:
		return 4
	}
	return 5
}

// TestCancelOnRealConnections does the same over TCP, with the transport that the store makes.
func TestCancelOnRealConnections(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	service := fakeblob.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { relay(w, req, service) }))
	defer server.Close()
	for _, m := range []moment{inFlight, inEffect} {
		for n := 1; ; n++ {
			options := checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: 4}
			store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(server.URL+"/c", &options)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			var asked []checkpointstore.Ownership
			for i := range 8 {
				asked = append(asked, claimOf("me", fmt.Sprint(m, n, "-", i), "")) // nothing late gets there
			}
			fault := faults.RunBefore(cancel)
			if m == inEffect {
				fault = faults.RunAfter(cancel)
			}
			remove := service.Inject(fault.On(faults.Nth(n, nil)))
			winners, err := store.ClaimOwnership(ctx, asked, nil)
			remove()
			cut := ctx.Err() != nil
			cancel()
			require.NoError(t, store.Close())
			told := len(winners)
			var failed *checkpointstore.PartitionErrors
			if errors.As(err, &failed) {
				told += len(failed.Errors)
			}
			require.Equal(t, len(asked), told, "each is won or an error")
			if !cut {
				break
			}
		}
	}
}

// relay lets the fake answer a request of a real connection.
func relay(w http.ResponseWriter, req *http.Request, service *fakeblob.Service) {
	inner := req.Clone(context.Background())
	inner.URL.Scheme, inner.URL.Host, inner.RequestURI = "https", "account.blob.core.windows.net", ""
	resp, err := service.Do(inner)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	buffer := make([]byte, 1<<16)
	n, _ := resp.Body.Read(buffer)
	_, _ = w.Write(buffer[:n])
}
