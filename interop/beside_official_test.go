package interop_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// notFound gives the answer of Azure to a renewal of a deleted ownership, 404, where
// Azurite's is that the condition is not met.
type notFound struct{}

func (notFound) Do(r *policy.Request) (*http.Response, error) {
	response, err := r.Next()
	if err == nil && response.StatusCode == http.StatusPreconditionFailed && strings.HasSuffix(r.Raw().URL.Path, "/group/ownership/0") {
		response.StatusCode = http.StatusNotFound
		response.Header.Set("x-ms-error-code", "BlobNotFound")
	}
	return response, err
}

// TestBesideTheOfficialStore shows rows of the README's first table: what becomes of
// the same calls with this store and with checkpoints.NewBlobStore. With -v it
// prints them.
func TestBesideTheOfficialStore(t *testing.T) {
	const namespace, hub, group = "mynamespace.servicebus.windows.net", "myhub", "$Default"
	name := azurite.NewContainerName(t)
	client, err := container.NewClientFromConnectionString(azurite.Shared(t).ConnectionString(), name, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{PerRetryPolicies: []policy.Policy{notFound{}}},
	})
	require.NoError(t, err)
	_, err = client.Create(t.Context(), nil)
	require.NoError(t, err)
	ours, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	defer ours.Close()
	official, err := checkpoints.NewBlobStore(client, nil)
	require.NoError(t, err)

	checkpoint := func(partition string, n int64) checkpointstore.Checkpoint {
		return checkpointstore.Checkpoint{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
			PartitionID: partition, SequenceNumber: &n, Offset: to.Ptr(fmt.Sprint(100 * n))}
	}
	setOurs := func(partition string, n int64) error {
		return ours.UpdateCheckpoint(t.Context(), checkpoint(partition, n), nil)
	}
	setOfficial := func(partition string, n int64) error {
		return official.SetCheckpoint(t.Context(), azeventhubs.Checkpoint(checkpoint(partition, n)), nil)
	}
	storedByOurs := func(partition string) int64 {
		c, err := ours.GetCheckpoint(t.Context(), namespace, hub, group, partition, nil)
		require.NoError(t, err)
		return *c.SequenceNumber
	}
	storedByOfficial := func(partition string) int64 {
		all, err := official.ListCheckpoints(t.Context(), namespace, hub, group, nil)
		require.NoError(t, err)
		for _, c := range all {
			if c.PartitionID == partition {
				return *c.SequenceNumber
			}
		}
		t.Fatal("no checkpoint")
		return 0
	}

	t.Run("an owner that was paused checkpoints what it had handled", func(t *testing.T) {
		require.NoError(t, setOurs("paused-ours", 500)) // the new owner's
		require.ErrorIs(t, setOurs("paused-ours", 300), checkpointstore.ErrStaleCheckpoint)
		require.EqualValues(t, 500, storedByOurs("paused-ours"))

		require.NoError(t, setOfficial("paused-official", 500))
		require.NoError(t, setOfficial("paused-official", 300))
		require.EqualValues(t, 300, storedByOfficial("paused-official"))
		t.Log("500 is stored and 300 arrives: ours stays at 500, the official store goes back to 300")
	})

	t.Run("a live owner goes on after a rewind from outside", func(t *testing.T) {
		require.NoError(t, setOurs("rewound-ours", 500))
		operator, err := checkpointstore.NewBlobCheckpointStore(client, nil)
		require.NoError(t, err)
		require.NoError(t, operator.UpdateCheckpoint(t.Context(), checkpoint("rewound-ours", 10), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
		require.ErrorIs(t, setOurs("rewound-ours", 501), checkpointstore.ErrRewound)
		require.EqualValues(t, 10, storedByOurs("rewound-ours"))

		require.NoError(t, setOfficial("rewound-official", 500))
		require.NoError(t, setOfficial("rewound-official", 10))
		require.NoError(t, setOfficial("rewound-official", 501))
		require.EqualValues(t, 501, storedByOfficial("rewound-official"))
		t.Log("rewound from 500 to 10, then the owner stores 501: ours stays at 10, the official store is at 501")
	})

	t.Run("one of 8 ownership blobs was deleted", func(t *testing.T) {
		claims := func(hub string) (all []checkpointstore.Ownership) {
			for i := range 8 {
				all = append(all, checkpointstore.Ownership{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: "group",
					PartitionID: fmt.Sprint(i), OwnerID: "owner"})
			}
			return all
		}
		remove := func(hub string) {
			_, err := client.NewBlobClient(namespace+"/"+hub+"/group/ownership/0").Delete(t.Context(), nil)
			require.NoError(t, err)
		}
		won, err := ours.ClaimOwnership(t.Context(), claims("deleted-ours"), nil)
		require.NoError(t, err)
		remove("deleted-ours")
		renewed, err := ours.ClaimOwnership(t.Context(), won, nil)
		require.NoError(t, err)

		var theirs []azeventhubs.Ownership
		for _, o := range claims("deleted-official") {
			theirs = append(theirs, azeventhubs.Ownership(o))
		}
		theirs, err = official.ClaimOwnership(t.Context(), theirs, nil)
		require.NoError(t, err)
		remove("deleted-official")
		renewedTheirs, err := official.ClaimOwnership(t.Context(), theirs, nil)
		require.Error(t, err)
		require.Empty(t, renewedTheirs)
		require.Len(t, renewed, 8, "it is made anew")
		t.Log("8 renewals, and the blob of the first was deleted: ours renews 8, the official store returns an error and none")
	})

	t.Run("one checkpoint cannot be read", func(t *testing.T) {
		_, err := client.NewBlockBlobClient(namespace+"/"+hub+"/"+group+"/checkpoint/odd").UploadBuffer(t.Context(), nil, nil)
		require.NoError(t, err)
		all, err := ours.ListCheckpoints(t.Context(), namespace, hub, group, nil)
		require.NoError(t, err)
		_, officialErr := official.ListCheckpoints(t.Context(), namespace, hub, group, nil)
		require.Error(t, officialErr)
		t.Logf("ours lists the %d others, the official store fails: %v", len(all)-1, officialErr)
	})
}
