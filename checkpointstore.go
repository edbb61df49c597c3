// Package checkpointstore keeps the partition ownerships and the checkpoints of
// Azure Event Hubs consumers in an Azure Blob Storage container.
//
// Consumers that share the partitions of an event hub have to agree on two things:
// who reads each partition ([Ownership]), and how far it has been read
// ([Checkpoint]). This package defines the contract of a store for both
// ([CheckpointStore]) and implements it on blobs ([BlobCheckpointStore]): one empty
// blob for each partition and kind, all data in its metadata, and conditional
// writes by ETag as the only lock.
//
// # Storage format
//
//	<namespace>/<event hub>/<consumer group>/ownership/<partition>    metadata: ownerid
//	<namespace>/<event hub>/<consumer group>/checkpoint/<partition>   metadata: sequencenumber, offset
//
// A checkpoint also has clientidentifier, the owner ID of the writer, if the writer
// claimed the partition; enqueuedtime, if the writer gave it; and generation, if
// the partition was ever rewound. The first three segments are in lower case; the
// partition ID is written as it is. The .NET, JavaScript and Python packages write
// the same names and keys. The official Go, Java and Rust stores write the names as
// the caller spells them: see [BlobNaming].
//
// # At least once
//
// Events that were handled after the last stored checkpoint are handled again by
// the next owner of the partition. Handlers must tolerate duplicates.
//
// # Contract: scopes
//
// The fully qualified namespace ("mynamespace.servicebus.windows.net"), the event
// hub and the consumer group together name a scope. As in Event Hubs, the case of
// the letters A to Z does not matter in these names; partition IDs are compared
// exactly. Scopes are independent of each other. Records are returned with the
// caller's spelling of the scope.
//
// # Contract: claims
//
// A claim names the state that it replaces. Without an ETag it wins only if the
// partition has no record; with an ETag it wins only if the record still has that
// ETag. Of any number of claims on the same state, one wins. Every win gives the
// record a new ETag, so that all other claims on the old one lose. A claim takes an
// ETag with or without quotes.
//
// A renewal is a claim by the owner on its last ETag. A claim with an empty owner
// ID relinquishes the partition: the record stays, with a new ETag, and can be
// claimed at once. A store does not expire ownerships: the caller decides, by
// LastModifiedTime, which is the store's time of the last win and does not go back
// from one win to the next.
//
// No method of [CheckpointStore] deletes a record. If somebody deleted one, a claim
// on its last ETag either loses or creates the record again, for one claimant.
//
// A lost claim is an outcome, not an error: the partition is missing from what
// ClaimOwnership returns.
//
// # Contract: checkpoints
//
// A checkpoint needs a sequence number, by which positions are compared; the offset
// is opaque text. An update that is behind the stored position fails with
// [ErrStaleCheckpoint], whoever stored that position. Updates may therefore arrive
// in any order, and the furthest one stays. [UpdateCheckpointOptions].First stores a
// position only where there is none.
//
// [UpdateCheckpointOptions].Rewind stores any position and begins the next
// generation. An update of an earlier generation than the stored one fails with
// [ErrRewound], whether its position is ahead or behind. An update belongs to the
// generation that the first ListCheckpoints of its tenure found, and before that
// list to the generation of the previous tenure. A tenure is the time from one
// take-over of a partition to the next (Raft's term, the generation of a Kafka
// group). It begins when the store wins the partition under another owner ID, on an
// ETag other than that of its own last win, or after it relinquished the partition.
// A store that never claims has one tenure.
//
// # Contract: errors
//
// Arguments are checked first: a call with an argument that cannot be stored fails
// with [ErrInvalidArgument] even if the context has ended. If the context has
// ended, [errors.Is] finds its error.
//
// # Contract: after a crash
//
// A write that returned no error is stored. A write that returned an error may be
// stored or not: list again before you rely on either. An owner that died keeps its
// record until somebody claims it with the record's ETag; the partition then
// continues from the last stored checkpoint, at least once.
//
// # Contract: order
//
// Lists are in no particular order. A list that begins after a write has returned
// shows that write or a later one.
//
// # Related packages
//
// The module github.com/ea947076/checkpointstore/processor is an event processor on
// such a store, and an adapter for azeventhubs.NewProcessor. Package memstore
// implements the contract in memory. Package ops shows and changes what a store
// holds. Package storetest is the conformance suite for authors of stores.
package checkpointstore

