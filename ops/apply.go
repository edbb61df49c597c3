package ops

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

var (
	// ErrLive: a partition of the plan has a live owner. Nothing was changed.
	ErrLive = errors.New("a live owner")

	// ErrOutdated: the plan no longer fits what is stored. Nothing was changed. Make
	// a new one.
	ErrOutdated = errors.New("the plan is out of date")
)

// ApplyOptions are the options of Apply. Nil is the same as the zero value.
type ApplyOptions struct {
	// Release takes partitions from live owners, whose late checkpoints then fail with
	// [checkpointstore.ErrRewound]. Owners under processor.Run go on from the new
	// position within two rounds. A consumer of another package knows no generations,
	// and its next checkpoint may undo the change: stop it first.
	Release bool

	// Backup is given what is stored, before anything is changed. If it fails, nothing
	// is. Nil makes no backup.
	Backup func(*Export) error
}

// Result is what became of a plan, change by change.
type Result struct {
	Changes []ChangeResult // in the plan's order
}

// ChangeResult is what became of one change.
type ChangeResult struct {
	PartitionID string
	Done        bool  // what was planned is stored, and was read back
	Err         error // why it is not done, or the partition could not be given free
}

// maxConcurrentChanges is how many partitions Apply changes at once.
const maxConcurrentChanges = 32

// cleanupTimeout bounds how long Apply gives partitions free after its context has
// ended.
const cleanupTimeout = 15 * time.Second

// Apply carries out a plan.
//
// It refuses, before anything is changed, a plan that does not fit what is stored any
// more ([ErrOutdated]), and one for a partition with a live owner ([ErrLive]) unless
// Release is set. It then claims the partitions under an ID of its own, so that no
// consumer starts on one of them; a lost claim refuses the whole plan, after what was
// claimed is free again. Then it stores the positions, reads them back, and
// relinquishes the partitions.
//
// An error after that point comes with a result that says what was done. If the
// process ends in the middle, the partitions that it holds expire like those of any
// owner.
//
// Requests: three reads of the scope ([Read]); for each partition two claims and the
// UpdateCheckpoint, 32 at once; for a release one claim; for each deletion one.
func Apply(ctx context.Context, store Store, plan *Plan, options *ApplyOptions) (*Result, error) {
	if options == nil {
		options = &ApplyOptions{}
	}
	a := &applying{store: store, plan: plan, options: options}
	now, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.check(now); err != nil {
		return nil, err
	}
	if options.Backup != nil {
		if err := options.Backup(now.Export()); err != nil {
			return nil, fmt.Errorf("nothing was changed, as the backup failed: %w", err)
		}
	}
	a.result.Changes = make([]ChangeResult, len(plan.Changes))
	for i, c := range plan.Changes {
		a.result.Changes[i].PartitionID = c.PartitionID
	}
	switch plan.Kind {
	case PlanToRelease:
		err = a.release(ctx, now)
	case PlanToClean:
		err = a.clean(ctx)
	default:
		err = a.move(ctx, now)
	}
	if err != nil {
		return nil, err
	}
	return &a.result, a.result.err()
}

