package checkpointstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

func TestNothingIsKeptOfPartitionsThatAreNotThere(t *testing.T) {
	store, err := NewBlobCheckpointStore(fakeblob.New().Client(), nil)
	require.NoError(t, err)
	n := int64(1)
	require.NoError(t, store.UpdateCheckpoint(t.Context(), Checkpoint{
		FullyQualifiedNamespace: "ns.example", EventHubName: "hub", ConsumerGroup: "group", PartitionID: "0", SequenceNumber: &n,
	}, nil))
	for i := range 100 {
		id := fmt.Sprint("none-", i)
		_, err := store.GetCheckpoint(t.Context(), "ns.example", "hub", "group", id, nil)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = store.GetOwnership(t.Context(), "ns.example", "hub", "group", id, nil)
		require.ErrorIs(t, err, ErrNotFound)
	}
	_, err = store.ListCheckpoints(t.Context(), "ns.example", "hub", "group", nil)
	require.NoError(t, err)
	known := 0
	for _, scope := range store.partitions.byScope {
		known += len(scope)
	}
	require.Equal(t, 1, known)
}
