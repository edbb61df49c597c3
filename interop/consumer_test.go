package interop_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// consumer is one consumer: a store of an SDK with the names that it was configured with.
type consumer struct {
	t     *testing.T
	store checkpointstore.CheckpointStore
	scope scope
	owner string
	sdk   sdk
}

func (p sdk) consumer(t *testing.T, tc testContainer, s scope) consumer {
	t.Helper()
	return consumer{t, p.open(t, tc), s, "owner-" + strings.NewReplacer(" ", "-", ",", "").Replace(p.name), p}
}

// at returns a checkpoint whose offset is a hundred times its sequence number.
func (s consumer) at(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return s.checkpoint(partition, &sequenceNumber, to.Ptr(itoa(sequenceNumber*100)))
}

func (s consumer) checkpoint(partition string, sequenceNumber *int64, offset *string) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: s.scope.namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
		PartitionID: partition, SequenceNumber: sequenceNumber, Offset: offset,
	}
}

// update stores a position.
func (s consumer) update(partition string, sequenceNumber int64) {
	s.t.Helper()
	s.put(s.at(partition, sequenceNumber))
}

func (s consumer) put(c checkpointstore.Checkpoint) {
	s.t.Helper()
	require.NoError(s.t, s.store.UpdateCheckpoint(s.t.Context(), c, nil))
}

// read returns what this store lists of a checkpoint.
func (s consumer) read(c checkpointstore.Checkpoint) checkpointstore.Checkpoint {
	if s.sdk.numberOnly {
		c.Offset = nil
	}
	return c
}

// checkpoints returns the checkpoints of the scope.
func (s consumer) checkpoints() []checkpointstore.Checkpoint {
	s.t.Helper()
	found, err := s.list()
	require.NoError(s.t, err)
	return found
}

func (s consumer) list() ([]checkpointstore.Checkpoint, error) {
	return s.store.ListCheckpoints(s.t.Context(), s.scope.namespace, s.scope.hub, s.scope.group, nil)
}

func (s consumer) listOwnership() ([]checkpointstore.Ownership, error) {
	return s.store.ListOwnership(s.t.Context(), s.scope.namespace, s.scope.hub, s.scope.group, nil)
}

// owned returns the ownerships of the scope by partition.
func (s consumer) owned() map[string]checkpointstore.Ownership {
	s.t.Helper()
	found, err := s.listOwnership()
	require.NoError(s.t, err)
	byPartition := make(map[string]checkpointstore.Ownership)
	for _, o := range found {
		require.NotContains(s.t, byPartition, o.PartitionID, "listed twice")
		byPartition[o.PartitionID] = o
	}
	return byPartition
}

// owners returns the owner IDs of the scope by partition.
func (s consumer) owners() map[string]string {
	s.t.Helper()
	owners := make(map[string]string)
	for partition, o := range s.owned() {
		owners[partition] = o.OwnerID
	}
	return owners
}

// first returns a claim without an ETag, as on a partition without an owner.
func (s consumer) first(partition string) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: s.scope.namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
		PartitionID: partition, OwnerID: s.owner,
	}
}

// claim claims for an owner, on the given states, and returns what it won.
func (s consumer) claim(owner string, on ...checkpointstore.Ownership) []checkpointstore.Ownership {
	s.t.Helper()
	claims := append([]checkpointstore.Ownership(nil), on...)
	for i := range claims {
		claims[i].OwnerID = owner
	}
	won, err := s.store.ClaimOwnership(s.t.Context(), claims, nil)
	require.NoError(s.t, err)
	return won
}

// wins claims one partition and reports whether it was won.
func (s consumer) wins(on checkpointstore.Ownership) bool {
	s.t.Helper()
	return len(s.claim(s.owner, on)) == 1
}

// win claims one partition, which must be won.
func (s consumer) win(on checkpointstore.Ownership) checkpointstore.Ownership {
	s.t.Helper()
	won := s.claim(s.owner, on)
	require.Len(s.t, won, 1, "%s claims partition %s", s.owner, on.PartitionID)
	require.NotNil(s.t, won[0].ETag)
	return won[0]
}

// relinquish relinquishes a partition as the SDK does.
func (s consumer) relinquish(held checkpointstore.Ownership) {
	s.t.Helper()
	own, has := s.store.(interface {
		Relinquish(context.Context, checkpointstore.Ownership) ([]checkpointstore.Ownership, error)
	})
	if !has {
		require.Len(s.t, s.claim("", held), 1, "relinquish")
		return
	}
	won, err := own.Relinquish(s.t.Context(), held)
	require.NoError(s.t, err)
	require.Len(s.t, won, 1, "relinquish")
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