// err sums up what was not done.
func (r *Result) err() error {
	var errs []error
	for _, c := range r.Changes {
		if c.Err != nil {
			errs = append(errs, fmt.Errorf("partition %s: %w", c.PartitionID, c.Err))
		}
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("%d of %d changes failed: %w", len(errs), len(r.Changes), errors.Join(errs...))
}

// applying is one Apply on its way.
type applying struct {
	store   Store
	plan    *Plan
	options *ApplyOptions
	result  Result
}

func (a *applying) read(ctx context.Context) (*Snapshot, error) {
	return Read(ctx, a.store, a.plan.Scope, &ReadOptions{Expiration: a.plan.Expiration})
}

// check refuses a plan that does not fit what is stored now.
func (a *applying) check(now *Snapshot) error {
	for _, c := range a.plan.Changes {
		if err := a.checkChange(c, now.Partition(c.PartitionID)); err != nil {
			return fmt.Errorf("nothing was changed: partition %s: %w", c.PartitionID, err)
		}
	}
	return nil
}

func (a *applying) checkChange(c Change, now Partition) error {
	if other := now.Other; other != nil && other.State == Live {
		return fmt.Errorf("%w: %q, under the spelling %s/%s/%s: stop it, or use a store with that naming", ErrLive, other.Ownership.OwnerID,
			other.Scope.FullyQualifiedNamespace, other.Scope.EventHubName, other.Scope.ConsumerGroup)
	}
	live := now.State == Live
	if live && !a.options.Release {
		return fmt.Errorf("%w: %q wrote its ownership %s ago: stop it, or ask for release", ErrLive, now.Ownership.OwnerID, now.OwnershipAge.Round(time.Second))
	}
	if c.Release {
		if sameETag(c.Before.Ownership, now.Ownership) || live {
			return nil
		}
		return fmt.Errorf("%w: the ownership has changed", ErrOutdated)
	}
	if c.After == nil {
		return nil // deletions have conditions of their own
	}
	before, at := c.Before.Position(), now.Position()
	progressed := live && before != nil && at != nil && at.SequenceNumber >= before.SequenceNumber
	if now.generation() != c.Before.generation() || !before.same(at) && !progressed {
		return fmt.Errorf("%w: %s was stored, and now it is %s", ErrOutdated, describe(c.Before), describe(now))
	}
	return nil
}

// describe is a partition's position in words.
func describe(p Partition) string {
	switch at := p.Position(); {
	case p.Checkpoint == nil:
		return "no checkpoint"
	case at == nil:
		return "a checkpoint without a readable position"
	default:
		return fmt.Sprintf("%s in generation %d", at, p.generation())
	}
}

func sameETag(a, b *checkpointstore.Ownership) bool {
	if a == nil || b == nil || a.ETag == nil || b.ETag == nil {
		return a == b
	}
	return *a.ETag == *b.ETag
}

// release relinquishes partitions, each on the ETag that was checked.
func (a *applying) release(ctx context.Context, now *Snapshot) error {
	var claims []checkpointstore.Ownership
	for _, c := range a.plan.Changes {
		claims = append(claims, a.claimOf(now.Partition(c.PartitionID), ""))
	}
	won, err := a.store.ClaimOwnership(ctx, claims, nil)
	a.settle(won, err, fmt.Errorf("%w: its owner has renewed it", ErrOutdated))
	return nil
}

// settle notes which of the plan's partitions a claim won.
func (a *applying) settle(won []checkpointstore.Ownership, err, lost error) {
	failed := failedPartitions(err)
	for i := range a.result.Changes {
		r := &a.result.Changes[i]
		switch {
		case contains(won, r.PartitionID):
			r.Done = true
		case failed[r.PartitionID] != nil:
			r.Err = failed[r.PartitionID]
		case err != nil && len(failed) == 0:
			r.Err = err
		default:
			r.Err = lost
		}
	}
}

// failedPartitions are the errors of a ClaimOwnership call by partition.
func failedPartitions(err error) map[string]error {
	failed := make(map[string]error)
	var all *checkpointstore.PartitionErrors
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			failed[e.PartitionID] = e
		}
	}
	return failed
}

func contains(ownerships []checkpointstore.Ownership, partitionID string) bool {
	for _, o := range ownerships {
		if o.PartitionID == partitionID {
			return true
		}
	}
	return false
}

// claimOf is the claim of a partition on the ETag that was read.
func (a *applying) claimOf(p Partition, ownerID string) checkpointstore.Ownership {
	claim := checkpointstore.Ownership{
		ConsumerGroup:           a.plan.Scope.ConsumerGroup,
		EventHubName:            a.plan.Scope.EventHubName,
		FullyQualifiedNamespace: a.plan.Scope.FullyQualifiedNamespace,
		PartitionID:             p.ID,
		OwnerID:                 ownerID,
	}
	if p.Ownership != nil {
		claim.ETag = p.Ownership.ETag
	}
	return claim
}

// clean deletes records that nobody wrote since the plan was made.
func (a *applying) clean(ctx context.Context) error {
	a.eachChange(func(c Change, r *ChangeResult) {
		if c.DeleteOwnership != nil {
			r.Err = a.store.DeleteOwnership(ctx, *c.DeleteOwnership, nil)
		}
		if r.Err == nil && c.DeleteCheckpoint != nil {
			r.Err = a.store.DeleteCheckpoint(ctx, *c.DeleteCheckpoint, nil)
		}
		r.Done = r.Err == nil
	})
	return nil
}

