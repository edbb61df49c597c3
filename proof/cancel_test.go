package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// moment is when a context is cancelled in the course of a request.
type moment string

const (
	unsent   moment = "before it is sent"
	inFlight moment = "before it is applied"
	inEffect moment = "after it was applied"
	answered moment = "after its response"
)

// publicCall is a public call of a store in a situation. Its call also checks what must hold after it, cancelled or not.
type publicCall struct {
	name    string
	options checkpointstore.BlobCheckpointStoreOptions
	prepare func(*testing.T, *fakeblob.Service, *checkpointstore.BlobCheckpointStore)
	call    func(context.Context, *testing.T, *fakeblob.Service, *checkpointstore.BlobCheckpointStore) error
}

// A group with two spellings, of which the store reads both.
const spelled = "$Default"

// fill stores ownerships and checkpoints of n partitions in both spellings, and makes the service list them in pages of two.
func fill(n int) func(*testing.T, *fakeblob.Service, *checkpointstore.BlobCheckpointStore) {
	return func(_ *testing.T, service *fakeblob.Service, _ *checkpointstore.BlobCheckpointStore) {
		service.SetPageSize(2)
		for i := range n {
			for _, group := range []string{group, "$default", spelled} {
				prefix := namespace + "/" + eventHub + "/" + group
				service.Put(prefix+"/ownership/"+strconv.Itoa(i), map[string]string{"ownerid": "other"})
				service.Put(prefix+"/checkpoint/"+strconv.Itoa(i), map[string]string{"sequencenumber": "5", "offset": ""})
			}
		}
	}
}

func readCalls() []publicCall {
	type store = *checkpointstore.BlobCheckpointStore
	read := func(name string, partitions int, call func(context.Context, store) error) publicCall {
		return publicCall{name: name, prepare: fill(partitions), call: func(ctx context.Context, _ *testing.T, _ *fakeblob.Service, s store) error {
			return call(ctx, s)
		}}
	}
	calls := []publicCall{
		read("ListOwnership, three pages", 5, func(ctx context.Context, s store) error {
			return errorOf(s.ListOwnership(ctx, namespace, eventHub, group, nil))
		}),
		read("ListOwnership, two spellings", 3, func(ctx context.Context, s store) error {
			return errorOf(s.ListOwnership(ctx, namespace, eventHub, spelled, nil))
		}),
		read("ListCheckpoints", 3, func(ctx context.Context, s store) error {
			return errorOf(s.ListCheckpoints(ctx, namespace, eventHub, spelled, nil))
		}),
		read("GetOwnership", 1, func(ctx context.Context, s store) error {
			return errorOf(s.GetOwnership(ctx, namespace, eventHub, group, "0", nil))
		}),
		read("GetCheckpoint", 1, func(ctx context.Context, s store) error {
			return errorOf(s.GetCheckpoint(ctx, namespace, eventHub, spelled, "0", nil))
		}),
		read("EnsureContainer", 0, func(ctx context.Context, s store) error { return s.EnsureContainer(ctx, nil) }),
	}
	calls[1].options.Logger = slog.New(slog.NewTextHandler(io.Discard, nil)) // with one, the store looks for owners in the other spelling
	return calls
}

func errorOf[T any](_ T, err error) error { return err }

// updateCalls store a checkpoint at 100.
func updateCalls() []publicCall {
	written := func(t *testing.T, _ *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
		require.NoError(t, s.UpdateCheckpoint(context.Background(), checkpointAt("0", 90), nil))
	}
	var noRetries checkpointstore.BlobCheckpointStoreOptions
	noRetries.ClientOptions.Retry.MaxRetries = -1
	calls := []publicCall{
		{name: "UpdateCheckpoint, first"},
		{name: "UpdateCheckpoint, steady", prepare: written},
		{name: "UpdateCheckpoint, another process wrote", prepare: func(t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
			written(t, service, s)
			service.Put(checkpointPrefix+"0", map[string]string{"sequencenumber": "95", "offset": ""})
		}},
		{name: "UpdateCheckpoint, deleted", prepare: func(t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) {
			written(t, service, s)
			service.Delete(checkpointPrefix + "0")
		}},
		{name: "UpdateCheckpoint, ambiguous", options: noRetries, prepare: func(_ *testing.T, service *fakeblob.Service, _ *checkpointstore.BlobCheckpointStore) {
			service.Inject(faults.ApplyThenStatus(500, "InternalError").On(faults.OpIs(faults.PutBlob)).Once())
		}},
		{name: "UpdateCheckpoint, unfenced", options: checkpointstore.BlobCheckpointStoreOptions{DisableFencing: true}},
	}
	for i := range calls {
		calls[i].call = func(ctx context.Context, t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) error {
			err := s.UpdateCheckpoint(ctx, checkpointAt("0", 100), nil)
			if b, _ := service.Get(checkpointPrefix + "0"); err == nil {
				require.Equal(t, "100", b.Metadata["sequencenumber"])
			}
			return err
		}
	}
	return calls
}

// claimCalls claim six partitions: two without a record, two that are renewed, one whose record was deleted, one that is lost.
func claimCalls() []publicCall {
	var calls []publicCall
	for _, atOnce := range []int{1, 3} {
		var before map[string]string
		calls = append(calls, publicCall{
			name:    fmt.Sprintf("ClaimOwnership, %d at once", atOnce),
			options: checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: atOnce},
			prepare: func(_ *testing.T, service *fakeblob.Service, _ *checkpointstore.BlobCheckpointStore) {
				before = map[string]string{"0": "", "1": ""}
				for _, p := range []string{"2", "3", "4", "5"} {
					before[p] = service.Put(ownershipPrefix+p, map[string]string{"ownerid": "me"})
				}
				service.Delete(ownershipPrefix + "4")
				service.Put(ownershipPrefix+"5", map[string]string{"ownerid": "other"})
			},
			call: func(ctx context.Context, t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore) error {
				return claimSix(ctx, t, service, s, before, atOnce)
			},
		})
	}
	return calls
}

