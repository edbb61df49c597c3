package blobtest

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
)

// Call calls a method of a store that sends requests.
type Call func(context.Context, *checkpointstore.BlobCheckpointStore) error

// Calls returns all calls, by the method's name. Those of records are on partition "0" of the group.
func Calls() map[string]Call {
	all := RecordCalls(Namespace, Hub, Group, "0", "a")
	all["EnsureContainer"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		return s.EnsureContainer(ctx, nil)
	}
	all["ListScopes"] = func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
		_, err := s.ListScopes(ctx, nil)
		return err
	}
	return all
}

// RecordCalls returns the calls that read or write records, by the method's name.
func RecordCalls(namespace, hub, group, partition, owner string) map[string]Call {
	return map[string]Call{
		"ListOwnership": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListOwnership(ctx, namespace, hub, group, nil)
			return err
		},
		"ListCheckpoints": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListCheckpoints(ctx, namespace, hub, group, nil)
			return err
		},
		"ListRecords": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListRecords(ctx, namespace, hub, group, nil)
			return err
		},
		"GetOwnership": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetOwnership(ctx, namespace, hub, group, partition, nil)
			return err
		},
		"GetCheckpoint": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetCheckpoint(ctx, namespace, hub, group, partition, nil)
			return err
		},
		"ClaimOwnership": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ClaimOwnership(ctx, []checkpointstore.Ownership{{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, OwnerID: owner,
			}}, nil)
			return err
		},
		"UpdateCheckpoint": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			n := int64(1)
			return s.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, SequenceNumber: &n,
			}, nil)
		},
		"DeleteOwnership": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			etag := azcore.ETag(`"0x0"`)
			return s.DeleteOwnership(ctx, checkpointstore.Ownership{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, OwnerID: owner, ETag: &etag,
			}, nil)
		},
		"DeleteCheckpoint": func(ctx context.Context, s *checkpointstore.BlobCheckpointStore) error {
			etag := azcore.ETag(`"0x0"`)
			return s.DeleteCheckpoint(ctx, checkpointstore.CheckpointRecord{ETag: &etag, Checkpoint: checkpointstore.Checkpoint{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition,
			}}, nil)
		},
	}
}
