// Package ops shows and changes what a store holds for consumer groups: who owns
// each partition, how far behind it is, and where it resumes. The checkpointctl
// command is built on it.
//
// To look: [ListGroups] finds the consumer groups of a container, [Read] returns a
// [Snapshot] of one, [ReadHub] asks an event hub where its partitions begin and end,
// and [Hub.Lag] compares the two. [Check] tests whether a container can hold
// checkpoints safely.
//
// To change: a plan function ([PlanReset], [PlanImport], [PlanMigrate],
// [PlanRelease], [PlanClean]) reads what is stored and returns a [Plan]. A plan is
// data: what would change, why, and warnings. [Apply] carries a plan out, and refuses
// one that no longer fits what is stored.
//
// Create a store for this package alone, instead of sharing that of a running
// consumer: Apply claims partitions, which ends the tenures of the store's consumer.
package ops

import (
	"context"

	"github.com/ea947076/checkpointstore"
)

// Store is a checkpoint store that also lists complete records and deletes them.
// [checkpointstore.BlobCheckpointStore] and memstore.Store implement it.
type Store interface {
	checkpointstore.CheckpointStore

	ListRecords(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error)
	ListScopes(ctx context.Context, options *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error)
	DeleteOwnership(ctx context.Context, ownership checkpointstore.Ownership, options *checkpointstore.DeleteOwnershipOptions) error
	DeleteCheckpoint(ctx context.Context, checkpoint checkpointstore.CheckpointRecord, options *checkpointstore.DeleteCheckpointOptions) error
}

// Scope is one consumer group of one event hub.
type Scope = checkpointstore.Scope
