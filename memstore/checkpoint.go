package memstore

import (
	"context"
	"fmt"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// UpdateCheckpoint stores a position, fenced as the blob store does it: behind
// what this store wrote, or behind what another one wrote since this one first
// saw the record in its tenure, is stale; Rewind stores it all the same. To store
// the stored position again is not an error. Errors:
// [checkpointstore.ErrInvalidArgument], [checkpointstore.ErrStaleCheckpoint], and
// the context's if it has ended.
func (s *Store) UpdateCheckpoint(ctx context.Context, checkpoint checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	const op = "UpdateCheckpoint"
	if err := checkpoint.Validate(); err != nil {
		return withOp(op, err)
	}
	if err := ended(ctx, op, checkpoint.PartitionID); err != nil {
		return err
	}
	rewind := options != nil && options.Rewind
	if s.update(checkpoint, rewind) != fence.Done {
		return &checkpointstore.Error{
			Op:          op,
			PartitionID: checkpoint.PartitionID,
			Kind:        checkpointstore.ErrStaleCheckpoint,
			Detail:      fmt.Sprintf("sequence number %d lies behind the stored one, which stays", *checkpoint.SequenceNumber),
		}
	}
	return nil
}

// update does what the fence says, as a blob store does, and returns how it
// ended. It keeps the lock throughout, so that nothing here goes unanswered.
func (s *Store) update(c checkpointstore.Checkpoint, rewind bool) fence.Action {
	k := makeKey(c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partition(k)
	update, step := p.Begin(*c.SequenceNumber, rewind)
	for {
		stored, found := s.checkpoints[k]
		switch step.Action {
		case fence.Read:
			step = p.Found(&update, stored.record())
		case fence.Create, fence.Replace:
			switch {
			case step.ETag == stored.etag: // both empty: there is no record, as Create asks
				step = p.Wrote(&update, s.store(k, c))
			case !found:
				step = p.Gone(&update)
			default:
				step = p.Refused(&update)
			}
		default:
			return step.Action
		}
	}
}

// store writes the record and returns its ETag. The caller has the lock.
func (s *Store) store(k key, c checkpointstore.Checkpoint) string {
	record := checkpoint{etag: s.nextETag(), sequenceNumber: *c.SequenceNumber}
	if c.Offset != nil {
		if text := layout.Offset(*c.Offset); text != nil {
			record.hasOffset, record.offset = true, *text
		}
	}
	s.checkpoints[k] = record
	return record.etag
}

// ListCheckpoints returns the checkpoints of a scope, sorted by partition. A
// scope or a partition without any is not an error. Errors:
// [checkpointstore.ErrInvalidArgument], and the context's if it has ended.
func (s *Store) ListCheckpoints(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	const op = "ListCheckpoints"
	if err := checkpointstore.ValidateScope(fullyQualifiedNamespace, eventHubName, consumerGroup); err != nil {
		return nil, withOp(op, err)
	}
	if err := ended(ctx, op, ""); err != nil {
		return nil, err
	}
	scope := makeKey(fullyQualifiedNamespace, eventHubName, consumerGroup, "").scope
	list := []checkpointstore.Checkpoint{}
	s.mu.Lock()
	for k, record := range s.checkpoints {
		if k.scope == scope {
			s.partition(k).Saw(record.record())
			list = append(list, record.as(fullyQualifiedNamespace, eventHubName, consumerGroup, k.partition))
		}
	}
	s.sawNone(scope)
	s.mu.Unlock()
	byPartition(list, func(c checkpointstore.Checkpoint) string { return c.PartitionID })
	return list, nil
}

// sawNone tells the partitions that are not in a list that they have no
// checkpoint: that is their baseline too. The caller has the lock.
func (s *Store) sawNone(scope layout.Scope) {
	for k, p := range s.fences {
		if _, found := s.checkpoints[k]; !found && k.scope == scope {
			p.Saw(fence.Record{})
		}
	}
}

// record is what the fence compares.
func (c checkpoint) record() fence.Record {
	return fence.Record{ETag: c.etag, SequenceNumber: c.sequenceNumber, Readable: c.etag != ""}
}

// as is the record with the caller's spelling of the scope.
func (c checkpoint) as(namespace, eventHub, consumerGroup, partition string) checkpointstore.Checkpoint {
	sequenceNumber := c.sequenceNumber
	out := checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace,
		EventHubName:            eventHub,
		ConsumerGroup:           consumerGroup,
		PartitionID:             partition,
		SequenceNumber:          &sequenceNumber,
	}
	if c.hasOffset {
		offset := c.offset
		out.Offset = &offset
	}
	return out
}

// GetCheckpoint returns the checkpoint of one partition. Errors:
// [checkpointstore.ErrNotFound] for a partition without one,
// [checkpointstore.ErrInvalidArgument], and the context's if it has ended.
func (s *Store) GetCheckpoint(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *checkpointstore.GetCheckpointOptions) (checkpointstore.Checkpoint, error) {
	k, err := one(ctx, "GetCheckpoint", fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID)
	if err != nil {
		return checkpointstore.Checkpoint{}, err
	}
	s.mu.Lock()
	record, found := s.checkpoints[k]
	s.partition(k).Saw(record.record())
	s.mu.Unlock()
	if !found {
		return checkpointstore.Checkpoint{}, notFound("GetCheckpoint", partitionID)
	}
	return record.as(fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID), nil
}
