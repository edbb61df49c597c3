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

// seat is a store with the names that it was told: one consumer.
type seat struct {
	t     *testing.T
	store checkpointstore.CheckpointStore
	scope scope
	owner string
	party party
}

func (p party) sit(t *testing.T, b box, s scope) seat {
	t.Helper()
	return seat{t, p.open(t, b), s, "owner-" + strings.NewReplacer(" ", "-", ",", "").Replace(p.name), p}
}

// at is a checkpoint whose offset is a hundred times its sequence number.
func (s seat) at(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return s.checkpoint(partition, &sequenceNumber, to.Ptr(itoa(sequenceNumber*100)))
}

func (s seat) checkpoint(partition string, sequenceNumber *int64, offset *string) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: s.scope.namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
		PartitionID: partition, SequenceNumber: sequenceNumber, Offset: offset,
	}
}

// update stores a position.
func (s seat) update(partition string, sequenceNumber int64) {
	s.t.Helper()
	s.put(s.at(partition, sequenceNumber))
}

// rewind stores a position wherever the stored one is.
func (s seat) rewind(partition string, sequenceNumber int64) {
	s.t.Helper()
	require.NoError(s.t, s.store.UpdateCheckpoint(s.t.Context(), s.at(partition, sequenceNumber), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
}

func (s seat) put(c checkpointstore.Checkpoint) {
	s.t.Helper()
	require.NoError(s.t, s.store.UpdateCheckpoint(s.t.Context(), c, nil))
}

// read is what a list of this store shows of a checkpoint.
func (s seat) read(c checkpointstore.Checkpoint) checkpointstore.Checkpoint {
	if s.party.numberOnly {
		c.Offset = nil
	}
	return c
}

// checkpoints are the checkpoints of the scope.
func (s seat) checkpoints() []checkpointstore.Checkpoint {
	s.t.Helper()
	found, err := s.list()
	require.NoError(s.t, err)
	return found
}

func (s seat) list() ([]checkpointstore.Checkpoint, error) {
	return s.store.ListCheckpoints(s.t.Context(), s.scope.namespace, s.scope.hub, s.scope.group, nil)
}

func (s seat) listOwnership() ([]checkpointstore.Ownership, error) {
	return s.store.ListOwnership(s.t.Context(), s.scope.namespace, s.scope.hub, s.scope.group, nil)
}

// owned are the ownerships of the scope by partition.
func (s seat) owned() map[string]checkpointstore.Ownership {
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

// owners are the owner ids of the scope by partition.
func (s seat) owners() map[string]string {
	s.t.Helper()
	owners := make(map[string]string)
	for partition, o := range s.owned() {
		owners[partition] = o.OwnerID
	}
	return owners
}

// first is a claim on a partition that nobody ever owned.
func (s seat) first(partition string) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: s.scope.namespace, EventHubName: s.scope.hub, ConsumerGroup: s.scope.group,
		PartitionID: partition, OwnerID: s.owner,
	}
}

// claim claims for an owner, on the states given, and returns what it won.
func (s seat) claim(owner string, on ...checkpointstore.Ownership) []checkpointstore.Ownership {
	s.t.Helper()
	claims := append([]checkpointstore.Ownership(nil), on...)
	for i := range claims {
		claims[i].OwnerID = owner
	}
	won, err := s.store.ClaimOwnership(s.t.Context(), claims, nil)
	require.NoError(s.t, err)
	return won
}

// wins claims one partition for this consumer and tells whether it won.
func (s seat) wins(on checkpointstore.Ownership) bool {
	s.t.Helper()
	return len(s.claim(s.owner, on)) == 1
}

// win claims one partition, which must succeed.
func (s seat) win(on checkpointstore.Ownership) checkpointstore.Ownership {
	s.t.Helper()
	won := s.claim(s.owner, on)
	require.Len(s.t, won, 1, "%s claims partition %s", s.owner, on.PartitionID)
	require.NotNil(s.t, won[0].ETag)
	return won[0]
}

// relinquish frees a partition in the way of the package.
func (s seat) relinquish(held checkpointstore.Ownership) {
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
