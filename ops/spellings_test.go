package ops_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/ops"
)

const (
	lowerPrefix = "ns.servicebus.windows.net/hub/$default/"
	typedPrefix = "ns.servicebus.windows.net/hub/$Default/"
)

// putCheckpoint writes as a consumer of another package does.
func putCheckpoint(service *fakeblob.Service, prefix, partition string, n int64) {
	text := offsetOf(n)
	service.Put(prefix+"checkpoint/"+partition, map[string]string{"sequencenumber": text[:len(text)-2], "offset": text})
}

func TestSnapshotOfTwoSpellings(t *testing.T) {
	service := fakeblob.New()
	service.SetClock(sequence())
	putCheckpoint(service, lowerPrefix, "0", 5)
	putCheckpoint(service, typedPrefix, "0", 3) // later
	putCheckpoint(service, typedPrefix, "1", 1)
	putCheckpoint(service, lowerPrefix, "1", 4) // later
	service.Put(lowerPrefix+"ownership/0", map[string]string{"ownerid": "alice"})
	service.Put(typedPrefix+"ownership/0", map[string]string{"ownerid": "bob"})
	service.Put(typedPrefix+"ownership/2", map[string]string{"ownerid": "bob"})
	for naming, want := range map[checkpointstore.BlobNaming]struct {
		owner    string
		position int64
		spelling string
	}{
		checkpointstore.BlobNamingLowerCase:     {"alice", 3, "$default"},
		checkpointstore.BlobNamingLowerCaseOnly: {"alice", 5, "$default"},
		checkpointstore.BlobNamingVerbatim:      {"bob", 3, "$Default"},
	} {
		t.Run(string(naming), func(t *testing.T) {
			store := blobStore(t, service.Client(), &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: naming})
			s := read(t, store)
			require.Equal(t, want.spelling, s.Spelling.ConsumerGroup)
			p := s.Partition("0")
			require.Equal(t, want.owner, p.Ownership.OwnerID)
			require.Equal(t, want.position, p.Position().SequenceNumber)
			require.NotEqual(t, p.Own.ConsumerGroup, p.Other.Checkpoint.ConsumerGroup)
			require.NotEqual(t, want.owner, p.Other.Ownership.OwnerID)
			require.Equal(t, ops.Live, p.Other.State)

			stored, err := store.ListCheckpoints(ctx, scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil)
			require.NoError(t, err)
			for _, c := range stored {
				require.Equal(t, *c.SequenceNumber, s.Partition(c.PartitionID).Position().SequenceNumber, "as ListCheckpoints has it")
			}
		})
	}
	groups, err := ops.ListGroups(ctx, blobStore(t, service.Client(), nil))
	require.NoError(t, err)
	typed, lower := scope, scope
	lower.ConsumerGroup = "$default"
	require.Equal(t, []ops.Group{{Scope: lower, Spellings: []ops.Scope{typed, lower}}}, groups)
}

func TestASnapshotTakesTwoLists(t *testing.T) {
	store, service := fakeStore(t)
	for i := range 1024 {
		id := strconv.Itoa(i)
		service.Put(lowerPrefix+"ownership/"+id, map[string]string{"ownerid": "alice"})
		putCheckpoint(service, lowerPrefix, id, 5)
	}
	require.Len(t, read(t, store).Partitions, 1024)
	require.Equal(t, []int{2, 2}, []int{service.Requests(), service.Count(faults.ListBlobs)})
}
