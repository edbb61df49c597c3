package checkpointstore_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// Records of a scope whole, as tools read them: what only blobs have. What holds of
// every store is in package ops.

func recordStore(t *testing.T, naming checkpointstore.BlobNaming) (*checkpointstore.BlobCheckpointStore, *fakeblob.Service) {
	t.Helper()
	service := fakeblob.New()
	store, err := checkpointstore.NewBlobCheckpointStore(service.Client(), &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: naming})
	require.NoError(t, err)
	return store, service
}

func listRecords(t *testing.T, store *checkpointstore.BlobCheckpointStore, group string) []checkpointstore.ScopeRecords {
	t.Helper()
	found, err := store.ListRecords(context.Background(), "ns.example", "hub", group, nil)
	require.NoError(t, err)
	return found
}

func TestListRecordsUnderBothSpellings(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for naming, first := range map[checkpointstore.BlobNaming]string{
		checkpointstore.BlobNamingLowerCase:     "$default",
		checkpointstore.BlobNamingLowerCaseOnly: "$default",
		checkpointstore.BlobNamingVerbatim:      "$Default",
	} {
		t.Run(string(naming), func(t *testing.T) {
			store, service := recordStore(t, naming)
			service.SetClock(func() time.Time { return now })
			service.Put("ns.example/hub/$default/ownership/0", map[string]string{"ownerid": "alice"})
			service.Put("ns.example/hub/$Default/checkpoint/0", map[string]string{
				"sequencenumber": "7", "offset": "700", "clientidentifier": "bob", "enqueuedtime": "2026-11-21T11:59:58.5Z",
			})
			service.SetClock(func() time.Time { return now.Add(time.Minute) })
			found := listRecords(t, store, "$Default")
			require.Len(t, found, 2)
			require.Equal(t, first, found[0].ConsumerGroup)
			require.Equal(t, []bool{true, naming == checkpointstore.BlobNamingLowerCase}, []bool{found[0].Listed, found[1].Listed})
			for _, records := range found {
				require.Equal(t, now.Add(time.Minute), records.Time, "the service's clock, also where there are no records")
				if records.ConsumerGroup == "$default" {
					require.Empty(t, records.Checkpoints)
					require.Equal(t, "alice", records.Ownerships[0].OwnerID)
					require.Equal(t, "$default", records.Ownerships[0].ConsumerGroup)
					continue
				}
				require.Empty(t, records.Ownerships)
				c := records.Checkpoints[0]
				require.Equal(t, "$Default", c.ConsumerGroup)
				require.Equal(t, []any{int64(7), "700", now, int64(0)}, []any{*c.SequenceNumber, *c.Offset, c.LastModifiedTime, c.Generation})
			}
			require.Equal(t, 2, service.Requests(), "one list for each spelling")
			require.Len(t, listRecords(t, store, "group"), 1, "one spelling in lower case")
		})
	}
}

func TestListRecordsLeavesOutWhatIsNoRecord(t *testing.T) {
	store, service := recordStore(t, "")
	const prefix = "ns.example/hub/group/"
	service.Put(prefix+"checkpoint/0", map[string]string{"sequencenumber": "1", "offset": "100"})
	service.Put(prefix+"checkpoint/1", map[string]string{"sequencenumber": "x"})
	service.Put(prefix+"checkpoint/2/3", nil)
	service.Put(prefix+"checkpoint", nil)
	service.Put(prefix+"other/0", nil)
	service.Put(prefix+"0", nil)
	service.PutDirectory(prefix + "ownership/4")
	service.Put("ns.example/hub/group-2/checkpoint/0", nil)
	found := listRecords(t, store, "group")[0]
	require.Empty(t, found.Ownerships)
	require.Len(t, found.Checkpoints, 2)
	require.Equal(t, int64(1), *found.Checkpoints[0].SequenceNumber)
	require.Nil(t, found.Checkpoints[1].SequenceNumber, "there, and not readable")
	require.Nil(t, found.Checkpoints[1].Offset)
	require.NotNil(t, found.Checkpoints[1].ETag)
}

func TestListRecordsInTwoRequests(t *testing.T) {
	store, service := recordStore(t, "")
	for i := range 1024 {
		for _, group := range []string{"$default", "$Default"} {
			service.Put(fmt.Sprintf("ns.example/hub/%s/ownership/%d", group, i), map[string]string{"ownerid": "a"})
			service.Put(fmt.Sprintf("ns.example/hub/%s/checkpoint/%d", group, i), map[string]string{"sequencenumber": "1", "offset": "1"})
		}
	}
	for _, records := range listRecords(t, store, "$Default") {
		require.Len(t, records.Ownerships, 1024)
		require.Len(t, records.Checkpoints, 1024)
	}
	require.Equal(t, 2, service.Requests())

	service.SetPageSize(1000)
	require.Len(t, listRecords(t, store, "$default")[0].Checkpoints, 1024, "three pages")
	require.Equal(t, 2+3, service.Requests())
}

func TestListRecordsRefusesWhatIsNoList(t *testing.T) {
	store, service := recordStore(t, "")
	defer service.Inject(faults.StatusWithBody(http.StatusOK, "text/html", "<html>hello</html>"))()
	_, err := store.ListRecords(context.Background(), "ns.example", "hub", "group", nil)
	require.ErrorContains(t, err, "not a complete list of blobs")
	_, err = store.ListScopes(context.Background(), nil)
	require.ErrorContains(t, err, "not a complete list of blobs")
}

func TestDeleteIsOnTheRecordsETag(t *testing.T) {
	store, service := recordStore(t, "")
	const blob = "ns.example/hub/$Default/checkpoint/0"
	service.Put(blob, map[string]string{"sequencenumber": "1", "offset": "1"})
	record := listRecords(t, store, "$Default")[1].Checkpoints[0]
	ctx := context.Background()

	service.Put(blob, map[string]string{"sequencenumber": "2", "offset": "2"})
	require.ErrorIs(t, store.DeleteCheckpoint(ctx, record, nil), checkpointstore.ErrRecordChanged)
	require.Contains(t, service.Names(), blob)

	record = listRecords(t, store, "$Default")[1].Checkpoints[0]
	remove := service.Inject(faults.Forbidden())
	require.ErrorIs(t, store.DeleteCheckpoint(ctx, record, nil), checkpointstore.ErrNotAuthorized)
	remove()
	service.Inject(faults.LoseResponse().Once())
	require.NoError(t, store.DeleteCheckpoint(ctx, record, nil), "the retry finds nothing to delete")
	require.Empty(t, service.Names())

	// Azure answers 404 for a blob that is not there; others 412.
	service.Inject(faults.Status(http.StatusPreconditionFailed, "ConditionNotMet").Once())
	require.NoError(t, store.DeleteCheckpoint(ctx, record, nil))
	service.DeleteContainer()
	require.ErrorIs(t, store.DeleteCheckpoint(ctx, record, nil), checkpointstore.ErrContainerNotFound)

	for _, etag := range []*azcore.ETag{nil, to.Ptr(azcore.ETag("*")), to.Ptr(azcore.ETag(""))} {
		record.ETag = etag
		require.ErrorIs(t, store.DeleteCheckpoint(ctx, record, nil), checkpointstore.ErrInvalidArgument)
	}
}
