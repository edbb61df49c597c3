package memstore

import (
	"context"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// ListOwnership returns the ownership records of a scope, sorted by partition.
// Relinquished records are included. A scope without records is not an error.
//
// Errors: [checkpointstore.ErrInvalidArgument], and the context's error if it has
// ended.
func (s *Store) ListOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	const op = "ListOwnership"
	if err := checkpointstore.ValidateScope(fullyQualifiedNamespace, eventHubName, consumerGroup); err != nil {
		return nil, withOp(op, err)
	}
	if err := ended(ctx, op, ""); err != nil {
		return nil, err
	}
	scope := makeKey(fullyQualifiedNamespace, eventHubName, consumerGroup, "").scope
	list := []checkpointstore.Ownership{}
	s.mu.Lock()
	for k, record := range s.ownerships {
		if k.scope == scope {
			list = append(list, record.as(fullyQualifiedNamespace, eventHubName, consumerGroup, k.partition))
		}
	}
	s.mu.Unlock()
	byPartition(list, func(o checkpointstore.Ownership) string { return o.PartitionID })
	return list, nil
}

// as returns the record with the caller's spelling of the scope.
func (record ownership) as(namespace, eventHub, consumerGroup, partition string) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace,
		EventHubName:            eventHub,
		ConsumerGroup:           consumerGroup,
		PartitionID:             partition,
		OwnerID:                 record.ownerID,
		LastModifiedTime:        record.modified,
		ETag:                    toETag(record.etag),
	}
}

// ClaimOwnership claims the partitions one after another and returns the records
// that it won, in the order of the claims. A lost partition is not an error. A
// claim with an ETag loses if there is no record.
//
// Errors: [checkpointstore.ErrInvalidArgument] before anything is claimed;
// [*checkpointstore.PartitionErrors], together with the won records, if the context
// ended before all partitions were claimed.
func (s *Store) ClaimOwnership(ctx context.Context, ownerships []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	const op = "ClaimOwnership"
	if err := checkpointstore.ValidateClaims(ownerships); err != nil {
		return nil, withOp(op, err)
	}
	won := []checkpointstore.Ownership{}
	var failed []*checkpointstore.Error
	for _, claim := range ownerships {
		if err := ended(ctx, op, claim.PartitionID); err != nil {
			failed = append(failed, err)
		} else if record, wins := s.claim(claim); wins {
			won = append(won, record)
		}
	}
	if failed != nil {
		return won, &checkpointstore.PartitionErrors{Errors: failed}
	}
	return won, nil
}

// claim writes the record if it is in the state that the claim names.
func (s *Store) claim(claim checkpointstore.Ownership) (checkpointstore.Ownership, bool) {
	k := makeKey(claim.FullyQualifiedNamespace, claim.EventHubName, claim.ConsumerGroup, claim.PartitionID)
	on := ""
	if claim.ETag != nil {
		on = layout.ETag(string(*claim.ETag))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ownerships[k].etag != on {
		return checkpointstore.Ownership{}, false
	}
	record := ownership{
		etag:     s.nextETag(),
		ownerID:  claim.OwnerID,
		modified: s.now().Round(0).UTC(),
	}
	s.ownerships[k] = record
	s.partition(k).Won(on, record.etag, claim.OwnerID)
	if claim.OwnerID != "" {
		s.writers[k] = claim.OwnerID
	}
	return record.as(claim.FullyQualifiedNamespace, claim.EventHubName, claim.ConsumerGroup, claim.PartitionID), true
}

// GetOwnership returns the ownership record of one partition. A relinquished record
// is not an error.
//
// Errors: [checkpointstore.ErrNotFound] for a partition that was never claimed,
// [checkpointstore.ErrInvalidArgument], and the context's error if it has ended.
func (s *Store) GetOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *checkpointstore.GetOwnershipOptions) (checkpointstore.Ownership, error) {
	k, err := one(ctx, "GetOwnership", fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID)
	if err != nil {
		return checkpointstore.Ownership{}, err
	}
	s.mu.Lock()
	record, found := s.ownerships[k]
	s.mu.Unlock()
	if !found {
		return checkpointstore.Ownership{}, notFound("GetOwnership", partitionID)
	}
	return record.as(fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID), nil
}