import (
	"context"
	"errors"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// CheckpointStore is where the consumers of an event hub keep ownerships and
// checkpoints: two lists and two conditional writes. All methods may be called
// concurrently, take nil options as the zero value, and neither keep nor change
// their arguments.
//
// The package comment states the rules that every store follows: scopes, claims,
// checkpoints, errors and order. A store documents only what it adds. To implement
// a store, see [ValidateClaims], [ValidateScope] and package storetest.
type CheckpointStore interface {
	// ListOwnership returns the ownership records of a scope, each with the ETag to
	// claim it with. Relinquished records (OwnerID "") are included. A scope
	// without records returns an empty list and no error.
	//
	// Errors: [ErrInvalidArgument] for a name that cannot be stored.
	ListOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListOwnershipOptions) ([]Ownership, error)

	// ClaimOwnership tries to claim each partition for the OwnerID in its record.
	// It returns the records that it won, in the order of the claims, with their
	// new ETag and LastModifiedTime. A lost partition is left out and is not an
	// error. No claims return no records and no error.
	//
	// The won records are returned even if other claims failed: the error is then a
	// [*PartitionErrors] with one entry for each partition whose claim could not be
	// decided. If the context ends during the call, these entries have the
	// context's error.
	//
	// Errors: [ErrInvalidArgument], before anything is claimed, for a record that
	// cannot be stored and for a partition that appears twice.
	ClaimOwnership(ctx context.Context, ownerships []Ownership, options *ClaimOwnershipOptions) ([]Ownership, error)

	// UpdateCheckpoint stores a position. It does not check who owns the partition.
	// Storing the stored position again is not an error.
	//
	// Errors, which leave the stored checkpoint unchanged: [ErrInvalidArgument] for
	// a checkpoint that cannot be stored, such as one without a sequence number;
	// [ErrStaleCheckpoint] for a position behind the stored one, and with First for
	// any if there is one; [ErrRewound] for an update of an earlier generation than
	// the stored one.
	UpdateCheckpoint(ctx context.Context, checkpoint Checkpoint, options *UpdateCheckpointOptions) error

	// ListCheckpoints returns the checkpoints of a scope, at most one for each
	// partition. Partitions without a checkpoint are not in the list. A scope
	// without checkpoints returns an empty list and no error.
	//
	// Errors: [ErrInvalidArgument] for a name that cannot be stored.
	ListCheckpoints(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListCheckpointsOptions) ([]Checkpoint, error)
}

// ListOwnershipOptions has no fields yet.
type ListOwnershipOptions struct{}

// ClaimOwnershipOptions has no fields yet.
type ClaimOwnershipOptions struct{}

// ListCheckpointsOptions has no fields yet.
type ListCheckpointsOptions struct{}

// UpdateCheckpointOptions are the options of [CheckpointStore].UpdateCheckpoint.
type UpdateCheckpointOptions struct {
	// Rewind stores the position even if it is behind the stored one, and begins
	// the next generation: from then on, every update of an earlier generation
	// fails with [ErrRewound], that of a live owner too. The owner then gives the
	// partition up and starts again from this position. Rewind is for operators,
	// and for an event hub that was created anew.
	//
	// Other packages drop the generation when they write. Against their consumers,
	// a rewind holds only until one of them stores a position.
	//
	// Of two concurrent rewinds, the one that is stored last counts. A rewind fails
	// with [ErrRewound] if its response was lost and somebody else rewound the
	// partition since.
	Rewind bool

	// First stores the position only if the partition has no checkpoint, under any
	// spelling that the store reads, and fails with [ErrStaleCheckpoint] if it has
	// one, ahead or behind. It is for the position at which a consumer begins a
	// partition that has none: of several that choose one at the same time, the first
	// to be stored counts, and none skips what another has yet to handle. It cannot
	// be combined with Rewind.
	First bool

	// EnqueuedTime is when the event was enqueued. It is stored with the position,
	// in UTC to the millisecond (RFC 3339), so that monitoring can compute lag as a
	// time without another request. Nil stores none.
	EnqueuedTime *time.Time
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot take
// the options: First together with Rewind, or an enqueued time outside the years 0 to
// 9999. Nil options are valid. Validate is for authors of stores.
func (o *UpdateCheckpointOptions) Validate() error {
	switch {
	case o == nil:
		return nil
	case o.First && o.Rewind:
		return invalid("", errors.New("the options First and Rewind exclude each other: the one stores only where nothing is stored, the other replaces what is"))
	case o.EnqueuedTime == nil:
		return nil
	}
	return invalid("", layout.CheckEnqueuedTime(*o.EnqueuedTime))
}
