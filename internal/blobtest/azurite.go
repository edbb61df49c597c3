package blobtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// Main is the TestMain of a package whose tests use Azurite.
func Main(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("-short: the tests that need Azurite are left out")
	}
	code := m.Run()
	azurite.CloseShared()
	os.Exit(code)
}

// NewAzuriteContainer returns a container of its own on Azurite, with the account's key.
func NewAzuriteContainer(t testing.TB) (*container.Client, *container.SharedKeyCredential) {
	t.Helper()
	server := azurite.Shared(t)
	key, err := container.NewSharedKeyCredential(azurite.AccountName, azurite.AccountKey)
	require.NoError(t, err)
	client, err := container.NewClientWithSharedKeyCredential(server.Endpoint()+"/"+azurite.NewContainerName(t), key, nil)
	require.NoError(t, err)
	_, err = client.Create(context.Background(), nil)
	require.NoError(t, err)
	return client, key
}

// NewAzuriteStore returns a store in a container of its own on Azurite.
func NewAzuriteStore(t testing.TB) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	return NewAzuriteStoreIn(t, azurite.NewContainerName(t))
}

// NewAzuriteStoreIn returns a store in a container of Azurite, which it creates if it is missing. Its Timeout only bounds
// a hang: on a busy machine, some hundred claims at once take their time.
func NewAzuriteStoreIn(t testing.TB, container string) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(azurite.Shared(t).ConnectionString(), container,
		&checkpointstore.BlobCheckpointStoreOptions{Timeout: 10 * time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.EnsureContainer(context.Background(), nil))
	return store
}

// RoundTrip claims a partition, renews it, writes two checkpoints and lists what was written.
func RoundTrip(t testing.TB, store *checkpointstore.BlobCheckpointStore) {
	t.Helper()
	const group = "$Default"
	ctx := context.Background()
	won := ClaimOne(t, store, Claim(group, "a", "0", nil))
	won = ClaimOne(t, store, won)
	require.NoError(t, store.UpdateCheckpoint(ctx, Checkpoint(group, "0", 1), nil))
	require.NoError(t, store.UpdateCheckpoint(ctx, Checkpoint(group, "0", 2), nil))
	owned, err := store.ListOwnership(ctx, Namespace, Hub, group, nil)
	require.NoError(t, err)
	require.Equal(t, []checkpointstore.Ownership{won}, owned)
	positions, err := store.ListCheckpoints(ctx, Namespace, Hub, group, nil)
	require.NoError(t, err)
	require.Equal(t, []checkpointstore.Checkpoint{Checkpoint(group, "0", 2)}, positions)
}
