package memstore

import (
	"context"
	"errors"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// ListRecords returns the complete records of a scope, sorted by partition. The result
// has one spelling, the names in lower case.
//
// Errors: [checkpointstore.ErrInvalidArgument], and the context's error if it has ended.
func (s *Store) ListRecords(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error) {
	const op = "ListRecords"
	if err := checkpointstore.ValidateScope(fullyQualifiedNamespace, eventHubName, consumerGroup); err != nil {
		return nil, withOp(op, err)
	}
	if err := ended(ctx, op, ""); err != nil {
		return nil, err
	}
	scope := makeKey(fullyQualifiedNamespace, eventHubName, consumerGroup, "").scope
	found := checkpointstore.ScopeRecords{
		FullyQualifiedNamespace: scope.Namespace,
		EventHubName:            scope.EventHub,
		ConsumerGroup:           scope.ConsumerGroup,
		Listed:                  true,
	}
	s.mu.Lock()
	found.Time = s.now().Round(0).UTC()
	for k, record := range s.ownerships {
		if k.scope == scope {
			found.Ownerships = append(found.Ownerships, record.as(scope.Namespace, scope.EventHub, scope.ConsumerGroup, k.partition))
		}
	}
	for k, record := range s.checkpoints {
		if k.scope == scope {
			found.Checkpoints = append(found.Checkpoints, record.whole(k))
		}
	}
	s.mu.Unlock()
	byPartition(found.Ownerships, func(o checkpointstore.Ownership) string { return o.PartitionID })
	byPartition(found.Checkpoints, func(c checkpointstore.CheckpointRecord) string { return c.PartitionID })
	return []checkpointstore.ScopeRecords{found}, nil
}

// whole is the record with all that it holds.
func (c checkpoint) whole(k key) checkpointstore.CheckpointRecord {
	record := checkpointstore.CheckpointRecord{
		Checkpoint:       c.as(k.scope.Namespace, k.scope.EventHub, k.scope.ConsumerGroup, k.partition),
		LastModifiedTime: c.modified,
		ETag:             toETag(c.etag),
		Generation:       c.generation,
		ClientID:         c.clientID,
	}
	if c.enqueuedTime != nil {
		at := *c.enqueuedTime
		record.EnqueuedTime = &at
	}
	return record
}

// ListScopes returns every scope that has a record, with the names in lower case,
// sorted. The error is the context's if it has ended.
func (s *Store) ListScopes(ctx context.Context, options *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error) {
	if err := ended(ctx, "ListScopes", ""); err != nil {
		return nil, err
	}
	seen := map[layout.Scope]bool{}
	s.mu.Lock()
	for k := range s.ownerships {
		seen[k.scope] = true
	}
	for k := range s.checkpoints {
		seen[k.scope] = true
	}
	s.mu.Unlock()
	scopes := []checkpointstore.Scope{}
	for k := range seen {
		scopes = append(scopes, checkpointstore.Scope{
			FullyQualifiedNamespace: k.Namespace,
			EventHubName:            k.EventHub,
			ConsumerGroup:           k.ConsumerGroup,
		})
	}
	slices.SortFunc(scopes, checkpointstore.Scope.Compare)
	return scopes, nil
}

// DeleteOwnership deletes an ownership record if it was not written since it was
// read. A record that does not exist is not an error.
//
// Errors: [checkpointstore.ErrRecordChanged], [checkpointstore.ErrInvalidArgument],
// and the context's error if it has ended.
func (s *Store) DeleteOwnership(ctx context.Context, o checkpointstore.Ownership, options *checkpointstore.DeleteOwnershipOptions) error {
	return s.delete(ctx, "DeleteOwnership", o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, o.PartitionID, o.ETag,
		func(k key) string { return s.ownerships[k].etag },
		func(k key) { delete(s.ownerships, k) })
}

// DeleteCheckpoint deletes a checkpoint record if it was not written since it was
// read. Errors are those of [Store.DeleteOwnership].
func (s *Store) DeleteCheckpoint(ctx context.Context, c checkpointstore.CheckpointRecord, options *checkpointstore.DeleteCheckpointOptions) error {
	return s.delete(ctx, "DeleteCheckpoint", c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID, c.ETag,
		func(k key) string { return s.checkpoints[k].etag },
		func(k key) { delete(s.checkpoints, k) })
}

// delete removes the record whose ETag is still the given one.
func (s *Store) delete(ctx context.Context, op, namespace, eventHub, consumerGroup, partition string, etag *azcore.ETag, stored func(key) string, remove func(key)) error {
	k, err := one(ctx, op, namespace, eventHub, consumerGroup, partition)
	if err != nil {
		return err
	}
	if etag == nil {
		err = errors.New("the record has no ETag: delete one that ListRecords returned")
	} else {
		err = layout.CheckETag(string(*etag))
	}
	if err != nil {
		return &checkpointstore.Error{Op: op, PartitionID: partition, Kind: checkpointstore.ErrInvalidArgument, Detail: err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch stored(k) {
	case "":
		return nil
	case layout.ETag(string(*etag)):
		remove(k)
		return nil
	}
	return &checkpointstore.Error{Op: op, PartitionID: partition, Kind: checkpointstore.ErrRecordChanged, Detail: "it was written since it was listed, and was not deleted: list again"}
}
