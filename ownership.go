package checkpointstore

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Ownership is the record of who reads a partition. It has the fields of the
// azeventhubs/v2 type of the same name and converts to it:
// azeventhubs.Ownership(o).
type Ownership struct {
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	PartitionID             string

	// OwnerID is who owns the partition: up to 2048 bytes of printable ASCII,
	// without leading, trailing or repeated spaces. It must be unique for each
	// process. Empty means relinquished: anybody can claim the partition at once.
	OwnerID string

	// LastModifiedTime is when the record was last written, by the store's clock,
	// in UTC; on blobs, to the second. Claims ignore it.
	LastModifiedTime time.Time

	// ETag identifies the state of the record. A claim wins only if the record
	// still has this ETag. Nil claims a partition that has no record.
	ETag *azcore.ETag
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot take
// the record as a claim. Stores call it before they send anything. It refuses:
//
//   - names that are empty, too long, or have slashes, control characters, a
//     trailing dot, or leading or trailing spaces;
//   - owner IDs that are too long, not printable ASCII, or have leading, trailing
//     or repeated spaces;
//   - names and owner IDs that contain a credential, such as a connection string;
//   - ETags that are empty, "*" in any quotes, or have spaces or characters other
//     than printable ASCII.
func (o Ownership) Validate() error {
	scope := o.scope()
	err := checkPartition(scope, o.PartitionID)
	if err == nil {
		err = layout.CheckOwnerID(o.OwnerID)
	}
	if err == nil && o.ETag != nil {
		err = layout.CheckETag(string(*o.ETag))
	}
	return invalid(o.PartitionID, err)
}

func (o Ownership) scope() layout.Scope {
	return scopeOf(o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup)
}

// GetOwnershipOptions has no fields yet.
type GetOwnershipOptions struct{}

// ListOwnership returns the ownership records of a scope: see [CheckpointStore]. It
// skips blobs that are not records: directories, snapshots, names below a
// partition, and names that no partition can have, which it logs once for each
// prefix. A record without an owner ID is relinquished.
//
// If the verbatim names differ from the store's spelling, as for "$Default", the
// store also checks every five minutes for a live owner under the verbatim names,
// and logs a warning: both would read the same partitions. The check never delays
// or fails the list. It is canceled when the list is done, and the next call then
// repeats it.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]. Any
// other failure, such as a response that is not a list, is an [*Error] whose Kind
// is nil.
//
// Requests: one List Blobs for each page of up to 5,000 blobs, always to the
// primary, and one more for a page that was cut off or that azblob has to decode.
// The check sends as many, at the same time. Safe for concurrent use.
func (s *BlobCheckpointStore) ListOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListOwnershipOptions) ([]Ownership, error) {
	const op = "ListOwnership"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid("", verbatim.Check()); err != nil {
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	own := s.scope(verbatim)
	var found []blobState
	var err error
	s.besideLook(ctx, verbatim, func() { found, err = s.list(ctx, own, layout.Ownership) })
	if err != nil {
		return nil, s.failure(op, target{blobName: own.Prefix(layout.Ownership), action: listBlobs}, err)
	}
	ownerships := make([]Ownership, 0, len(found))
	for _, r := range found {
		ownerships = append(ownerships, ownershipOf(verbatim, r.partitionID, r))
	}
	return ownerships, nil
}

// GetOwnership returns the ownership record of one partition. A relinquished record
// is not an error.
//
// Errors: [ErrNotFound] for a partition that was never claimed,
// [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized].
//
// Requests: one Get Blob Properties, always to the primary. Safe for concurrent
// use.
func (s *BlobCheckpointStore) GetOwnership(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *GetOwnershipOptions) (Ownership, error) {
	const op = "GetOwnership"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid(partitionID, checkPartition(verbatim, partitionID)); err != nil {
		return Ownership{}, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	at := target{partitionID, s.scope(verbatim).BlobName(layout.Ownership, partitionID), readBlob}
	r, err := read(ctx, s.blob(at.blobName))
	if err != nil {
		return Ownership{}, s.failure(op, at, err)
	}
	if r.etag == "" {
		return Ownership{}, recordNotFound(op, at)
	}
	return ownershipOf(verbatim, partitionID, r), nil
}

// ownershipOf converts an ownership blob, in the caller's spelling.
func ownershipOf(verbatim layout.Scope, partitionID string, r blobState) Ownership {
	o := Ownership{
		ConsumerGroup:           verbatim.ConsumerGroup,
		EventHubName:            verbatim.EventHub,
		FullyQualifiedNamespace: verbatim.Namespace,
		PartitionID:             partitionID,
		OwnerID:                 r.values.OwnerID(),
		LastModifiedTime:        r.lastModified,
	}
	if r.etag != "" {
		etag := azcore.ETag(r.etag)
		o.ETag = &etag
	}
	return o
}
