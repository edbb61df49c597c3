package subject

import (
	"context"
	"errors"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

type official struct {
	store *checkpoints.BlobStore
}

func openOfficial(c backend.Container) (Store, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	store, err := checkpoints.NewBlobStore(client, nil)
	return official{store}, err
}

func (s official) Claims(scope Scope, n int) Claims {
	c := &officialClaims{store: s.store, owned: make([]azeventhubs.Ownership, n)}
	for i := range c.owned {
		c.owned[i] = azeventhubs.Ownership{
			FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
			PartitionID: strconv.Itoa(i), OwnerID: owner,
		}
	}
	return c
}

type officialClaims struct {
	store *checkpoints.BlobStore
	owned []azeventhubs.Ownership
}

func (c *officialClaims) Claim(ctx context.Context) (int, error) {
	won, err := c.store.ClaimOwnership(ctx, c.owned, nil)
	c.owned = won
	return len(won), err
}

func (s official) Checkpoint(scope Scope, partitionID string) Checkpoint {
	c := &officialCheckpoint{store: s.store, offset: offset}
	c.checkpoint = azeventhubs.Checkpoint{
		FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
		PartitionID: partitionID, SequenceNumber: &c.sequenceNumber, Offset: &c.offset,
	}
	return c
}

type officialCheckpoint struct {
	store          *checkpoints.BlobStore
	checkpoint     azeventhubs.Checkpoint
	sequenceNumber int64
	offset         string
}

func (c *officialCheckpoint) Update(ctx context.Context, sequenceNumber int64) error {
	c.sequenceNumber = sequenceNumber
	return c.store.SetCheckpoint(ctx, c.checkpoint, nil)
}

// errNone is for a call that the official store does not have.
var errNone = errors.New("the official store has no such call")

func (c *officialCheckpoint) Get(context.Context) error { return errNone }

func (s official) ListOwnership(ctx context.Context, scope Scope) (int, error) {
	all, err := s.store.ListOwnership(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
	return len(all), err
}

func (s official) ListCheckpoints(ctx context.Context, scope Scope) (int, error) {
	all, err := s.store.ListCheckpoints(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
	return len(all), err
}

func (s official) Close() {}
