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

// Plan says what would change in a consumer group, and why. It is data: a program can
// print, compare and filter it. [Apply] carries it out.
type Plan struct {
	Kind       PlanKind
	Scope      Scope
	Time       time.Time     // the store's clock when the plan was made
	Expiration time.Duration // the age from which an ownership counts as expired

	// Rewind stores the positions in the next generation, even if they are behind the
	// stored ones. Without it, no position moves back.
	Rewind bool

	Changes  []Change  // sorted by partition, without those that would change nothing
	Skipped  []Skipped // what the plan does not change, and why
	Warnings []string  // those that are not about a single change
}

// Change is what a plan changes in one partition.
type Change struct {
	PartitionID string

	// Before is the partition as it was when the plan was made.
	Before Partition

	// After is the position to store. Nil stores none.
	After *Position

	// Release relinquishes the ownership, and changes nothing else.
	Release bool

	// DeleteOwnership and DeleteCheckpoint are the records to delete, or nil.
	DeleteOwnership  *checkpointstore.Ownership
	DeleteCheckpoint *checkpointstore.CheckpointRecord

	Why      string   // "starts with event 1040, the first one enqueued at 2026-11-21T14:00:00Z or later"
	Warnings []string // risks of the change, and positions that were out of range
}

// Skipped is something that a plan does not change.
type Skipped struct {
	Name string // a partition ID, or the name of a blob or file of the source
	Why  string
}

// Position is the position of the last handled event of a partition.
type Position struct {
	SequenceNumber int64
	Offset         string     // empty only if read: consumers of other packages need one
	EnqueuedTime   *time.Time // of the event, nil if it is not known
}

// String returns a text such as "sequence number 7, offset 512".
func (p Position) String() string {
	return fmt.Sprintf("sequence number %d, offset %s", p.SequenceNumber, p.Offset)
}

// Position returns the position of the partition's checkpoint, or nil if there is none
// or it cannot be read. A checkpoint without an offset has an empty Offset.
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

// check returns an error if a position cannot be stored.
func (p Position) check(scope Scope, partitionID string) error {
	if layout.Offset(p.Offset) == nil {
		return errors.New("the position has no offset, without which consumers of other packages fail")
	}
	options := &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: p.EnqueuedTime}
	return cmp.Or(p.checkpoint(scope, partitionID).Validate(), options.Validate())
}

// checkpoint returns the position as a checkpoint to store.
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

// same reports whether two positions have the same sequence number and offset.
func (p *Position) same(q *Position) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.SequenceNumber == q.SequenceNumber && p.Offset == q.Offset
}

// generation returns the generation of the partition's checkpoint, 0 if there is none.
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

// newPlan returns a plan without changes, made on a snapshot.
func newPlan(kind PlanKind, s *Snapshot) *Plan {
	return &Plan{Kind: kind, Scope: s.Scope, Time: s.Time, Expiration: s.Expiration}
}

// skip records that the plan does not change something, and why.
func (p *Plan) skip(name, format string, args ...any) {
	p.Skipped = append(p.Skipped, Skipped{Name: name, Why: fmt.Sprintf(format, args...)})
}

// move adds a change of a partition's position, or skips it if it is stored already.
func (p *Plan) move(before Partition, to Position, why string, warnings []string) {
	if at := before.Position(); at.same(&to) {
		p.skip(before.ID, "already at %s", to)
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

// otherWarnings returns warnings about consumers that will not resume from the plan's
// position.
func otherWarnings(p Partition) []string {
	warnings := liveWarnings(p)
	if p.Other != nil && p.Other.State != Live && p.Other.Checkpoint != nil {
		warnings = append(warnings, fmt.Sprintf("there is a checkpoint under the spelling %s too, which is not changed: a consumer with those names goes on from it", p.Other.Scope.String()))
	}
	return warnings
}

// liveWarnings returns warnings about the live owners of a partition.
func liveWarnings(p Partition) []string {
	var warnings []string
	if p.State == Live {
		warnings = append(warnings, fmt.Sprintf("owner %q is live: stop it, or take the partition from it with release, which a consumer that is not run by processor.Run may undo with its next checkpoint", p.Ownership.OwnerID))
	}
	if p.Other != nil && p.Other.State == Live {
		warnings = append(warnings, fmt.Sprintf("owner %q is live under the spelling %s: stop it, it does not see this change",
			p.Other.Ownership.OwnerID, p.Other.Scope.String()))
	}
	return warnings
}
