package processor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// AdaptOptions are the options of [Adapt]. The zero value holds the defaults.
type AdaptOptions struct {
	// MaxOutage is for how long the last good list of ownerships is served while
	// the store cannot be read. After that the store's error is returned, which
	// ends the Processor. Zero is 5 minutes, negative is never.
	MaxOutage time.Duration

	// CheckpointRetries is how many more times a ListCheckpoints that failed for
	// a passing reason is tried, on top of what the store does by itself. Zero
	// is 3, negative is none.
	CheckpointRetries int

	// CheckpointTimeout bounds all tries of one ListCheckpoints. The Processor
	// waits for it before it renews its ownerships, so it has to stay well below
	// the partition expiration. Zero is 15 seconds, negative is no bound.
	CheckpointTimeout time.Duration

	// Logger gets what was kept from the Processor: claims that were not decided
	// and lists that were answered from memory as warnings, the ends of outages
	// as information. Nil is silent.
	Logger *slog.Logger
}

func (o *AdaptOptions) withDefaults() AdaptOptions {
	var d AdaptOptions
	if o != nil {
		d = *o
	}
	if d.MaxOutage == 0 {
		d.MaxOutage = 5 * time.Minute
	}
	switch {
	case d.CheckpointRetries == 0:
		d.CheckpointRetries = 3
	case d.CheckpointRetries < 0:
		d.CheckpointRetries = 0
	}
	if d.CheckpointTimeout == 0 {
		d.CheckpointTimeout = 15 * time.Second
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// Adapt makes a store into what azeventhubs.NewProcessor takes. Nil options are
// the defaults. One adapter may serve any number of Processors at once, of any
// consumer groups; each needs an owner id (azeventhubs.ConsumerClientOptions
// InstanceID) of its own. Its methods may be called from several goroutines.
//
// What it adds to the store:
//
// # Claims
//
// Claims that were won are returned whatever became of the others. A partition
// that failed for a passing reason (see [Lasting]) is not claimed in this round;
// that is logged, and is not an error. A lasting reason is an error, and so is
// the end of the caller's context.
//
// # Storage outage
//
// While ListOwnership fails for a passing reason, the last good list is served,
// with the adapter's own later claims in it, for up to MaxOutage. Time during
// which the store could not be read from here, from the beginning of the first
// call that failed to the end of the next one that did not, does not count
// towards expiry: the part of it that lies after a record's LastModifiedTime is
// added to that time, also in lists after the storage is back, for as long as
// the record is not written again. Without this, an outage longer than the
// expiration makes every record look expired to everybody, and the first to come
// back takes everything from the others.
//
// This is safe. A moved time decides only which claims are tried, never which
// are won: a claim stays conditional on the record's real ETag, so that one on an
// outdated list loses against everything that was written since. A moved time is
// never stored. It only makes a record look younger, and never younger than the
// end of the outage, so that nothing is claimed that would not have been claimed
// without it. What it costs is time: the partitions of an owner that died are
// taken over later, by at most the length of the outage. If the storage is away
// only from here, others go on and take what is not renewed, and a partition is
// read by whom Event Hubs grants the link last, as always.
//
// A record that this adapter won and that is then missing from a good list was
// deleted: it is served as owned, without an ETag, and so created again by the
// next renewal unless somebody else was faster. Lists are served in random
// order: the Processor's greedy strategy takes from the front, and several of
// them would all want the same partitions.
//
// # Release
//
// The Processor relinquishes, when it ends, what it won in its last finished
// round, with the ETags of that round. The adapter relinquishes what it knows
// this Processor to own, with the ETags of the last claims that were won: those
// of a round that was interrupted, and those that the Processor does not name.
// If one of these claims is lost or not decided, or an earlier one never was,
// it lists the scope once more and relinquishes what is still in that owner's
// name. A partition that another owner won since is not touched.
//
// # Checkpoints
//
// A ListCheckpoints that fails for a passing reason is tried again, then answered
// from the last good list and the checkpoints that were stored through this
// adapter since. An older checkpoint means events that are handled twice, never
// lost ones; but a missing one makes the Processor begin at its default position.
// The list is therefore served only if it has, for each partition that this
// Processor owns, a checkpoint or the knowledge that there was none when it came
// to own it. Otherwise the error is returned, and the Processor's next
// ListOwnership fails as well: the Processor leaves partitions owned but unread
// after a failed ListCheckpoints, and has to end for them to be read again.
// A checkpoint without any position would do the same: it is served as the last
// position that was known here or, without one, as the partition's beginning.
//
// # Odd records
//
// A record under ownership/ whose name is not a number is not shown: the
// Processor would count it as a partition, and claim it in place of a real one.
func Adapt(store checkpointstore.CheckpointStore, options *AdaptOptions) azeventhubs.CheckpointStore {
	return newAdapter(store, options)
}

// adapter remembers, for each scope, what its lists showed and what its owners
// won. It holds mu only between calls of the store, never during one.
type adapter struct {
	store   checkpointstore.CheckpointStore
	options AdaptOptions
	log     *slog.Logger
	now     func() time.Time

	mu     sync.Mutex
	turn   turn
	scopes map[scopeKey]*scope
}

var _ azeventhubs.CheckpointStore = (*adapter)(nil)

func newAdapter(store checkpointstore.CheckpointStore, options *AdaptOptions) *adapter {
	o := options.withDefaults()
	return &adapter{
		store:   store,
		options: o,
		log:     o.Logger,
		now:     time.Now,
		scopes:  make(map[scopeKey]*scope),
	}
}

// ListOwnership returns the ownerships of a scope, during an outage of the
// storage from memory; see [Adapt].
func (a *adapter) ListOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, _ *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	return a.listOwnership(ctx, names{fullyQualifiedNamespace, eventHubName, consumerGroup})
}

// ClaimOwnership claims partitions or, where no record names an owner,
// relinquishes them; see [Adapt].
func (a *adapter) ClaimOwnership(ctx context.Context, ownerships []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	asked := fromHub(ownerships)
	for _, o := range asked {
		if o.OwnerID != "" {
			return a.claim(ctx, asked)
		}
	}
	return a.release(ctx, asked)
}

// ListCheckpoints returns the checkpoints of a scope, from memory if the storage
// cannot be read; see [Adapt].
func (a *adapter) ListCheckpoints(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, _ *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	return a.listCheckpoints(ctx, names{fullyQualifiedNamespace, eventHubName, consumerGroup})
}

// SetCheckpoint stores a checkpoint. Its error is the store's:
// [checkpointstore.ErrStaleCheckpoint] where another owner is further on.
func (a *adapter) SetCheckpoint(ctx context.Context, checkpoint azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	return a.setCheckpoint(ctx, checkpointstore.Checkpoint(checkpoint))
}

func fromHub(ownerships []azeventhubs.Ownership) []checkpointstore.Ownership {
	out := make([]checkpointstore.Ownership, len(ownerships))
	for i, o := range ownerships {
		out[i] = checkpointstore.Ownership(o)
	}
	return out
}

func toHub(ownerships []checkpointstore.Ownership) []azeventhubs.Ownership {
	out := make([]azeventhubs.Ownership, len(ownerships))
	for i, o := range ownerships {
		out[i] = azeventhubs.Ownership(o)
	}
	return out
}
