// Package checkpointstore keeps the partition ownerships and the checkpoints of
// Azure Event Hubs consumers in an Azure Blob Storage container.
//
// A fleet of consumers that shares the partitions of an event hub agrees in a
// checkpoint store on two things: who reads which partition ([Ownership]) and
// how far it got ([Checkpoint]). This package states the contract of such a
// store ([CheckpointStore]) and implements it on blobs ([BlobCheckpointStore]):
// one empty blob for each partition and kind, all data in its metadata, and
// ETag conditional writes as the only lock.
//
// # Storage format
//
//	<namespace>/<event hub>/<consumer group>/ownership/<partition>    metadata: ownerid
//	<namespace>/<event hub>/<consumer group>/checkpoint/<partition>   metadata: sequencenumber, offset
//
// A checkpoint also has clientidentifier, the owner id of a writer that claimed
// the partition; enqueuedtime, if the writer gave it; and generation, if the
// partition was ever rewound. The first three segments are in lower case, the
// partition as it is. The .NET, JavaScript and Python packages write the same
// names and keys; see [BlobNaming] for the official Go, Java and Rust stores,
// which keep the names as they were typed.
//
// # At least once
//
// A position that was stored is not lost, but it is not exact either: events
// handled after the last checkpoint are handled again by whoever takes the
// partition over. Handlers must tolerate duplicates.
//
// # Contract: scopes
//
// The fully qualified namespace ("mynamespace.servicebus.windows.net"), event
// hub and consumer group name a scope, as Event Hubs does, ignoring the case of
// the letters A to Z; the partition id is compared as it is. Scopes do not see
// each other. Records come back with the caller's spelling of the scope.
//
// # Contract: claims
//
// A claim names the state that it replaces. Without an ETag it wins only if the
// partition has no record; with an ETag it wins only if the record still has
// that ETag. Of any number of claims that name the same state, one wins. Every
// win gives the record a new ETag, so that all other claims on the old one lose.
// The text of an ETag may be quoted or not; a claim takes both.
//
// A renewal is a claim by the owner on its last ETag. Relinquishing is a claim
// with an empty owner id: the record stays, with a new ETag, and can be claimed
// at once. A store never looks at the clock: the caller decides when an ownership has
// expired, from LastModifiedTime, which is the store's time of the last win and
// does not go back from one win to the next.
//
// A record does not go away by itself. If somebody deleted it, a claim on its
// last ETag may lose, or may make it anew, for one claimant.
//
// A lost claim is an outcome, not an error: the partition is missing from what
// ClaimOwnership returns.
//
// # Contract: checkpoints
//
// A checkpoint needs a sequence number, by which positions are compared; the
// offset is opaque text. A position behind the stored one is refused with
// [ErrStaleCheckpoint], whoever stored that, so that updates may arrive in any
// order and the furthest stays. A position ahead of it is progress, and kept.
//
// [UpdateCheckpointOptions].Rewind stores any position and begins the next
// generation. An update that belongs to an earlier generation than the stored
// one is refused with [ErrRewound], ahead or behind. An update belongs to the
// generation that the first ListCheckpoints of its tenure showed, and before
// that look to the generation of the tenure before. A tenure begins when the
// store wins the partition under another owner id, on another ETag than that of
// its own last win, or after it relinquished the partition: Raft's term, the
// generation of a Kafka group. A store without claims has one tenure.
//
// # Contract: errors
//
// What cannot be stored is refused before anything else, also if the context has
// ended. A context that has ended is an error that [errors.Is] finds.
//
// # Contract: after a crash
//
// What a method returned without an error is stored. What it returned an error
// for may or may not be: list again before building on it. An owner that died
// keeps its record until somebody claims it with the record's ETag; its
// partition goes on from the last checkpoint that was stored, at least once.
//
// # Contract: order
//
// Lists are in no particular order. A list that begins after a write
// has returned shows that write or a later one.
//
// # Related packages
//
// The module github.com/ea947076/checkpointstore/processor is an event processor
// on such a store, and an adapter for azeventhubs.NewProcessor. Package memstore keeps the contract in memory, and
// package storetest is its conformance suite.
package checkpointstore

import (
	"context"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// CheckpointStore is what the consumers of an event hub agree on. Every method
// may be called from several goroutines at once, takes nil options as the zero
// value, and neither keeps nor changes what it is given.
//
// It has two lists and two conditional writes. The package comment states the
// rules that all stores keep: scopes, claims, checkpoints, errors and order. A
// store documents only what it adds. Package storetest checks them.
type CheckpointStore interface {
	// ListOwnership returns the ownership records of a scope, relinquished ones
	// (OwnerID "") included, each with the ETag to claim it with. A scope that
	// nobody ever claimed in gives an empty list and no error.
	//
	// Errors: [ErrInvalidArgument] for a name that cannot be stored.
	ListOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListOwnershipOptions) ([]Ownership, error)

	// ClaimOwnership tries to claim each partition for the OwnerID that stands
	// in its record, and returns the records that it won, in the order asked,
	// with their new ETag and LastModifiedTime. A lost partition is left out and
	// is not an error. No claims give no records and no error.
	//
	// Winners are returned whatever became of the others: if some partitions
	// could not be decided, the error is a [*PartitionErrors] with one entry for
	// each of them. A context that ends in the middle gives what was won until
	// then, and the context's error for the others.
	//
	// Errors: [ErrInvalidArgument], before anything is claimed, for a record that
	// cannot be stored and for a partition that is asked for twice.
	ClaimOwnership(ctx context.Context, ownerships []Ownership, options *ClaimOwnershipOptions) ([]Ownership, error)

	// UpdateCheckpoint stores a position. It does not look at who owns the
	// partition. To store the stored position again is not an error.
	//
	// Errors: [ErrInvalidArgument] for a checkpoint that cannot be stored, such as
	// one without a sequence number; [ErrStaleCheckpoint] for a position behind
	// the stored one; [ErrRewound] for an update that belongs to an earlier
	// generation than the stored one. What is stored then stays as it is.
	UpdateCheckpoint(ctx context.Context, checkpoint Checkpoint, options *UpdateCheckpointOptions) error

	// ListCheckpoints returns the checkpoints of a scope, at most one for each
	// partition. A partition without one is not in the list; a scope without any
	// gives an empty list and no error.
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
	// Rewind stores the position wherever the stored one is, and begins the next
	// generation: every update that belongs to an earlier one fails with
	// [ErrRewound] from then on, also that of a live owner. That owner gives the
	// partition up and starts again from this position. It is for an operator, and
	// after an event hub was created anew. Other packages drop the generation when
	// they write; until then a rewind holds against their consumers only as far as
	// their own positions do not pass it.
	//
	// Two rewinds at once: one goes on top of the other. A rewind fails with
	// [ErrRewound] if its answer was lost and somebody else rewound since.
	Rewind bool

	// EnqueuedTime is when the event was enqueued. It is stored beside the position,
	// in UTC to the millisecond (RFC 3339), so that lag can be told in time without
	// another request. Nil stores none.
	EnqueuedTime *time.Time
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot
// take the options: an enqueued time outside of the years 0 to 9999. Nil options
// are valid.
func (o *UpdateCheckpointOptions) Validate() error {
	if o == nil || o.EnqueuedTime == nil {
		return nil
	}
	return invalid("", layout.CheckEnqueuedTime(*o.EnqueuedTime))
}
