package memstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// UpdateCheckpoint stores a position by the rules of the blob store. Storing the
// stored position again is not an error.
// [checkpointstore.UpdateCheckpointOptions].EnqueuedTime is kept, and listed by
// [Store.ListRecords].
//
// Errors: [checkpointstore.ErrInvalidArgument];
// [checkpointstore.ErrStaleCheckpoint] for a position behind the stored one, and
// with First if there is one; [checkpointstore.ErrRewound] for an update of an
// earlier generation; the context's error if it has ended.
func (s *Store) UpdateCheckpoint(ctx context.Context, checkpoint checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	const op = "UpdateCheckpoint"
	if err := cmp.Or(checkpoint.Validate(), options.Validate()); err != nil {
		return withOp(op, err)
	}
	if err := ended(ctx, op, checkpoint.PartitionID); err != nil {
		return err
	}
	if options == nil {
		options = &checkpointstore.UpdateCheckpointOptions{}
	}
	if step := s.update(checkpoint, options); step.Action != fence.Done {
		return refused(op, checkpoint, options, step)
	}
	return nil
}

// refused returns the error of an update that was not stored.
func refused(op string, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions, step fence.Step) error {
	e := &checkpointstore.Error{
		Op:          op,
		PartitionID: c.PartitionID,
		Kind:        checkpointstore.ErrStaleCheckpoint,
		Detail:      fmt.Sprintf("sequence number %d is behind %d, which is stored; to go back on purpose, use Rewind", *c.SequenceNumber, step.Stored.SequenceNumber),
	}
	switch {
	case step.Action == fence.Rewound:
		e.Kind = checkpointstore.ErrRewound
		e.Detail = fmt.Sprintf("generation %d is stored, at sequence number %d: give the partition up, and start again from the stored checkpoint", step.Stored.Generation, step.Stored.SequenceNumber)
	case options.First:
		e.Detail = "the partition has a checkpoint, so this is not its first one: start from the stored checkpoint"
	}
	return e
}

// update takes the steps that the fence asks for, as a blob store does, and returns
// the last one. It holds the lock throughout, so no write is ambiguous.
func (s *Store) update(c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) fence.Step {
	k := makeKey(c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID)
	record := newCheckpoint(c)
	if options.EnqueuedTime != nil {
		at := options.EnqueuedTime.UTC().Truncate(time.Millisecond)
		record.enqueuedTime = &at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	record.clientID = s.writers[k]
	p := s.partition(k)
	update := p.Start(record.position(), fence.KindOf(options.First, options.Rewind))
	step := p.Begin(&update)
	for {
		stored, found := s.checkpoints[k]
		switch step.Action {
		case fence.Read, fence.ReadAll:
			step = p.Found(&update, stored.record())
		case fence.Create, fence.Replace:
			switch {
			case step.ETag == stored.etag: // both empty: there is no record, as Create asks
				record.etag, record.generation = s.nextETag(), step.Generation
				record.modified = s.now().Round(0).UTC()
				s.checkpoints[k] = record
				step = p.Wrote(&update, record.etag)
			case !found:
				step = p.Gone(&update)
			default:
				step = p.Refused(&update, false)
			}
		default:
			return step
		}
	}
}

// newCheckpoint is the record of a checkpoint that was validated.
func newCheckpoint(c checkpointstore.Checkpoint) checkpoint {
	record := checkpoint{sequenceNumber: *c.SequenceNumber}
	if c.Offset != nil {
		if text := layout.Offset(*c.Offset); text != nil {
			record.hasOffset, record.offset = true, *text
		}
	}
	return record
}

// ListCheckpoints returns the checkpoints of a scope, sorted by partition. A scope
// or a partition without any is not an error.
//
// Errors: [checkpointstore.ErrInvalidArgument], and the context's error if it has
// ended.
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

// sawNone tells the fences of the partitions that a list does not contain that they
// have no checkpoint. The caller holds the lock.
func (s *Store) sawNone(scope layout.Scope) {
	for k, p := range s.fences {
		if _, found := s.checkpoints[k]; !found && k.scope == scope {
			p.Saw(fence.Record{})
		}
	}
}

// record is what the fence compares.
func (c checkpoint) record() fence.Record {
	return fence.Record{ETag: c.etag, Position: c.position(), Readable: c.etag != "", Generation: c.generation}
}

func (c checkpoint) position() fence.Position {
	return fence.Position{SequenceNumber: c.sequenceNumber, Offset: c.offset}
}

// as returns the record with the caller's spelling of the scope.
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

// GetCheckpoint returns the checkpoint of one partition.
//
// Errors: [checkpointstore.ErrNotFound] for a partition without a checkpoint,
// [checkpointstore.ErrInvalidArgument], and the context's error if it has ended.
func (s *Store) GetCheckpoint(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *checkpointstore.GetCheckpointOptions) (checkpointstore.Checkpoint, error) {
	k, err := one(ctx, "GetCheckpoint", fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID)
	if err != nil {
		return checkpointstore.Checkpoint{}, err
	}
	s.mu.Lock()
	record, found := s.checkpoints[k]
	if p := s.fences[k]; found || p != nil {
		s.partition(k).Reread(record.record())
	}
	s.mu.Unlock()
	if !found {
		return checkpointstore.Checkpoint{}, notFound("GetCheckpoint", partitionID)
	}
	return record.as(fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID), nil
}
