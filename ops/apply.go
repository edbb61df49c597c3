package ops

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

var (
	// ErrLive means that a partition of the plan has a live owner. No position was
	// stored, and no record deleted.
	ErrLive = errors.New("a live owner")

	// ErrOutdated means that the plan no longer fits what is stored. Make a new one.
	// If Apply returns it without a [Result], no position was stored, and no record
	// deleted.
	ErrOutdated = errors.New("the plan is out of date")
)

// ApplyOptions are the options of Apply. Nil is the same as the zero value.
type ApplyOptions struct {
	// Release allows Apply to take partitions from live owners. If the plan rewinds,
	// their late checkpoints then fail with [checkpointstore.ErrRewound], and owners
	// under processor.Run resume from the new position within two rounds. A Processor
	// of azeventhubs, even with processor.Adapt, claims the partitions again and keeps
	// reading where it was. Its next checkpoint may undo the change: stop it first,
	// and so consumers of other packages.
	Release bool

	// Backup is called with what is stored before anything is changed. If it returns
	// an error, nothing is changed. Nil makes no backup.
	Backup func(*Export) error
}

// Result is the outcome of each change of a plan.
type Result struct {
	Changes []ChangeResult // in the plan's order
}

// ChangeResult is the outcome of one change.
type ChangeResult struct {
	PartitionID string
	Done        bool  // the change was made; a position was also read back
	Err         error // why it was not made, or why the partition could not be released
}

// maxConcurrentChanges is how many partitions Apply changes at once.
const maxConcurrentChanges = 32

// cleanupTimeout bounds how long Apply reads back and releases partitions, even
// after its context has ended.
const cleanupTimeout = 15 * time.Second

