package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor/internal/balance"
)

// AdaptOptions are the options of [Adapt]. Nil is the same as the zero value.
type AdaptOptions struct {
	// MaxOutage is how long ListOwnership returns the last list while the store cannot
	// be listed. After that it returns the store's error, which ends the Processor.
	// Zero means 5 minutes, negative means that it returns the error at once.
	MaxOutage time.Duration

	// UpdateInterval and PartitionExpirationDuration must be those of the
	// azeventhubs.ProcessorOptions. Zero means 10 seconds and 60 seconds.
	UpdateInterval, PartitionExpirationDuration time.Duration

	// PartitionIDs are the partitions of the hub, if they are known: records of
	// others are hidden. Nil hides records whose partition is not a number.
	PartitionIDs []string

	// Logger receives the errors that the Processor does not see, as warnings. Nil is
	// slog.Default(), for warnings and errors only.
	Logger *slog.Logger
}

// Adapt returns a checkpoint store for azeventhubs.NewProcessor that keeps its
// records in store. Processors that run at the same time need one each: a claim
// under a second owner id (the ConsumerClient's InstanceID) is an error.
//
// ClaimOwnership returns the claims that were won even if others failed. Transient
// errors are logged and not returned. While the store cannot be listed,
// ListOwnership returns the last list. LastModifiedTime tells the age that was
// observed here, so that the clock of this machine does not matter. A record that
// was deleted is claimed again. When the Processor ends, the adapter releases what
// it owns with the last ETags, including what an interrupted round has won.
//
// If ListCheckpoints fails, the Processor would own partitions that it does not
// read. The next ListOwnership therefore returns the error, which ends the
// Processor: start another one. A checkpoint without a position is returned as the
// partition's beginning. On [checkpointstore.ErrRewound] the adapter releases the
// partition and returns the error: close the partition client, and the Processor
// claims the partition again and reads it from the stored position.
func Adapt(store checkpointstore.CheckpointStore, options *AdaptOptions) azeventhubs.CheckpointStore {
	a := &adapter{store: store, held: make(map[string]checkpointstore.Ownership)}
	if options != nil {
		a.options = *options
	}
	o := &a.options
	o.MaxOutage = cmp.Or(o.MaxOutage, 5*time.Minute)
	o.UpdateInterval = cmp.Or(o.UpdateInterval, 10*time.Second)
	o.PartitionExpirationDuration = cmp.Or(o.PartitionExpirationDuration, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(warnings{slog.Default().Handler()})
	}
	a.sightings = balance.Sightings{UpdateInterval: o.UpdateInterval, Expiration: o.PartitionExpirationDuration, MaxOutage: max(o.MaxOutage, 0)}
	return a
}

// adapter is the store of one azeventhubs Processor. A Processor calls ListOwnership and
// ClaimOwnership from one goroutine: a claim after each good list and, in the end,
// one that is the release. That names what the last finished round won, without an
// owner, or nothing.
type adapter struct {
	store   checkpointstore.CheckpointStore
	options AdaptOptions

	mu           sync.Mutex // not held during calls of the store
	sightings    balance.Sightings
	ownerID      string    // empty before the first claim
	scope        [3]string // as it was listed last
	list         []checkpointstore.Ownership
	listedAt     time.Time                            // of list; zero if there is none
	failing      bool                                 // since list
	claimDue     bool                                 // a list was served: a claim of nothing is a round's
	releaseNames bool                                 // the Processor's release will name partitions
	held         map[string]checkpointstore.Ownership // by partition, as they were won or listed last
	unsure       bool                                 // the outcome of a claim since the last list is not known
	unread       error                                // of ListCheckpoints, until the Processor has ended
}