// move stores positions, with the partitions held meanwhile.
func (a *applying) move(ctx context.Context, now *Snapshot) error {
	held, err := a.hold(ctx, now)
	defer a.giveFree(ctx, held)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	// A look in the tenure that began just now, for updates that are not rewinds.
	if !a.plan.Rewind {
		scope := a.plan.Scope
		if _, err := a.store.ListCheckpoints(ctx, scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	again, err := a.read(ctx)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	for _, c := range a.plan.Changes {
		was, is := now.Partition(c.PartitionID), again.Partition(c.PartitionID)
		if was.State != Live && (is.generation() != was.generation() || !is.Position().same(was.Position())) {
			return fmt.Errorf("nothing was changed: partition %s: %w: %s was stored, and now it is %s", c.PartitionID, ErrOutdated, describe(was), describe(is))
		}
	}
	a.eachChange(func(c Change, r *ChangeResult) {
		r.Err = a.store.UpdateCheckpoint(ctx, a.checkpointOf(c), a.updateOf(c))
	})
	stored, err := a.read(ctx)
	for i, c := range a.plan.Changes {
		r := &a.result.Changes[i]
		switch p := stored.partitionOrNone(c.PartitionID); {
		case r.Err != nil:
		case err != nil:
			r.Err = fmt.Errorf("stored, but not read back: %w", err)
		case !p.Position().same(c.After):
			r.Err = fmt.Errorf("somebody else wrote since: %s is stored, and not %s", describe(p), c.After)
		default:
			r.Done = true
		}
	}
	return nil
}

// partitionOrNone is Partition, also of no snapshot.
func (s *Snapshot) partitionOrNone(id string) Partition {
	if s == nil {
		return Partition{ID: id}
	}
	return s.Partition(id)
}

func (a *applying) checkpointOf(c Change) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		ConsumerGroup:           a.plan.Scope.ConsumerGroup,
		EventHubName:            a.plan.Scope.EventHubName,
		FullyQualifiedNamespace: a.plan.Scope.FullyQualifiedNamespace,
		PartitionID:             c.PartitionID,
		Offset:                  &c.After.Offset,
		SequenceNumber:          &c.After.SequenceNumber,
	}
}

func (a *applying) updateOf(c Change) *checkpointstore.UpdateCheckpointOptions {
	return &checkpointstore.UpdateCheckpointOptions{Rewind: a.plan.Rewind, EnqueuedTime: c.After.EnqueuedTime}
}

// hold claims the partitions of the plan, all or none. It returns those that it
// holds, also with an error.
func (a *applying) hold(ctx context.Context, now *Snapshot) ([]checkpointstore.Ownership, error) {
	owner := "checkpointstore-ops-" + rand.Text()
	var claims []checkpointstore.Ownership
	for _, c := range a.plan.Changes {
		claims = append(claims, a.claimOf(now.Partition(c.PartitionID), owner))
	}
	won, err := a.store.ClaimOwnership(ctx, claims, nil)
	if err != nil {
		return won, fmt.Errorf("claiming the partitions: %w", err)
	}
	for _, c := range claims {
		if !contains(won, c.PartitionID) {
			return won, fmt.Errorf("partition %s: %w: somebody else claimed it", c.PartitionID, ErrOutdated)
		}
	}
	return won, nil
}

// giveFree relinquishes what was held, also after the context has ended. What
// somebody else has taken meanwhile is theirs.
func (a *applying) giveFree(ctx context.Context, held []checkpointstore.Ownership) {
	if len(held) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for i := range held {
		held[i].OwnerID = ""
	}
	free, err := a.store.ClaimOwnership(ctx, held, nil)
	failed := failedPartitions(err)
	for i := range a.result.Changes {
		r := &a.result.Changes[i]
		switch {
		case r.Err != nil || contains(free, r.PartitionID):
		case failed[r.PartitionID] != nil:
			r.Err = fmt.Errorf("the position is stored, but the partition is not free before it expires: %w", failed[r.PartitionID])
		}
	}
}

// eachChange calls f for every change, several at once.
func (a *applying) eachChange(f func(Change, *ChangeResult)) {
	slots := make(chan struct{}, maxConcurrentChanges)
	var all sync.WaitGroup
	for i, c := range a.plan.Changes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(c, &a.result.Changes[i])
		})
	}
	all.Wait()
}
