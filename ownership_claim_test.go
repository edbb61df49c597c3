package checkpointstore_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
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
			service.Inject(faults.RunBefore(func() {
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
	service.Inject(faults.Forbidden().On(faults.BlobIs(blobtest.OwnershipPrefix + "3")))
	service.Inject(faults.Status(400, "InvalidHeaderValue").On(faults.BlobIs(blobtest.OwnershipPrefix + "5")))
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
	service.Inject(faults.RunBefore(cancel).On(faults.BlobIs(blobtest.OwnershipPrefix + "2")))

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
				service.Inject(faults.HangWithoutApplying())
				store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * time.Millisecond})
				require.ErrorIs(t, call(context.Background(), store), context.DeadlineExceeded)

				handed, err := checkpointstore.NewBlobCheckpointStore(service.Client(), &checkpointstore.BlobCheckpointStoreOptions{Timeout: 30 * time.Millisecond})
				require.NoError(t, err)
				require.ErrorIs(t, call(context.Background(), handed), context.DeadlineExceeded, "a client without a timeout of its own")

				endless, err := checkpointstore.NewBlobCheckpointStore(service.Client(), &checkpointstore.BlobCheckpointStoreOptions{Timeout: -1})
				require.NoError(t, err)
				ctx, cancel := context.WithCancelCause(context.Background())
				service.Inject(faults.RunBefore(func() { cancel(nil) }))
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
		service.Inject(faults.HangWithoutApplying().Once())
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