// ListOwnership returns the ownerships of a scope, during an outage those of the
// last list; see [Adapt].
func (a *adapter) ListOwnership(ctx context.Context, namespace, eventHub, consumerGroup string, _ *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	a.mu.Lock()
	a.claimDue, a.scope = false, [3]string{namespace, eventHub, consumerGroup}
	unread := a.unread
	a.mu.Unlock()
	if unread != nil {
		return nil, fmt.Errorf("processor: partitions are owned and not read, start another Processor: %w", unread)
	}
	begun := time.Now()
	list, err := a.store.ListOwnership(ctx, namespace, eventHub, consumerGroup, nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.sightings.Listed(begun, time.Now(), list)
		a.list, a.listedAt, a.failing, a.unsure = list, time.Now(), false, false
		a.compare()
	} else if err := a.listFailed(ctx, begun, err); err != nil {
		return nil, err
	}
	a.claimDue = true
	return a.ownershipView(), nil
}

// listFailed returns an error if the last list cannot be served instead.
func (a *adapter) listFailed(ctx context.Context, begun time.Time, err error) error {
	a.sightings.Unreachable(begun)
	if ctx.Err() != nil || IsPermanent(err) || a.listedAt.IsZero() || time.Since(a.listedAt) > a.options.MaxOutage {
		return err
	}
	if !a.failing {
		a.options.Logger.Warn("the ownerships cannot be listed; the last list is used", "error", err)
	}
	a.failing = true
	return nil
}

// compare brings what is held in line with a good list.
func (a *adapter) compare() {
	for _, r := range a.list {
		if _, held := a.held[r.PartitionID]; r.OwnerID == a.ownerID && a.ownerID != "" {
			a.held[r.PartitionID] = r
		} else if held {
			delete(a.held, r.PartitionID)
		}
	}
}

