package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

func TestClaimsGoOutInParallelUpToMaxConcurrency(t *testing.T) {
	for name, c := range map[string]struct {
		store func(*fake.Service) *checkpointstore.BlobCheckpointStore
		want  int
	}{
		"built client": {func(s *fake.Service) *checkpointstore.BlobCheckpointStore { return blobtest.NewStore(t, s, nil) }, 32},
		"handed client": {func(s *fake.Service) *checkpointstore.BlobCheckpointStore {
			store, err := checkpointstore.NewBlobCheckpointStore(s.Client(), nil)
			require.NoError(t, err)
			return store
		}, 10},
		"option": {func(s *fake.Service) *checkpointstore.BlobCheckpointStore {
			return blobtest.NewStore(t, s, &checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: 3})
		}, 3},
		"option with a handed client": {func(s *fake.Service) *checkpointstore.BlobCheckpointStore {
			store, err := checkpointstore.NewBlobCheckpointStore(s.Client(), &checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: 20})
			require.NoError(t, err)
			return store
		}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			// Every request waits until as many are there as are to go out at once.
			var mu sync.Mutex
			arrived := 0
			all := make(chan struct{})
			service.Inject(fake.RunBefore(func() {
				mu.Lock()
				if arrived++; arrived == c.want {
					close(all)
				}
				mu.Unlock()
				<-all
			}))
			won, err := c.store(service).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 64), nil)
			require.NoError(t, err)
			require.Len(t, won, 64)
			require.Equal(t, c.want, service.Peak())
		})
	}
}

func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	service := fake.New()
	service.Inject(fake.Forbidden().On(fake.BlobIs(blobtest.OwnershipPrefix + "3")))
	service.Inject(fake.Status(400, "InvalidHeaderValue").On(fake.BlobIs(blobtest.OwnershipPrefix + "5")))
	service.Put(blobtest.OwnershipPrefix+"7", map[string]string{"ownerid": "b"})
	store := blobtest.NewStore(t, service, nil)

	won, err := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 8), nil)
	ids := make([]string, len(won))
	for i, o := range won {
		ids[i] = o.PartitionID
	}
	require.Equal(t, []string{"0", "1", "2", "4", "6"}, ids, "winners in the order asked, the lost one left out")

	var failed *checkpointstore.PartitionErrors
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Errors, 2)
	require.Equal(t, "3", failed.Errors[0].PartitionID)
	require.ErrorIs(t, failed.Errors[0], checkpointstore.ErrNotAuthorized)
	require.Equal(t, "5", failed.Errors[1].PartitionID)
	require.NotErrorIs(t, failed.Errors[1], checkpointstore.ErrNotAuthorized)
	require.True(t, bloberror.HasCode(failed.Errors[1], bloberror.InvalidHeaderValue), "the service's answer stays reachable")
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized, "each partition's kind is found in the whole")
	var one *checkpointstore.Error
	require.ErrorAs(t, err, &one)
	require.Equal(t, blobtest.OwnershipPrefix+"3", one.BlobName)
}

func TestACancelledContextReturnsWhatWasWon(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: 1})
	ctx, cancel := context.WithCancel(context.Background())
	service.Inject(fake.RunBefore(cancel).On(fake.BlobIs(blobtest.OwnershipPrefix + "2")))

	won, err := store.ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "a", 5), nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, won, 2)
	var failed *checkpointstore.PartitionErrors
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Errors, 3)
	require.Equal(t, 3, service.Requests(), "nothing is sent after the context ended")
}

func TestTimeoutBoundsEveryCall(t *testing.T) {
	for name, call := range blobtest.Calls() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fake.New()
				service.Inject(fake.HangWithoutApplying())
				store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * time.Millisecond})
				require.ErrorIs(t, call(context.Background(), store), context.DeadlineExceeded)

				handed, err := checkpointstore.NewBlobCheckpointStore(service.Client(), &checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * time.Millisecond})
				require.NoError(t, err)
				require.ErrorIs(t, call(context.Background(), handed), context.DeadlineExceeded, "a client without a timeout of its own")

				endless, err := checkpointstore.NewBlobCheckpointStore(service.Client(), &checkpointstore.BlobCheckpointStoreOptions{Timeout: -1})
				require.NoError(t, err)
				ctx, cancel := context.WithCancelCause(context.Background())
				service.Inject(fake.RunBefore(func() { cancel(nil) }))
				cancelling, stop := context.WithTimeout(ctx, 30*time.Millisecond)
				defer stop()
				require.ErrorIs(t, call(cancelling, endless), context.DeadlineExceeded, "negative: only the context ends it")
			})
		})
	}
}

func TestATryThatHangsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		service.Inject(fake.HangWithoutApplying().Once())
		store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Timeout: 3 * time.Second}) // 0.7 s for a try
		won, err := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
		require.NoError(t, err)
		require.Len(t, won, 1)
		require.Equal(t, 2, service.Requests())
	})
}

// untraced is a transport that does not tell of its connections.
type untraced struct{ service *fake.Service }

func (u untraced) Do(req *http.Request) (*http.Response, error) {
	return u.service.Do(req.WithContext(withoutValues{req.Context()}))
}

// withoutValues is a context whose values nobody sees.
type withoutValues struct{ context.Context }

func (withoutValues) Value(any) any { return nil }

func TestAnAnswerThatWasLostIsFoundForAnyClient(t *testing.T) {
	transports := map[string]func(*fake.Service) policy.Transporter{
		"traced":   func(s *fake.Service) policy.Transporter { return s },
		"untraced": func(s *fake.Service) policy.Transporter { return untraced{s} },
	}
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			client, err := container.NewClientWithNoCredential(service.URL(), &container.ClientOptions{ClientOptions: azcore.ClientOptions{
				Transport: transport(service), Retry: policy.RetryOptions{RetryDelay: time.Millisecond},
			}})
			require.NoError(t, err)
			store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
			require.NoError(t, err)
			ctx := context.Background()

			service.Inject(fake.LoseResponse().Once())
			won, err := store.ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "a", 1), nil)
			require.NoError(t, err)
			require.Len(t, won, 1, "first claim")

			service.Inject(fake.LoseResponse().Once())
			won, err = store.ClaimOwnership(ctx, won, nil)
			require.NoError(t, err)
			require.Len(t, won, 1, "renewal")

			stored, _ := service.Get(blobtest.OwnershipPrefix + "0")
			require.Equal(t, stored.ETag, string(*won[0].ETag))

			won, err = store.ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "b", 1), nil)
			require.NoError(t, err)
			require.Empty(t, won, "somebody else's record stays lost")
		})
	}
}

// TestNoTwoOwnersBelieveThatTheyWon lets owners race for partitions, over rounds,
// while answers get lost, requests get reset and the service is busy: what an
// owner was told that it won is what the service holds.
func TestNoTwoOwnersBelieveThatTheyWon(t *testing.T) {
	const owners, partitions, rounds = 4, 16, 12
	service := fake.New()
	rnd := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	one := func(in int) fake.Matcher {
		return func(req *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			return req.Method == http.MethodPut && rnd.IntN(in) == 0
		}
	}
	service.Inject(fake.LoseResponse().On(one(4)))
	service.Inject(fake.ResetConnection().On(one(12)))
	service.Inject(fake.ApplyThenStatus(500, "InternalError").On(one(12)))
	service.Inject(fake.Busy(0).On(one(12)))

	stores := make([]*checkpointstore.BlobCheckpointStore, owners)
	for i := range stores {
		stores[i] = blobtest.NewStore(t, service, nil)
	}
	wins := 0
	for round := range rounds {
		all, err := stores[0].ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		state := make(map[string]*azcore.ETag)
		for _, o := range all {
			state[o.PartitionID] = o.ETag
		}
		won := make([][]checkpointstore.Ownership, owners)
		var wg sync.WaitGroup
		for i := range owners {
			wg.Go(func() {
				asked := blobtest.Claims(blobtest.Group, fmt.Sprintf("owner-%d", i), partitions)
				for j := range asked {
					asked[j].ETag = state[asked[j].PartitionID]
				}
				var err error
				won[i], err = stores[i].ClaimOwnership(context.Background(), asked, nil)
				var failed *checkpointstore.PartitionErrors
				if err != nil && !errors.As(err, &failed) {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		by := make(map[string]string)
		for _, records := range won {
			for _, o := range records {
				require.Empty(t, by[o.PartitionID], "partition %s has two winners in round %d", o.PartitionID, round)
				by[o.PartitionID] = o.OwnerID
				stored, _ := service.Get(blobtest.OwnershipPrefix + o.PartitionID)
				require.Equal(t, o.OwnerID, stored.Metadata["ownerid"])
				require.Equal(t, stored.ETag, string(*o.ETag))
				wins++
			}
		}
	}
	require.Greater(t, wins, rounds*partitions*3/4, "most rounds are decided in spite of the faults")
}
