package checkpointstore_test

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/storetest"
)

func ifMatch(etag string) *blob.SetMetadataOptions {
	if etag == "" {
		return nil
	}
	return &blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(etag))},
	}}
}

func TestMain(m *testing.M) { blobtest.Main(m) }

func TestConformanceOnTheFakeService(t *testing.T) {
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		service := fakeblob.New()
		return func() checkpointstore.CheckpointStore { return blobtest.NewStore(t, service, nil) }
	})
}

func TestConformanceOnAzurite(t *testing.T) {
	azurite.Shared(t)
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		container := azurite.NewContainerName(t)
		return func() checkpointstore.CheckpointStore { return blobtest.NewAzuriteStoreIn(t, container) }
	})
}
