package checkpointstore_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	leasing "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// What only a real service can show: signatures, and answers that no fake of
// ours would think of.

func TestEveryCredentialOnAzurite(t *testing.T) {
	for name, construct := range map[string]func(*container.Client, *container.SharedKeyCredential) (*checkpointstore.BlobCheckpointStore, error){
		"handed client": func(client *container.Client, _ *container.SharedKeyCredential) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStore(client, nil)
		},
		"shared key": func(client *container.Client, key *container.SharedKeyCredential) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(client.URL(), key, nil)
		},
		"shared key, an older version of the service": func(client *container.Client, key *container.SharedKeyCredential) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(client.URL(), key, &checkpointstore.BlobCheckpointStoreOptions{APIVersion: "2019-07-07"})
		},
		"SAS": func(client *container.Client, _ *container.SharedKeyCredential) (*checkpointstore.BlobCheckpointStore, error) {
			u, err := client.GetSASURL(sas.ContainerPermissions{Read: true, Write: true, Create: true, List: true}, time.Now().Add(time.Hour), nil)
			require.NoError(t, err)
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(u, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := construct(blobtest.NewAzuriteContainer(t))
			require.NoError(t, err)
			blobtest.RoundTrip(t, store)
		})
	}
}

func TestRefusalsOfAzurite(t *testing.T) {
	client, _ := blobtest.NewAzuriteContainer(t)
	wrong, err := container.NewSharedKeyCredential(azurite.AccountName, accountKey)
	require.NoError(t, err)
	sasURL := func(p sas.ContainerPermissions, expiry time.Time) string {
		start := time.Now().Add(-2 * time.Hour)
		u, err := client.GetSASURL(p, expiry, &container.GetSASURLOptions{StartTime: &start})
		require.NoError(t, err)
		return u
	}
	all := sas.ContainerPermissions{Read: true, Write: true, Create: true, List: true}
	for name, c := range map[string]struct {
		store func() (*checkpointstore.BlobCheckpointStore, error)
		is    error
		says  string
	}{
		"wrong key": {func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(client.URL(), wrong, nil)
		}, checkpointstore.ErrNotAuthorized, "account key"},
		"expired SAS": {func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(sasURL(all, time.Now().Add(-time.Hour)), nil)
		}, checkpointstore.ErrNotAuthorized, "the SAS expired at 20"},
		"SAS that cannot write": {func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(sasURL(sas.ContainerPermissions{Read: true, List: true}, time.Now().Add(time.Hour)), nil)
		}, checkpointstore.ErrNotAuthorized, "containers/blobs/write"},
		"missing container": {func() (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString(azurite.Shared(t).ConnectionString(), "not-there", nil)
		}, checkpointstore.ErrContainerNotFound, `container "not-there" does not exist in account "127.0.0.1:`},
		"network down": {func() (*checkpointstore.BlobCheckpointStore, error) {
			o := &checkpointstore.BlobCheckpointStoreOptions{}
			o.ClientOptions.Retry = policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond}
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential("http://127.0.0.1:1/devstoreaccount1/c?"+signature, o)
		}, nil, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := c.store()
			require.NoError(t, err)
			won, err := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 2), nil)
			require.Empty(t, won)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.ErrorContains(t, err, c.says)
			requireNoSecret(t, err)
			var failed *checkpointstore.PartitionErrors
			require.ErrorAs(t, err, &failed)
			require.Len(t, failed.Errors, 2)
		})
	}
}

func TestADeletedOwnershipOnAzuriteIsClaimedAfterTheNextList(t *testing.T) {
	client, _ := blobtest.NewAzuriteContainer(t)
	store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	won := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
	_, err = client.NewBlobClient(blobtest.OwnershipPrefix+"0").Delete(context.Background(), nil)
	require.NoError(t, err)
	again, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{won}, nil)
	require.NoError(t, err)
	require.Empty(t, again)
	all, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Empty(t, all)
	blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
}

func TestADeletedCheckpointOnAzuriteIsWrittenAnew(t *testing.T) {
	client, _ := blobtest.NewAzuriteContainer(t)
	store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 1), nil))
	_, err = client.NewBlobClient(blobtest.CheckpointPrefix+"0").Delete(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 2), nil))
	got, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.NoError(t, err)
	require.Equal(t, int64(2), *got.SequenceNumber)
}

func TestALeasedBlobOnAzuriteIsAnError(t *testing.T) {
	client, _ := blobtest.NewAzuriteContainer(t)
	store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	won := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
	lease(t, client, blobtest.OwnershipPrefix+"0")
	_, err = store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{won}, nil)
	require.ErrorContains(t, err, "LeaseIdMissing")
}

func lease(t *testing.T, client *container.Client, name string) {
	leases, err := leasing.NewBlobClient(client.NewBlobClient(name), nil)
	require.NoError(t, err)
	_, err = leases.AcquireLease(context.Background(), 60, nil)
	require.NoError(t, err)
}

func TestALostAnswerOfAzuriteIsFound(t *testing.T) {
	client, key := blobtest.NewAzuriteContainer(t)
	transport := faults.New(http.DefaultClient, 0)
	lose := func(n int) {
		transport.Inject(faults.LoseResponse().On(faults.OpIs(faults.PutBlob, faults.SetMetadata)).Limit(n))
	}
	var log bytes.Buffer
	store, err := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(client.URL(), key, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{
			Transport: transport,
			Retry:     policy.RetryOptions{RetryDelay: time.Millisecond},
		}},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	lose(1)
	won := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
	lose(1)
	won = blobtest.ClaimOne(t, store, won)
	lose(1)
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 1), nil))
	lose(2)
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 2), nil))
	lose(1)
	won.OwnerID = ""
	blobtest.ClaimOne(t, store, won)
	require.Equal(t, 6, transport.Struck()["response lost"])
	require.Empty(t, log.String(), "nothing was taken for lost")
}
