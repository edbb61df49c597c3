package ops

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CleanOptions say which records PlanClean plans to delete. At least one of
// OtherSpelling, Hub and Unused must be set.
type CleanOptions struct {
	// OtherSpelling includes records under the spelling that the store does not write,
	// if the store's own position is the valid one and is not behind.
	OtherSpelling bool

	// Hub, if it is set, includes records of partitions that this event hub does not
	// have.
	Hub EventHub

	// Unused, if it is not zero, includes all records of a consumer group in which
	// nothing has been written for that long, by the store's clock.
	Unused time.Duration

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration

	// HubOptions bound the requests to the event hub.
	HubOptions HubOptions
}

// PlanClean plans to delete records of a consumer group that nobody needs any more. It
// never plans to delete records that a live owner uses. [Apply] deletes a record only
// if nobody has written it since the plan was made.
//
// Errors are those of [Read] and of the event hub. Requests: those of [Read], and one
// to the event hub if it is set.
func PlanClean(ctx context.Context, store Store, scope Scope, options CleanOptions) (*Plan, error) {
	if !options.OtherSpelling && options.Hub == nil && options.Unused <= 0 {
		return nil, errors.New("nothing to look for: set OtherSpelling, Hub or Unused")
	}
	s, err := Read(ctx, store, scope, &ReadOptions{Expiration: options.Expiration})
	if err != nil {
		return nil, err
	}
	exists := func(string) bool { return true }
	if options.Hub != nil {
		ids, err := limited(ctx, newLimiter(&options.HubOptions), options.Hub.PartitionIDs)
		if err != nil {
			return nil, fmt.Errorf("asking the event hub for its partitions: %w", err)
		}
		if len(ids) == 0 {
			return nil, errors.New("the event hub returned no partitions")
		}
		known := make(map[string]bool)
		for _, id := range ids {
			known[id] = true
		}
		exists = func(id string) bool { return known[id] }
	}
	plan := newPlan(PlanToClean, s)
	idle := s.idleFor()
	unused := options.Unused > 0 && idle >= options.Unused
	for _, p := range s.Partitions {
		switch {
		case options.OtherSpelling && p.Other != nil && p.Other.State != Live && exists(p.ID) && !unused:
			plan.deleteOther(p)
		case p.isLive() && (unused || !exists(p.ID) || options.OtherSpelling && p.Other != nil):
			plan.skip(p.ID, "it has a live owner")
		case unused:
			plan.deleteAll(p, fmt.Sprintf("nothing was written in the consumer group for %s", idle.Round(time.Second)))
		case !exists(p.ID):
			plan.deleteAll(p, "the event hub has no such partition")
		}
	}
	return plan, nil
}

// idleFor is the time since the last write of any record.
func (s *Snapshot) idleFor() time.Duration {
	var last time.Time
	newer := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for _, p := range s.Partitions {
		if p.Ownership != nil {
			newer(p.Ownership.LastModifiedTime)
		}
		if p.Own != nil {
			newer(p.Own.LastModifiedTime)
		}
		if p.Other != nil && p.Other.Ownership != nil {
			newer(p.Other.Ownership.LastModifiedTime)
		}
		if p.Other != nil && p.Other.Checkpoint != nil {
			newer(p.Other.Checkpoint.LastModifiedTime)
		}
	}
	return age(s.Time, last)
}

// deleteAll plans to delete the records of a partition under both spellings.
func (p *Plan) deleteAll(partition Partition, why string) {
	if partition.Ownership != nil || partition.Own != nil {
		p.Changes = append(p.Changes, Change{
			PartitionID: partition.ID, Before: partition, Why: why,
			DeleteOwnership: partition.Ownership, DeleteCheckpoint: partition.Own,
		})
	}
	if other := partition.Other; other != nil {
		p.Changes = append(p.Changes, Change{
			PartitionID: partition.ID, Before: partition, Why: why,
			DeleteOwnership: other.Ownership, DeleteCheckpoint: other.Checkpoint,
		})
	}
}

// deleteOther plans to delete the records under the other spelling, unless they have
// the position where the partition resumes.
func (p *Plan) deleteOther(partition Partition) {
	own, theirs := positionOf(partition.Own), positionOf(partition.Other.Checkpoint)
	switch {
	case partition.Other.Checkpoint != nil && partition.Checkpoint != partition.Own:
		p.skip(partition.ID, "its current checkpoint is under the other spelling: migrate first")
		return
	case theirs != nil && (own == nil || own.SequenceNumber < theirs.SequenceNumber):
		p.skip(partition.ID, "its checkpoint under the other spelling is further on: migrate first")
		return
	}
	p.Changes = append(p.Changes, Change{
		PartitionID: partition.ID, Before: partition,
		Why:              "the store's own spelling has taken its place",
		DeleteOwnership:  partition.Other.Ownership,
		DeleteCheckpoint: partition.Other.Checkpoint,
	})
}
