package subject

import (
	"context"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

func openOfficial(c backend.Container) (Store, error) {
	client, err := newClient(c)
	if err != nil {
		return Store{}, err
	}
	store, err := checkpoints.NewBlobStore(client, nil)
	if err != nil {
		return Store{}, err
	}
	return Store{
		Claims: func(scope Scope, n int) Claim {
			owned := make([]azeventhubs.Ownership, n)
			for i := range owned {
				owned[i] = azeventhubs.Ownership{
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
			checkpoint := azeventhubs.Checkpoint{
				FullyQualifiedNamespace: scope.Namespace, EventHubName: scope.EventHub, ConsumerGroup: scope.ConsumerGroup,
				PartitionID: partitionID, SequenceNumber: &number, Offset: &offset,
			}
			return Checkpoint{Update: func(ctx context.Context, sequenceNumber int64) error {
				number = sequenceNumber
				return store.SetCheckpoint(ctx, checkpoint, nil)
			}}
		},
		ListOwnership: func(ctx context.Context, scope Scope) (int, error) {
			all, err := store.ListOwnership(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
			return len(all), err
		},
		ListCheckpoints: func(ctx context.Context, scope Scope) (int, error) {
			all, err := store.ListCheckpoints(ctx, scope.Namespace, scope.EventHub, scope.ConsumerGroup, nil)
			return len(all), err
		},
		Close: func() {},
	}, nil
}
