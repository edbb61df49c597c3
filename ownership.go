package checkpointstore

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Ownership is the record that says who reads a partition. It has the fields of
// the azeventhubs/v2 type of the same name, so that one converts to the other:
// azeventhubs.Ownership(o).
type Ownership struct {
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	PartitionID             string

	// OwnerID is who owns the partition: up to 2048 bytes of printable ASCII,
	// without spaces around it or several in a row. Empty means relinquished:
	// free to be claimed at once.
	OwnerID string

	// LastModifiedTime is when the record was written last, by the store's
	// clock, in UTC, to the second on blobs. Claims ignore it.
	LastModifiedTime time.Time

	// ETag is the state of the record. A claim wins only if it is still the
	// record's; nil claims a partition that has no record.
	ETag *azcore.ETag
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot
// take the record as a claim: a name that is empty, too long, or has slashes,
// control characters, a final dot or outer spaces; an owner id that is too long,
// not printable ASCII, or has outer or repeated spaces; a name or an owner id that
// holds a credential, such as a connection string; an ETag that is empty,
// "*" in any quotes, or has spaces or characters other than printable ASCII.
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

// ListOwnership returns the ownership records of a scope, as [CheckpointStore]
// has it: every record can be claimed with its ETag. It skips blobs that are no
// records: directories, snapshots and the like, deeper names, and names that no
// partition can have, which it logs once for each prefix. A missing owner ID
// means relinquished.
//
// If the verbatim names differ from the store's spelling, as "$Default" does, it
// also looks there for a live owner, which would read the same partitions without
// seeing this store, and logs a warning. This look is not part of the result, its
// failure is not an error, and it never delays the list: it ends with the list,
// and takes place again in the next call if it was not completed.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]; others
// are an [*Error] whose Kind is nil, also for a response that is not a list.
// Requests: one List Blobs for each page of up to 5,000 blobs, always at the
// primary, and again for a page that was cut off or that azblob has to decode; as
// many for the look, at the same time, every five minutes. It may be called
// concurrently.
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

// GetOwnership returns the ownership record of one partition. A relinquished one
// is not an error.
//
// Errors: [ErrNotFound] for a partition that was never claimed,
// [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized].
// Requests: one Get Blob Properties, always at the primary. It may be called
// concurrently.
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
