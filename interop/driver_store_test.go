package interop_test

import (
	"context"
	"errors"
	"time"

	"github.com/ea947076/checkpointstore"
)

// driverStore is a driver's store over one container.
type driverStore struct {
	driver    *driver
	container string
}

var _ checkpointstore.CheckpointStore = (*driverStore)(nil)

// partitions returns the partitions that a reader which cannot list is asked for.
func partitions() []string { return []string{"0", "1", "2", "3"} }

func (s *driverStore) request(call, namespace, hub, group string) request {
	return request{Call: call, Container: s.container, Namespace: namespace, Hub: hub, Group: group}
}

func (s *driverStore) ListOwnership(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	return s.ownerships(ctx, s.request("list-ownership", namespace, hub, group))
}

// ClaimOwnership claims partitions of one scope.
func (s *driverStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, _ *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	return s.claim(ctx, "claim", claims)
}

// Relinquish relinquishes as the SDK does.
func (s *driverStore) Relinquish(ctx context.Context, held checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
	return s.claim(ctx, "relinquish", []checkpointstore.Ownership{held})
}

func (s *driverStore) claim(ctx context.Context, call string, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	first := claims[0]
	r := s.request(call, first.FullyQualifiedNamespace, first.EventHubName, first.ConsumerGroup)
	for _, c := range claims {
		if c.FullyQualifiedNamespace != r.Namespace || c.EventHubName != r.Hub || c.ConsumerGroup != r.Group {
			return nil, errors.New("claims of several scopes")
		}
		w := wireOwnership{Partition: c.PartitionID, ETag: c.ETag}
		if call == "claim" {
			w.Owner = &c.OwnerID
		}
		r.Ownerships = append(r.Ownerships, w)
	}
	return s.ownerships(ctx, r)
}

func (s *driverStore) ownerships(ctx context.Context, r request) ([]checkpointstore.Ownership, error) {
	a, err := s.driver.call(ctx, r)
	if err != nil {
		return nil, err
	}
	var all []checkpointstore.Ownership
	for _, w := range a.Ownerships {
		o := checkpointstore.Ownership{
			FullyQualifiedNamespace: r.Namespace, EventHubName: r.Hub, ConsumerGroup: r.Group,
			PartitionID: w.Partition, ETag: w.ETag,
		}
		if w.Owner != nil {
			o.OwnerID = *w.Owner
		}
		if w.Modified != nil {
			o.LastModifiedTime = time.Unix(*w.Modified, 0)
		}
		all = append(all, o)
	}
	return all, nil
}

func (s *driverStore) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, _ *checkpointstore.UpdateCheckpointOptions) error {
	r := s.request("update-checkpoint", c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup)
	r.Checkpoints = []wireCheckpoint{{c.PartitionID, c.Offset, c.SequenceNumber}}
	_, err := s.driver.call(ctx, r)
	return err
}

func (s *driverStore) ListCheckpoints(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	r := s.request("list-checkpoints", namespace, hub, group)
	r.Partitions = partitions()
	a, err := s.driver.call(ctx, r)
	if err != nil {
		return nil, err
	}
	var all []checkpointstore.Checkpoint
	for _, c := range a.Checkpoints {
		all = append(all, checkpointstore.Checkpoint{
			FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
			PartitionID: c.Partition, Offset: c.Offset, SequenceNumber: c.SequenceNumber,
		})
	}
	return all, nil
}