// ownershipView returns the list that the Processor sees, in random order, because
// its greedy strategy takes from the front.
func (a *adapter) ownershipView() []azeventhubs.Ownership {
	now := time.Now()
	byID := make(map[string]checkpointstore.Ownership, len(a.list))
	for _, r := range a.list {
		byID[r.PartitionID] = r
	}
	for id, r := range a.held { // with wins since the list, and deleted records
		if _, listed := byID[id]; !listed && !a.failing {
			r.ETag = nil
		}
		byID[id] = r
	}
	out := make([]azeventhubs.Ownership, 0, len(byID))
	for id, r := range byID {
		if a.isPartition(id) {
			r.LastModifiedTime = now.Add(-a.sightings.Age(now, r))
			out = append(out, azeventhubs.Ownership(r))
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (a *adapter) isPartition(id string) bool {
	if a.options.PartitionIDs != nil {
		return slices.Contains(a.options.PartitionIDs, id)
	}
	_, err := strconv.ParseUint(id, 10, 32)
	return err == nil
}

// ClaimOwnership claims partitions or, when the Processor ends, relinquishes what
// it owns; see [Adapt].
func (a *adapter) ClaimOwnership(ctx context.Context, ownerships []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	claims := make([]checkpointstore.Ownership, len(ownerships))
	for i, o := range ownerships {
		claims[i] = checkpointstore.Ownership(o)
	}
	if len(claims) == 0 {
		return a.claimNothing(ctx)
	}
	if !slices.ContainsFunc(claims, func(c checkpointstore.Ownership) bool { return c.OwnerID != "" }) {
		return a.release(ctx)
	}
	for _, c := range claims {
		if err := a.bind(c.OwnerID); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	a.claimDue = false
	a.mu.Unlock()
	won, err := a.write(ctx, claims)
	if err != nil && ctx.Err() == nil && !IsPermanent(err) {
		a.options.Logger.Warn("claims failed; they are made again in the next round", "claims", len(claims), "won", len(won), "error", err)
		err = nil
	}
	if err == nil { // else the Processor ends, and names what the round before won
		a.mu.Lock()
		a.releaseNames = len(won) > 0
		a.mu.Unlock()
	}
	return toEventHubs(won), err
}

// claimNothing is a round without claims or the release of a Processor that has not
// finished a round with any. If that cannot be this adapter's Processor, it is another
// one that was refused.
func (a *adapter) claimNothing(ctx context.Context) ([]azeventhubs.Ownership, error) {
	a.mu.Lock()
	round, other := a.claimDue, a.releaseNames && len(a.held) > 0
	a.claimDue, a.releaseNames = false, other
	a.mu.Unlock()
	if round || other {
		return nil, nil
	}
	return a.release(ctx)
}

func (a *adapter) bind(ownerID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ownerID == "" {
		a.ownerID = ownerID
	}
	if a.ownerID != ownerID {
		return fmt.Errorf("processor: this adapter serves the owner id %q, not %q: give each Processor an adapter of its own", a.ownerID, ownerID)
	}
	return nil
}

// write sends claims and remembers what was won.
func (a *adapter) write(ctx context.Context, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	won, err := a.store.ClaimOwnership(ctx, claims, nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsure = a.unsure || err != nil
	a.sightings.Won(time.Now(), won...)
	if isOutage(won, err) {
		a.sightings.Unwritable()
	}
	for _, r := range won {
		if r.OwnerID == "" {
			delete(a.held, r.PartitionID)
		} else {
			a.held[r.PartitionID] = r
		}
	}
	return won, err
}

// release relinquishes what is held, and once more what is still in the owner's
// name if that may have left something. What the Processor names is not used: it is
// what its last finished round won.
func (a *adapter) release(ctx context.Context) ([]azeventhubs.Ownership, error) {
	a.mu.Lock()
	a.unread, a.claimDue, a.releaseNames = nil, false, false
	var claims []checkpointstore.Ownership
	for _, r := range a.held {
		if r.ETag != nil {
			r.OwnerID = ""
			claims = append(claims, r)
		}
	}
	unsure, ownerID, scope := a.unsure, a.ownerID, a.scope
	clear(a.held)
	a.mu.Unlock()
	released, err := a.write(ctx, claims)
	if unsure || err != nil || len(released) < len(claims) {
		var list []checkpointstore.Ownership
		list, err = a.store.ListOwnership(ctx, scope[0], scope[1], scope[2], nil)
		list = slices.DeleteFunc(list, func(r checkpointstore.Ownership) bool { return r.OwnerID != ownerID })
		for i := range list {
			list[i].OwnerID = ""
		}
		rest, restErr := a.write(ctx, list)
		released = append(released, rest...)
		if err == nil {
			err = restErr
		}
	}
	if err != nil {
		a.options.Logger.Warn("not every partition was released; others can claim the rest when it has expired", "error", err)
	}
	return toEventHubs(released), err
}

// ListCheckpoints returns the checkpoints of a scope; see [Adapt].
func (a *adapter) ListCheckpoints(ctx context.Context, namespace, eventHub, consumerGroup string, _ *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	list, err := a.store.ListCheckpoints(ctx, namespace, eventHub, consumerGroup, nil)
	if err != nil {
		a.mu.Lock()
		a.unread = err
		a.mu.Unlock()
		return nil, err
	}
	out := make([]azeventhubs.Checkpoint, len(list))
	for i, c := range list {
		if c.Offset == nil && c.SequenceNumber == nil {
			beginning := "-1"
			c.Offset = &beginning
		}
		out[i] = azeventhubs.Checkpoint(c)
	}
	return out, nil
}

// SetCheckpoint stores a checkpoint. Its errors are the store's; see [Adapt] for
// [checkpointstore.ErrRewound].
func (a *adapter) SetCheckpoint(ctx context.Context, checkpoint azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	err := a.store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint(checkpoint), nil)
	if !errors.Is(err, checkpointstore.ErrRewound) {
		return err
	}
	a.mu.Lock()
	record, held := a.held[checkpoint.PartitionID]
	a.mu.Unlock()
	if held && record.ETag != nil {
		record.OwnerID = ""
		if _, releaseErr := a.write(ctx, []checkpointstore.Ownership{record}); releaseErr != nil {
			err = fmt.Errorf("%w; the partition is not released: %w", err, releaseErr)
		}
	}
	return err
}

func toEventHubs(records []checkpointstore.Ownership) []azeventhubs.Ownership {
	out := make([]azeventhubs.Ownership, len(records))
	for i, r := range records {
		out[i] = azeventhubs.Ownership(r)
	}
	return out
}
