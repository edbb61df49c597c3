package ops

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// PlanKind is what a plan is for.
type PlanKind string

const (
	PlanToReset   PlanKind = "reset"
	PlanToImport  PlanKind = "import"
	PlanToMigrate PlanKind = "migrate"
	PlanToRelease PlanKind = "release"
	PlanToClean   PlanKind = "gc"
)

// Plan is what would be changed in a consumer group, and why. It is data: it can be
// printed and compared. [Apply] carries it out.
type Plan struct {
	Kind       PlanKind
	Scope      Scope
	Time       time.Time     // the store's clock when the plan was made
	Expiration time.Duration // after what time an ownership counts as expired

	// Rewind tells that positions are stored wherever the stored ones are, in the next
	// generation. Without it no position is lowered.
	Rewind bool

	Changes  []Change // sorted by partition, only what changes
	Skipped  []Skipped
	Warnings []string // about the whole
}

// Change is what a plan does to one partition.
type Change struct {
	PartitionID string

	// Before is the partition as it was when the plan was made.
	Before Partition

	// After is the position to store, nil if the plan stores none.
	After *Position

	// Release tells that the plan relinquishes the ownership, and does nothing else.
	Release bool

	// DeleteOwnership and DeleteCheckpoint are records to delete.
	DeleteOwnership  *checkpointstore.Ownership
	DeleteCheckpoint *checkpointstore.CheckpointRecord

	Why      string   // "the first event enqueued at 2026-11-21T14:00:00Z or later is next"
	Warnings []string // what speaks against it, and what was clamped
}

// Skipped is something that a plan leaves as it is.
type Skipped struct {
	Name string // of a partition, or of a blob or file of the source
	Why  string
}

// Position is a place in a partition: that of the last event that was handled.
type Position struct {
	SequenceNumber int64
	Offset         string     // never empty: consumers of other packages fail without it
	EnqueuedTime   *time.Time // of the event, nil if it is not known
}

// String is "sequence number 7, offset 512".
func (p Position) String() string {
	return fmt.Sprintf("sequence number %d, offset %s", p.SequenceNumber, p.Offset)
}

// Position returns the position of the partition's checkpoint, nil if there is none
// or it cannot be read. A checkpoint without an offset has an empty one.
func (p Partition) Position() *Position { return positionOf(p.Checkpoint) }

func positionOf(c *checkpointstore.CheckpointRecord) *Position {
	if c == nil || c.SequenceNumber == nil {
		return nil
	}
	at := &Position{SequenceNumber: *c.SequenceNumber, EnqueuedTime: c.EnqueuedTime}
	if c.Offset != nil {
		at.Offset = *c.Offset
	}
	return at
}

// check returns why a position cannot be stored, or nil.
func (p Position) check(scope Scope, partitionID string) error {
	if layout.Offset(p.Offset) == nil {
		return errors.New("the position has no offset, without which consumers of other packages fail")
	}
	options := &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: p.EnqueuedTime}
	return cmp.Or(p.checkpoint(scope, partitionID).Validate(), options.Validate())
}

// checkpoint is the position as a store takes it.
func (p Position) checkpoint(scope Scope, partitionID string) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		ConsumerGroup:           scope.ConsumerGroup,
		EventHubName:            scope.EventHubName,
		FullyQualifiedNamespace: scope.FullyQualifiedNamespace,
		PartitionID:             partitionID,
		Offset:                  &p.Offset,
		SequenceNumber:          &p.SequenceNumber,
	}
}

// same reports whether two positions are the same event's, as far as is known.
func (p *Position) same(q *Position) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.SequenceNumber == q.SequenceNumber && p.Offset == q.Offset
}

// generation of the partition's checkpoint, 0 if there is none.
func (p Partition) generation() int64 {
	if p.Checkpoint == nil {
		return 0
	}
	return p.Checkpoint.Generation
}

// isLive reports whether an owner reads the partition, under either spelling.
func (p Partition) isLive() bool {
	return p.State == Live || p.Other != nil && p.Other.State == Live
}

// newPlan is a plan without changes for what a snapshot shows.
func newPlan(kind PlanKind, s *Snapshot) *Plan {
	return &Plan{Kind: kind, Scope: s.Scope, Time: s.Time, Expiration: s.Expiration}
}

// skip notes that something is left as it is.
func (p *Plan) skip(name, format string, args ...any) {
	p.Skipped = append(p.Skipped, Skipped{Name: name, Why: fmt.Sprintf(format, args...)})
}

// move adds a change of a partition's position, unless it is there already.
func (p *Plan) move(before Partition, to Position, why string, warnings []string) {
	if at := before.Position(); at.same(&to) {
		p.skip(before.ID, "it is there already: %s", to)
		return
	}
	p.Changes = append(p.Changes, Change{
		PartitionID: before.ID,
		Before:      before,
		After:       &to,
		Why:         why,
		Warnings:    append(warnings, otherWarnings(before)...),
	})
}

// otherWarnings say who goes on from elsewhere than the plan's position.
func otherWarnings(p Partition) []string {
	warnings := liveWarnings(p)
	if p.Other != nil && p.Other.State != Live && p.Other.Checkpoint != nil {
		warnings = append(warnings, fmt.Sprintf("there is a checkpoint under the spelling %s too, which is not changed: a consumer with those names goes on from it", pathOf(p.Other.Scope)))
	}
	return warnings
}

// liveWarnings say who reads a partition that a plan changes.
func liveWarnings(p Partition) []string {
	var warnings []string
	if p.State == Live {
		warnings = append(warnings, fmt.Sprintf("owner %q is live: stop it, or take the partition from it with release, which a consumer that is not run by processor.Run may undo with its next checkpoint", p.Ownership.OwnerID))
	}
	if p.Other != nil && p.Other.State == Live {
		warnings = append(warnings, fmt.Sprintf("owner %q is live under the spelling %s: stop it, it does not see this change",
			p.Other.Ownership.OwnerID, pathOf(p.Other.Scope)))
	}
	return warnings
}
