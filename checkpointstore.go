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
// The first three segments are in lower case, the partition as it is. This is,
// byte for byte, what the .NET, JavaScript and Python packages write; see
// [BlobNaming] for the official Go, Java and Rust stores, which keep the names
// as they were typed.
//
// # At least once
//
// A position that was stored is not lost, but it is not exact either: events
// handled after the last checkpoint are handled again by whoever takes the
// partition over. Handlers must bear duplicates.
//
// # Around it
//
// The module github.com/ea947076/checkpointstore/processor hands a store to
// azeventhubs.NewProcessor. Package memstore keeps the contract in memory, and
// package storetest is its conformance suite.
package checkpointstore

import (
	"context"
	"time"
)

// CheckpointStore is what the consumers of an event hub agree on. Every method
// may be called from several goroutines at once, takes nil options as the zero
// value, and neither keeps nor changes what it is given.
//
// # Scope
//
// The fully qualified namespace ("mynamespace.servicebus.windows.net"), event
// hub and consumer group name a scope, as Event Hubs does, ignoring the case of
// the letters A to Z; the partition id is compared as it is. Scopes do not see
// each other. Records come back with the caller's spelling of the scope.
//
// # Claiming
//
// A claim names the state that it replaces. Without an ETag it wins only if the
// partition has no record; with an ETag it wins only if the record still has
// that ETag. Of any number of claims that name the same state, one wins. Every
// win gives the record a new ETag, so that all other claims on the old one lose.
// The text of an ETag may be quoted or not; a claim takes both.
//
// A renewal is a claim by the owner on its last ETag. Relinquishing is a claim
// with an empty owner id: the record stays, with a new ETag, and can be claimed
// at once. A store never looks at the clock: when an ownership has expired is
// for the caller to say, from LastModifiedTime, which is the store's time of the
// last win and does not go back from one win to the next.
//
// A record does not go away by itself. If somebody deleted it, a claim on its
// last ETag may lose, or may make it anew, for one claimant.
//
// A lost claim is an outcome, not an error: the partition is missing from what
// ClaimOwnership returns.
//
// # Checkpoints
//
// A checkpoint needs a sequence number, which is what positions are compared by;
// the offset is opaque text. A store refuses, with [ErrStaleCheckpoint], to go
// back behind a position that it wrote itself, so that asynchronous writes of
// one owner may arrive in any order and the furthest stays. It does so until it
// wins the partition anew: on another ETag than that of its own last win, or
// after it relinquished it. [UpdateCheckpointOptions].Rewind goes back on
// purpose. What a store does about the writes of others, it documents; see
// [BlobCheckpointStore.UpdateCheckpoint].
//
// # Errors
//
// What cannot be stored is refused before anything else, also if the context has
// ended. A context that has ended is an error that [errors.Is] finds.
//
// # After a crash
//
// What a method returned without an error is stored. What it returned an error
// for may or may not be: list again before building on it. An owner that died
// keeps its record until somebody claims it with the record's ETag; its
// partition goes on from the last checkpoint that was stored, at least once.
//
// # Order
//
// Lists are in no particular order. A list that begins after a write
// has returned shows that write or a later one.
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
	// Errors: [ErrInvalidArgument] for a checkpoint that cannot be stored, one
	// without a sequence number among them; [ErrStaleCheckpoint] for a position
	// behind the stored one, which then stays as it is.
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
	// Rewind stores the position even if it lies behind the stored one: the
	// deliberate way back, for an operator or after a hub was recreated.
	Rewind bool

	// EnqueuedTime is when the event was enqueued, which is stored beside the
	// position, in UTC and to the millisecond, for lag to be told in time. Nil
	// stores none.
	EnqueuedTime *time.Time
}