// claimSix checks that a claim with a response is returned as won, that one that may have had an effect is an error, and that
// no claim that had an effect is missing from both.
func claimSix(ctx context.Context, t *testing.T, service *fakeblob.Service, s *checkpointstore.BlobCheckpointStore, before map[string]string, atOnce int) error {
	t.Helper()
	var asked []checkpointstore.Ownership
	for i := range 6 {
		p := strconv.Itoa(i)
		asked = append(asked, claimOf("me", p, before[p]))
	}
	winners, err := s.ClaimOwnership(ctx, asked, nil)
	what := service.Transcript()
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
	for i := range 6 {
		p := strconv.Itoa(i)
		if b, found := service.Get(ownershipPrefix + p); found && b.Metadata["ownerid"] == "me" && b.ETag != before[p] {
			require.True(t, told[p], "partition %s was claimed, and is neither won nor an error: %s", p, what)
			before[p] = b.ETag // for the next call
		}
	}
	if ctx.Err() == nil {
		require.Len(t, winners, 5, what)
	} else { // of those that were applied, at most the ones in progress had no response
		require.GreaterOrEqual(t, len(winners), strings.Count(what, "-> 201")-atOnce, what)
	}
	return err
}

func TestCancelAtEveryRequest(t *testing.T) {
	for _, c := range append(append(readCalls(), updateCalls()...), claimCalls()...) {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range []moment{unsent, inFlight, inEffect, answered} {
				for _, busy := range []bool{false, c.options.ClientOptions.Retry.MaxRetries >= 0} {
					n := 1
					for ; !t.Failed() && cancelAt(t, c, m, n, busy); n++ {
					}
					require.Greater(t, n, 1, "no request was cancelled")
				}
			}
		})
	}
}

// cancelAt cancels a call at its nth request, and reports whether there was one. If busy, the response to every first try is
// 503, so that the call is also cancelled while it waits for the next try.
func cancelAt(t *testing.T, c publicCall, m moment, n int, busy bool) (cancelled bool) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	service := fakeblob.New()
	var counting atomic.Bool
	var seen atomic.Int64
	transport := transportFunc(func(req *http.Request) (*http.Response, error) {
		at := counting.Load() && seen.Add(1) == int64(n)
		if at && m == unsent {
			cancel()
		}
		resp, err := service.Do(req)
		if at && m == answered {
			cancel()
		}
		return resp, err
	})
	options := c.options
	options.ClientOptions.Retry.RetryDelay = time.Millisecond
	store, err := onFake(service).newStore(transport, options)
	require.NoError(t, err)
	if c.prepare != nil {
		c.prepare(t, service, store)
	}
	counting.Store(true)
	service.Reset()
	cancelInService(service, m, n, cancel)
	if busy {
		service.Inject(faults.Busy(0).On(everyOther()))
	}
	err = c.call(ctx, t, service, store)
	cancelled = ctx.Err() != nil
	what := fmt.Sprintf("request %d, %s, busy %v\n%s", n, m, busy, service.Transcript())
	if err != nil {
		require.True(t, cancelled, "%v: %s", err, what)
		require.ErrorIs(t, err, context.Canceled, what)
	}
	requests := service.Requests()
	goleak.VerifyNone(t, ignore)
	require.Equal(t, requests, service.Requests(), "a request was sent after the call")
	require.NoError(t, c.call(context.Background(), t, service, store), "the store stays usable: %s", what)
	require.NoError(t, store.Close())
	goleak.VerifyNone(t, ignore)
	return cancelled
}

// cancelInService cancels while the service has the nth request.
func cancelInService(service *fakeblob.Service, m moment, n int, cancel context.CancelFunc) (remove func()) {
	switch m {
	case inFlight:
		return service.Inject(faults.RunBefore(cancel).On(faults.Nth(n, nil)))
	case inEffect:
		return service.Inject(faults.RunAfter(cancel).On(faults.Nth(n, nil)))
	}
	return func() {}
}

// everyOther matches every other request to a URL, beginning with the first.
func everyOther() faults.Matcher {
	var mu sync.Mutex
	matched := make(map[string]bool) // the last one
	return func(req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		at := req.Method + req.URL.String()
		matched[at] = !matched[at]
		return matched[at]
	}
}

// TestCancelOnRealConnections cancels claims over TCP, with the transport that the store makes.
func TestCancelOnRealConnections(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	service := fakeblob.New()
	server := httptest.NewServer(service)
	defer server.Close()
	for _, m := range []moment{inFlight, inEffect} {
		for n, cancelled := 1, true; cancelled; n++ {
			store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(server.URL+"/c", &checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: 4})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			var asked []checkpointstore.Ownership
			for i := range 8 { // under names of this turn, which no late request of an earlier one has
				asked = append(asked, claimOf("me", fmt.Sprint(m, n, "-", i), ""))
			}
			remove := cancelInService(service, m, n, cancel)
			winners, err := store.ClaimOwnership(ctx, asked, nil)
			remove()
			cancelled = ctx.Err() != nil
			cancel()
			require.NoError(t, store.Close())
			failed := &checkpointstore.PartitionErrors{}
			_ = errors.As(err, &failed)
			require.Equal(t, len(asked), len(winners)+len(failed.Errors), "each is won or an error")
		}
	}
}
