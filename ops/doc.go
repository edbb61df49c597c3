// Package ops shows and changes what is stored of consumer groups: who owns each
// partition, how far behind it is, and from where it goes on. The checkpointctl
// command is made of it.
//
// Reading: [Read] is a [Snapshot] of a consumer group, [ListGroups] finds all of
// them in a container, [ReadHub] asks an event hub where its partitions end, and
// [Hub.Lag] compares the two.
//
// Changing has two steps. A plan function ([PlanReset], [PlanImport], [PlanMigrate],
// [PlanRelease], [PlanClean]) reads what is stored and returns a [Plan], which is
// data: what it would change, why, and what speaks against it. [Apply] carries a
// plan out, and refuses one that no longer fits what is stored.
//
// Use a store of its own for this package, not the one of a running consumer:
// Apply claims partitions, which ends the tenures of a store that it shares.
package ops

import (
	"context"

	"github.com/ea947076/checkpointstore"
)

// Store is a checkpoint store that also shows its records whole and deletes them.
// [checkpointstore.BlobCheckpointStore] and memstore.Store are.
type Store interface {
	checkpointstore.CheckpointStore

	ListRecords(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error)
	ListScopes(ctx context.Context, options *checkpointstore.ListScopesOptions) ([]checkpointstore.Scope, error)
	DeleteOwnership(ctx context.Context, ownership checkpointstore.Ownership, options *checkpointstore.DeleteOwnershipOptions) error
	DeleteCheckpoint(ctx context.Context, checkpoint checkpointstore.CheckpointRecord, options *checkpointstore.DeleteCheckpointOptions) error
}

// Scope is one consumer group of one event hub.
type Scope = checkpointstore.Scope
