package checkpointstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// What an update sends and returns is in testdata/wire/update.txt; which positions are stored, in the conformance suite;
// and package fence explores the interleavings. Here is what takes updates at once, or a context that ends.

// rewind are the options of a rewind.
var rewind = &checkpointstore.UpdateCheckpointOptions{Rewind: true}

func write(store *checkpointstore.BlobCheckpointStore, sequenceNumber int64) error {
	return store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", sequenceNumber), nil)
}

func requireStored(t *testing.T, service *fake.Service, sequenceNumber int64) {
	t.Helper()
	blob, found := service.Get(blobtest.CheckpointPrefix + "0")
	require.True(t, found)
	require.Equal(t, fmt.Sprint(sequenceNumber), blob.Metadata["sequencenumber"])
}

func TestAnUpdateBelongsToTheGenerationThatItWasAskedForIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		store := blobtest.NewStore(t, service, nil)
		require.NoError(t, write(store, 500))
		leave := make(chan struct{})
		service.Inject(faults.RunBefore(func() { <-leave }).Once())
		var rewound, late error
		var wg sync.WaitGroup
		wg.Go(func() {
			rewound = store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 10), rewind)
		})
		synctest.Wait() // for the rewind to arrive at the service
		wg.Go(func() { late = write(store, 510) })
		synctest.Wait() // for the update to wait for its turn
		close(leave)
		wg.Wait()
		require.NoError(t, rewound)
		require.ErrorIs(t, late, checkpointstore.ErrRewound)
		requireStored(t, service, 10)
	})
}

func TestAnUpdateWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		store := blobtest.NewStore(t, service, nil)
		require.NoError(t, write(store, 1))
		leave := make(chan struct{})
		service.Inject(faults.RunBefore(func() { <-leave }).Once())
		var first error
		var wg sync.WaitGroup
		wg.Go(func() { first = write(store, 2) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, store.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 3), nil), context.Canceled)
		require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "1", 3), nil), "another partition does not wait")
		close(leave)
		wg.Wait()
		require.NoError(t, first)
		requireStored(t, service, 2)
	})
}

func TestAContextThatEndsInTheReadThatDecidesIsTheError(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, nil)
	require.NoError(t, write(store, 400))
	ctx, cancel := context.WithCancel(context.Background())
	service.Inject(faults.LoseResponse().On(faults.OpIs(faults.SetMetadata)))
	service.Inject(faults.RunBefore(cancel).On(faults.OpIs(faults.GetProperties)))
	require.ErrorIs(t, store.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 500), nil), context.Canceled)
}
