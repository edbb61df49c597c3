package checkpointstore_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/storetest"
)

const (
	namespace = "ns.example"
	hub       = "hub"
	group     = "group"
)

// newFakeStore is a store over a fake service, with a client that the store
// builds and short retry delays.
func newFakeStore(t testing.TB, service *fakeblob.Service, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	var o checkpointstore.BlobCheckpointStoreOptions
	if options != nil {
		o = *options
	}
	o.ClientOptions.Transport = service
	if o.ClientOptions.Retry.RetryDelay == 0 {
		o.ClientOptions.Retry = policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond}
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &o)
	require.NoError(t, err)
	return store
}

func claim(group, owner, partition string, etag *azcore.ETag) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: partition, OwnerID: owner, ETag: etag,
	}
}

// claims are first claims of the partitions 0 to n-1.
func claims(group, owner string, n int) []checkpointstore.Ownership {
	all := make([]checkpointstore.Ownership, n)
	for i := range all {
		all[i] = claim(group, owner, fmt.Sprint(i), nil)
	}
	return all
}

func checkpoint(group, partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: to.Ptr(fmt.Sprint(sequenceNumber * 64)),
	}
}

func ifMatch(etag string) *blob.SetMetadataOptions {
	if etag == "" {
		return nil
	}
	return &blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(etag))},
	}}
}

// claimOne claims one partition and returns its record.
func claimOne(t testing.TB, store checkpointstore.CheckpointStore, o checkpointstore.Ownership) checkpointstore.Ownership {
	t.Helper()
	won, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{o}, nil)
	require.NoError(t, err)
	require.Len(t, won, 1)
	return won[0]
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("-short: the tests that need Azurite are left out")
	}
	code := m.Run()
	azurite.CloseShared()
	os.Exit(code)
}

func TestConformanceOnTheFakeService(t *testing.T) {
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		service := fakeblob.New()
		return func() checkpointstore.CheckpointStore { return newFakeStore(t, service, nil) }
	})
}

func TestConformanceOnAzurite(t *testing.T) {
	azurite.Shared(t)
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		container := azurite.NewContainerName(t)
		return func() checkpointstore.CheckpointStore { return newAzuriteStoreIn(t, container, nil) }
	})
}

// newAzuriteStore is a store in a container of its own.
func newAzuriteStore(t testing.TB, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	return newAzuriteStoreIn(t, azurite.NewContainerName(t), options)
}

func newAzuriteStoreIn(t testing.TB, container string, options *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(azurite.Shared(t).ConnectionString(), container, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.EnsureContainer(context.Background(), nil))
	return store
}
