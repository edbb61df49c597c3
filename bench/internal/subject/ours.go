package subject

import (
	"context"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

type ours struct {
	store *checkpointstore.BlobCheckpointStore
}

func openOurs(c backend.Container, handed bool) (Store, error) {
	if handed {
		client, err := newClient(c)
		if err != nil {
			return nil, err
		}
		store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
		return ours{store}, err
	}
	options := &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: c.Options}}
	if c.Key == nil {
		store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(c.URL, options)
		return ours{store}, err
	}
	store, err := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(c.URL, c.Key, options)
	return ours{store}, err
}

func (s ours) Claims(scope Scope, n int) Claims {
	c := &ourClaims{store: s.store, owned: make([]checkpointstore.Ownership, n)}
	for i := range c.owned {
		c.owned[i] = checkpointstore.Ownership{
			FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
			PartitionID: strconv.Itoa(i), OwnerID: owner,
		}
	}
	return c
}

type ourClaims struct {
	store *checkpointstore.BlobCheckpointStore
	owned []checkpointstore.Ownership
}

func (c *ourClaims) Claim(ctx context.Context) (int, error) {
	won, err := c.store.ClaimOwnership(ctx, c.owned, nil)
	c.owned = won
	return len(won), err
}

func (s ours) Checkpoint(scope Scope, partitionID string) Checkpoint {
	c := &ourCheckpoint{store: s.store, offset: offset}
	c.checkpoint = checkpointstore.Checkpoint{
		FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
		PartitionID: partitionID, SequenceNumber: &c.sequenceNumber, Offset: &c.offset,
	}
	return c
}

type ourCheckpoint struct {
	store          *checkpointstore.BlobCheckpointStore
	checkpoint     checkpointstore.Checkpoint
	sequenceNumber int64
	offset         string
}

func (c *ourCheckpoint) Update(ctx context.Context, sequenceNumber int64) error {
	c.sequenceNumber = sequenceNumber
	return c.store.UpdateCheckpoint(ctx, c.checkpoint, nil)
}

func (c *ourCheckpoint) Get(ctx context.Context) error {
	k := &c.checkpoint
	_, err := c.store.GetCheckpoint(ctx, k.FullyQualifiedNamespace, k.EventHubName, k.ConsumerGroup, k.PartitionID, nil)
	return err
}

func (s ours) ListOwnership(ctx context.Context, scope Scope) (int, error) {
	all, err := s.store.ListOwnership(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
	return len(all), err
}

func (s ours) ListCheckpoints(ctx context.Context, scope Scope) (int, error) {
	all, err := s.store.ListCheckpoints(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
	return len(all), err
}

func (s ours) Close() { _ = s.store.Close() }
