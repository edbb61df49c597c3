package ops_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

var update = flag.Bool("update", false, "write ops/testdata anew")

func TestMain(m *testing.M) {
	code := m.Run()
	azurite.CloseShared()
	os.Exit(code)
}

// scope has a group that the blob store spells "$default".
var scope = ops.Scope{FullyQualifiedNamespace: "ns.servicebus.windows.net", EventHubName: "hub", ConsumerGroup: "$Default"}

var ctx = context.Background()

var (
	_ ops.Store = (*checkpointstore.BlobCheckpointStore)(nil)
	_ ops.Store = (*memstore.Store)(nil)
)

// onEachStore runs a test on memstore and on Azurite. open returns stores over the same
// records, each with a memory of its own, as that of another process.
func onEachStore(t *testing.T, test func(t *testing.T, open func() ops.Store)) {
	t.Run("memstore", func(t *testing.T) {
		records := memstore.New()
		test(t, func() ops.Store { return records.Share() })
	})
	t.Run("azurite", func(t *testing.T) {
		client := azuriteContainer(t)
		test(t, func() ops.Store { return blobStore(t, client, nil) })
	})
}

// azuriteContainer is a container of its own.
func azuriteContainer(t *testing.T) *container.Client {
	t.Helper()
	client, err := container.NewClientFromConnectionString(azurite.Shared(t).ConnectionString(), azurite.NewContainerName(t), nil)
	require.NoError(t, err)
	_, err = client.Create(ctx, nil)
	require.NoError(t, err)
	return client
}

func blobStore(t *testing.T, client *container.Client, options *checkpointstore.BlobCheckpointStoreOptions) ops.Store {
	t.Helper()
	store, err := checkpointstore.NewBlobCheckpointStore(client, options)
	require.NoError(t, err)
	return store
}

// fakeStore is a store on a service that tests can bend.
func fakeStore(t *testing.T) (ops.Store, *fakeblob.Service) {
	service := fakeblob.New()
	return blobStore(t, service.Client(), nil), service
}

// claim makes an owner of partitions live.
func claim(t *testing.T, store ops.Store, owner string, partitions ...string) []checkpointstore.Ownership {
	t.Helper()
	var claims []checkpointstore.Ownership
	s := read(t, store)
	for _, id := range partitions {
		c := checkpointstore.Ownership{
			FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
			PartitionID: id, OwnerID: owner,
		}
		if o := s.Partition(id).Ownership; o != nil {
			c.ETag = o.ETag
		}
		claims = append(claims, c)
	}
	won, err := store.ClaimOwnership(ctx, claims, nil)
	require.NoError(t, err)
	require.Len(t, won, len(partitions))
	return won
}

// record is a checkpoint with offset "n00".
func record(partition string, n int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
		PartitionID: partition, SequenceNumber: &n, Offset: to.Ptr(offsetOf(n)),
	}
}

func checkpoint(t *testing.T, store ops.Store, partition string, n int64) {
	t.Helper()
	require.NoError(t, store.UpdateCheckpoint(ctx, record(partition, n), nil))
}

func rewind(t *testing.T, store ops.Store, partition string, n int64) {
	t.Helper()
	require.NoError(t, store.UpdateCheckpoint(ctx, record(partition, n), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
}

func read(t *testing.T, store ops.Store) *ops.Snapshot {
	t.Helper()
	s, err := ops.Read(ctx, store, scope, nil)
	require.NoError(t, err)
	return s
}

// positions are the stored sequence numbers by partition.
func positions(t *testing.T, store ops.Store) map[string]int64 {
	t.Helper()
	found := make(map[string]int64)
	for _, p := range read(t, store).Partitions {
		if at := p.Position(); at != nil {
			found[p.ID] = at.SequenceNumber
		}
	}
	return found
}

// requireFree fails if somebody owns a partition.
func requireFree(t *testing.T, store ops.Store, partitions ...string) {
	t.Helper()
	s := read(t, store)
	for _, id := range partitions {
		p := s.Partition(id)
		require.Contains(t, []ops.State{ops.Relinquished, ops.NeverOwned}, p.State, "partition %s", id)
	}
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// eventually waits until something holds that another clock decides.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, time.Minute, 50*time.Millisecond)
}

// sequence is a clock that goes on by a second with each look at it.
func sequence() func() time.Time {
	var mu sync.Mutex
	now := noon
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}
