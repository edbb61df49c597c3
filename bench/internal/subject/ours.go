package subject

import (
	"context"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

func openOurs(c backend.Container, handed bool) (Store, error) {
	store, err := newOurs(c, handed)
	if err != nil {
		return Store{}, err
	}
	return Store{
		Claims: func(scope Scope, n int) Claim {
			owned := make([]checkpointstore.Ownership, n)
			for i := range owned {
				owned[i] = checkpointstore.Ownership{
					FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
					PartitionID: strconv.Itoa(i), OwnerID: owner,
				}
			}
			return func(ctx context.Context) (int, error) {
				var err error
				owned, err = store.ClaimOwnership(ctx, owned, nil)
				return len(owned), err
			}
		},
		Checkpoint: func(scope Scope, partitionID string) Checkpoint {
			number, offset := int64(0), offset
			checkpoint := checkpointstore.Checkpoint{
				FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
				PartitionID: partitionID, SequenceNumber: &number, Offset: &offset,
			}
			return Checkpoint{
				Update: func(ctx context.Context, sequenceNumber int64) error {
					number = sequenceNumber
					return store.UpdateCheckpoint(ctx, checkpoint, nil)
				},
				Get: func(ctx context.Context) error {
					_, err := store.GetCheckpoint(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, partitionID, nil)
					return err
				},
			}
		},
		ListOwnership: func(ctx context.Context, scope Scope) (int, error) {
			all, err := store.ListOwnership(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
			return len(all), err
		},
		ListCheckpoints: func(ctx context.Context, scope Scope) (int, error) {
			all, err := store.ListCheckpoints(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
			return len(all), err
		},
		Close: func() { _ = store.Close() },
	}, nil
}

func newOurs(c backend.Container, handed bool) (*checkpointstore.BlobCheckpointStore, error) {
	if handed {
		client, err := newClient(c)
		if err != nil {
			return nil, err
		}
		return checkpointstore.NewBlobCheckpointStore(client, nil)
	}
	options := &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: c.Options}}
	if c.Key == nil {
		return checkpointstore.NewBlobCheckpointStoreWithNoCredential(c.URL, options)
	}
	return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(c.URL, c.Key, options)
}