// Apply carries out a plan.
//
// Before it changes anything, it refuses a plan that no longer fits what is stored
// ([ErrOutdated]), and one for a partition with a live owner ([ErrLive]) unless
// Release is set. To move positions, it claims the partitions, each under an owner ID
// of its own, so that no consumer starts to read them; stores the positions; reads
// them back; and relinquishes the partitions. If it loses a claim, it relinquishes the
// others and refuses the plan. It never deletes records of a live owner.
//
// After an error without a result, no position was stored and no record deleted.
// Otherwise the result says what was done. If the process ends halfway, the ownerships
// that it holds expire like any others.
//
// Requests: to move positions, three times those of [Read], two claims and one
// UpdateCheckpoint for each partition, up to 32 at once, and one list of the
// checkpoints unless the plan rewinds; otherwise those of [Read] once, and one for
// each claim or deletion. A failure costs one more [Read] and some claims.
func Apply(ctx context.Context, store Store, plan *Plan, options *ApplyOptions) (*Result, error) {
	if options == nil {
		options = &ApplyOptions{}
	}
	a := &applying{store: store, plan: plan, options: options, owner: "checkpointstore-ops-" + rand.Text()}
	a.result.Changes = make([]ChangeResult, len(plan.Changes))
	for i, c := range plan.Changes {
		a.result.Changes[i].PartitionID = c.PartitionID
	}
	if len(plan.Changes) == 0 {
		return &a.result, nil
	}
	now, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.check(now); err != nil {
		return nil, err
	}
	if options.Backup != nil {
		if err := options.Backup(now.Export()); err != nil {
			return nil, fmt.Errorf("nothing was changed, because the backup failed: %w", err)
		}
	}
	switch plan.Kind {
	case PlanToRelease:
		a.release(ctx, now)
	case PlanToClean:
		a.clean(ctx)
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

// applying is the state of one Apply call.
type applying struct {
	store   Store
	plan    *Plan
	options *ApplyOptions
	owner   string // the prefix of the owner IDs of its claims
	result  Result
}

// ownerOf returns the owner ID that a partition is claimed under. Each partition has
// one of its own, because other consumers take partitions from an owner that has more
// than its share. A partition's ID may have any characters, an owner ID may not.
func (a *applying) ownerOf(partitionID string) string {
	if _, err := strconv.ParseUint(partitionID, 10, 64); err != nil {
		sum := sha256.Sum256([]byte(partitionID))
		partitionID = hex.EncodeToString(sum[:8])
	}
	return a.owner + "-" + partitionID
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
		return fmt.Errorf("%w: %q, under the spelling %s: stop it, or use a store with that naming", ErrLive, other.Ownership.OwnerID, other.Scope.String())
	}
	deletes := c.DeleteOwnership != nil || c.DeleteCheckpoint != nil
	// The owners under the store's own spelling do not see the other one's records.
	live := now.State == Live && !(deletes && now.Other != nil && c.deletesUnder(now.Other.Scope))
	switch {
	case live && deletes:
		return fmt.Errorf("%w: %q wrote its ownership %s ago", ErrLive, now.Ownership.OwnerID, now.OwnershipAge.Round(time.Second))
	case live && !a.options.Release:
		return fmt.Errorf("%w: %q wrote its ownership %s ago: stop it, or release its partitions", ErrLive, now.Ownership.OwnerID, now.OwnershipAge.Round(time.Second))
	case deletes:
		return checkDeletions(c, now)
	case c.Release:
		return checkRelease(c.Before, now)
	case c.After == nil:
		return nil
	}
	if err := c.After.check(a.plan.Scope, c.PartitionID); err != nil {
		return err
	}
	return a.checkMove(c, now)
}

// checkMove refuses a change if the stored position is no longer the one that the
// plan was made on. Progress of a live owner is allowed.
func (a *applying) checkMove(c Change, now Partition) error {
	before, at := c.Before.Position(), now.Position()
	progressed := now.State == Live && at != nil && (before == nil || at.SequenceNumber >= before.SequenceNumber)
	if now.generation() != c.Before.generation() || !before.same(at) && !progressed {
		return fmt.Errorf("%w: %s was stored, and now it is %s", ErrOutdated, describe(c.Before), describe(now))
	}
	if !a.plan.Rewind && at != nil && c.After.SequenceNumber < at.SequenceNumber {
		return fmt.Errorf("%w: %s is behind what is stored now, %s", ErrOutdated, c.After, describe(now))
	}
	return nil
}

// checkRelease refuses to relinquish a partition that has another owner now, or
// whose owner was dead when the plan was made and is alive now.
func checkRelease(before, now Partition) error {
	renewed := before.State == Live && now.State == Live && before.Ownership.OwnerID == now.Ownership.OwnerID
	if !renewed && !sameETag(before.Ownership, now.Ownership) {
		return fmt.Errorf("%w: the ownership has changed", ErrOutdated)
	}
	return nil
}

// checkDeletions refuses to delete records that were written since the plan was made.
// Each deletion is also conditional on the ETag.
func checkDeletions(c Change, now Partition) error {
	ownership, checkpoint := now.Ownership, now.Own
	if other := now.Other; other != nil && c.deletesUnder(other.Scope) {
		ownership, checkpoint = other.Ownership, other.Checkpoint
	}
	switch {
	case c.DeleteOwnership == nil && ownership != nil,
		c.DeleteOwnership != nil && ownership != nil && !sameETag(c.DeleteOwnership, ownership):
		return fmt.Errorf("%w: the ownership has changed", ErrOutdated)
	case c.DeleteCheckpoint != nil && checkpoint != nil && value(c.DeleteCheckpoint.ETag) != value(checkpoint.ETag):
		return fmt.Errorf("%w: the checkpoint has changed", ErrOutdated)
	}
	return nil
}

// deletesUnder reports whether the records to delete are those of a spelling.
func (c Change) deletesUnder(spelling Scope) bool {
	if o := c.DeleteOwnership; o != nil {
		return spelling == Scope{FullyQualifiedNamespace: o.FullyQualifiedNamespace, EventHubName: o.EventHubName, ConsumerGroup: o.ConsumerGroup}
	}
	d := c.DeleteCheckpoint
	return spelling == Scope{FullyQualifiedNamespace: d.FullyQualifiedNamespace, EventHubName: d.EventHubName, ConsumerGroup: d.ConsumerGroup}
}

// describe returns a partition's position in words.
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
func (a *applying) release(ctx context.Context, now *Snapshot) {
	var claims []checkpointstore.Ownership
	for _, c := range a.plan.Changes {
		claims = append(claims, a.claimOf(now.Partition(c.PartitionID), ""))
	}
	won, err := a.store.ClaimOwnership(ctx, claims, nil)
	a.settle(won, err, fmt.Errorf("%w: its owner has renewed it", ErrOutdated))
	if err == nil {
		return
	}
	// A claim that returned an error may have been applied.
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if after, err := a.read(ctx); err == nil {
		for i := range a.result.Changes {
			if r := &a.result.Changes[i]; after.Partition(r.PartitionID).State == Relinquished {
				*r = ChangeResult{PartitionID: r.PartitionID, Done: true}
			}
		}
	}
}

// cleanup returns a context for work that must be done even after ctx has ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// settle records the outcome of a ClaimOwnership call for each change.
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

// failedPartitions returns the errors of a ClaimOwnership call by partition.
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

// clean deletes records that nobody has written since the plan was made. It deletes
// the ownership first: if that succeeds, nobody has claimed the partition.
func (a *applying) clean(ctx context.Context) {
	a.eachChange(func(c Change, r *ChangeResult) {
		if c.DeleteOwnership != nil {
			r.Err = a.store.DeleteOwnership(ctx, *c.DeleteOwnership, nil)
		}
		if r.Err == nil && c.DeleteCheckpoint != nil {
			r.Err = a.store.DeleteCheckpoint(ctx, *c.DeleteCheckpoint, nil)
		}
		r.Done = r.Err == nil
	})
}

// move stores positions while it owns the partitions.
func (a *applying) move(ctx context.Context, now *Snapshot) error {
	held, err := a.hold(ctx, now)
	if err == nil {
		err = a.checkHeld(ctx, now)
	}
	if err != nil {
		err = fmt.Errorf("nothing was changed: %w", err)
	} else {
		a.eachChange(func(c Change, r *ChangeResult) {
			update := &checkpointstore.UpdateCheckpointOptions{Rewind: a.plan.Rewind, EnqueuedTime: c.After.EnqueuedTime}
			r.Err = a.store.UpdateCheckpoint(ctx, c.After.checkpoint(a.plan.Scope, c.PartitionID), update)
		})
	}
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err == nil {
		held = a.takenMeanwhile(held, a.readBack(ctx))
	}
	notFree := a.giveFree(ctx, held, err != nil)
	if err != nil {
		return errors.Join(err, notFree.err())
	}
	for i := range a.result.Changes {
		r := &a.result.Changes[i]
		if cause := notFree[r.PartitionID]; cause != nil {
			r.Err = errors.Join(r.Err, fmt.Errorf("the partition may not be free before it expires: %w", cause))
		}
	}
	return nil
}

// checkHeld checks again after the partitions were claimed: nobody may have claimed
// one since, or stored another position. A former live owner may have stored its last
// checkpoint.
func (a *applying) checkHeld(ctx context.Context, now *Snapshot) error {
	if scope := a.plan.Scope; !a.plan.Rewind {
		// The first list of the new tenure tells the store which generation the updates
		// that follow belong to.
		if _, err := a.store.ListCheckpoints(ctx, scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil); err != nil {
			return err
		}
	}
	again, err := a.read(ctx)
	if err != nil {
		return err
	}
	for _, c := range a.plan.Changes {
		was, is := now.Partition(c.PartitionID), again.Partition(c.PartitionID)
		err := a.checkMove(c, is.as(was.State))
		switch {
		case is.Ownership == nil || is.Ownership.OwnerID != a.ownerOf(c.PartitionID):
			return fmt.Errorf("partition %s: %w: somebody else claimed it", c.PartitionID, ErrOutdated)
		case is.Other != nil && is.Other.State == Live:
			return fmt.Errorf("partition %s: %w: %q, under the spelling %s", c.PartitionID, ErrLive, is.Other.Ownership.OwnerID, is.Other.Scope.String())
		case err != nil:
			return fmt.Errorf("partition %s: %w", c.PartitionID, err)
		}
	}
	return nil
}

// as returns the partition with another state.
func (p Partition) as(state State) Partition {
	p.State = state
	return p
}

// readBack records which positions are stored, because an update that returned an
// error may have been applied. It returns what it read, or nil.
func (a *applying) readBack(ctx context.Context) *Snapshot {
	stored, err := a.read(ctx)
	for i, c := range a.plan.Changes {
		r := &a.result.Changes[i]
		if err != nil {
			if r.Err == nil {
				r.Err = fmt.Errorf("stored, but not read back: %w", err)
			}
			continue
		}
		p := stored.Partition(c.PartitionID)
		written := positionOf(p.Own).same(c.After) && (!a.plan.Rewind || p.Own.Generation > c.Before.generation())
		switch {
		case written && p.Position().same(c.After):
			r.Done, r.Err = true, nil
		case r.Err == nil:
			r.Err = fmt.Errorf("somebody else wrote since: %s is stored, and not %s", describe(p), c.After)
		}
	}
	return stored
}

// takenMeanwhile returns the ownerships to relinquish after the positions were
// stored: those that are held, and those that others claimed after the held ones had
// expired, because these owners may have started from an old position.
func (a *applying) takenMeanwhile(held []checkpointstore.Ownership, stored *Snapshot) []checkpointstore.Ownership {
	if stored == nil {
		return held
	}
	for i := range held {
		if p := stored.Partition(held[i].PartitionID); p.State == Live || p.State == Expired {
			held[i] = a.claimOf(p, "")
		}
	}
	return held
}

// hold claims all partitions of the plan. It returns those that it won, even with an
// error.
func (a *applying) hold(ctx context.Context, now *Snapshot) ([]checkpointstore.Ownership, error) {
	var claims []checkpointstore.Ownership
	for _, c := range a.plan.Changes {
		claims = append(claims, a.claimOf(now.Partition(c.PartitionID), a.ownerOf(c.PartitionID)))
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

// notFree has the errors of partitions that could not be relinquished.
type notFree map[string]error

func (n notFree) err() error {
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(n), CompareIDs) {
		errs = append(errs, fmt.Errorf("partition %s may not be free before it expires: %w", id, n[id]))
	}
	return errors.Join(errs...)
}

// giveFree relinquishes what was held. A partition that somebody else has claimed
// stays theirs. After a failure it also looks for claims that returned an error but
// were applied.
func (a *applying) giveFree(ctx context.Context, held []checkpointstore.Ownership, failed bool) notFree {
	left, err := a.relinquish(ctx, held)
	if err == nil && !failed {
		return nil
	}
	now, err := a.read(ctx)
	if err != nil {
		unknown := make(notFree)
		for _, c := range a.plan.Changes {
			unknown[c.PartitionID] = errors.Join(left[c.PartitionID], err)
		}
		return unknown
	}
	held = nil
	for _, p := range now.Partitions {
		if p.Ownership != nil && p.Ownership.OwnerID == a.ownerOf(p.ID) {
			held = append(held, a.claimOf(p, ""))
		}
	}
	left, _ = a.relinquish(ctx, held)
	return left
}

// relinquish returns the partitions that it could not relinquish, and an error if
// there are any.
func (a *applying) relinquish(ctx context.Context, held []checkpointstore.Ownership) (notFree, error) {
	if len(held) == 0 {
		return nil, nil
	}
	for i := range held {
		held[i].OwnerID = ""
	}
	free, err := a.store.ClaimOwnership(ctx, held, nil)
	if err == nil {
		return nil, nil
	}
	left := make(notFree)
	failed := failedPartitions(err)
	for _, o := range held {
		switch {
		case contains(free, o.PartitionID):
		case failed[o.PartitionID] != nil:
			left[o.PartitionID] = failed[o.PartitionID]
		case len(failed) == 0:
			left[o.PartitionID] = err
		}
	}
	return left, err
}

// eachChange calls f for every change, up to maxConcurrentChanges at once.
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
