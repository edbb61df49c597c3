package checkpointstore

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Checkpoint is the record that says how far a partition was read: the position
// of the last event that was handled. It has the fields of the azeventhubs/v2
// type of the same name, so that one converts to the other:
// azeventhubs.Checkpoint(c).
type Checkpoint struct {
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	PartitionID             string

	// Offset is the event's offset, opaque text: up to 2048 bytes of printable
	// ASCII, without spaces around it or several in a row. Nil where none is
	// known. The texts that other packages write for "none" ("", "no offset",
	// "None") count as nil.
	Offset *string

	// SequenceNumber is the event's sequence number, by which positions are
	// compared. A checkpoint cannot be stored without it; one that another
	// package wrote may come back without.
	SequenceNumber *int64
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot
// take the checkpoint: a name that is empty, too long, or has slashes, control
// characters, a final dot or outer spaces, or that holds a credential; an offset that is too long, not
// printable ASCII, or has outer or repeated spaces; no sequence number, or the
// smallest int64.
func (c Checkpoint) Validate() error {
	err := checkPartition(c.scope(), c.PartitionID)
	if err == nil && c.Offset != nil {
		err = layout.CheckOffset(*c.Offset)
	}
	if err == nil && c.SequenceNumber == nil {
		err = errors.New("the checkpoint has no sequence number, without which other packages fail their whole list")
	}
	if err == nil {
		err = layout.CheckSequenceNumber(*c.SequenceNumber)
	}
	return invalid(c.PartitionID, err)
}

func (c Checkpoint) scope() layout.Scope {
	return scopeOf(c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup)
}

// GetCheckpointOptions has no fields yet.
type GetCheckpointOptions struct{}

// ListCheckpoints returns the checkpoints of a scope, as [CheckpointStore] has
// it. Blobs that are not direct children of the prefix and the directory stubs
// of accounts with a hierarchical namespace are skipped.
//
// A blob without any readable position comes back with Offset and SequenceNumber
// nil, and is logged as a warning with its name: a processor then refuses that
// one partition. To skip it would restart the partition at the default position;
// to fail would stop them all.
//
// If the names as typed differ from the store's spelling, as "$Default" does
// from "$default", what stands under them is read too, and for each partition
// the record that was modified last is returned (by the service's clock; the
// store's own on a tie). So a fleet that comes from the official Go, Java or
// Rust store goes on where it was, and a deliberate rewind is not undone by an
// old record. [BlobNamingLowerCaseOnly] switches it off.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]; an
// error of no kind for a list that goes round or on after 1000 pages or 2^20
// records.
// Requests: one List Blobs for each page of up to 5000 blobs, again for a page
// that was cut or is written in a way that azblob alone understands, and as many
// under the names as typed, at the same time.
func (s *BlobCheckpointStore) ListCheckpoints(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListCheckpointsOptions) ([]Checkpoint, error) {
	const op = "ListCheckpoints"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid("", verbatim.Check()); err != nil {
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(withSecondaryReads(ctx))
	defer cancel()
	found, err := s.newest(verbatim, func(prefix string) ([]blobState, error) {
		at := target{blobName: prefix, action: listBlobs}
		r, err := s.list(ctx, prefix)
		if err != nil {
			return nil, s.failure(op, at, err)
		}
		return r, nil
	}, s.partitions.listed)
	if err != nil {
		return nil, err
	}
	checkpoints := make([]Checkpoint, 0, len(found))
	for _, f := range found {
		checkpoints = append(checkpoints, s.checkpointOf(ctx, verbatim, f))
	}
	return checkpoints, nil
}

// GetCheckpoint returns the checkpoint of one partition, by the same rules as
// [BlobCheckpointStore.ListCheckpoints].
//
// Errors: [ErrNotFound] for a partition without a checkpoint,
// [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]. It sends one
// request, Get Blob Properties, and one for the name as typed where that differs.
func (s *BlobCheckpointStore) GetCheckpoint(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *GetCheckpointOptions) (Checkpoint, error) {
	const op = "GetCheckpoint"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid(partitionID, checkPartition(verbatim, partitionID)); err != nil {
		return Checkpoint{}, withOp(op, err)
	}
	ctx, cancel := s.deadline(withSecondaryReads(ctx))
	defer cancel()
	own := s.scope(verbatim)
	known := s.partitions.known(own, partitionID)
	found, err := s.newest(verbatim, func(prefix string) ([]blobState, error) {
		var b *blockblob.Client
		if known != nil && prefix == own.Prefix(layout.Checkpoint) {
			b = known.client(s, own, layout.Checkpoint, partitionID)
		} else {
			b = s.blob(prefix + partitionID)
		}
		r, err := read(ctx, b)
		if err != nil {
			return nil, s.failure(op, target{partitionID, prefix + partitionID, readBlob}, err)
		}
		if r.etag == "" {
			return nil, nil
		}
		r.prefix, r.partitionID = prefix, partitionID
		return []blobState{r}, nil
	}, func(scope layout.Scope, own, newest []blobState, mark uint64) {
		s.partitions.read(scope, partitionID, own, newest, mark)
	})
	if err != nil {
		return Checkpoint{}, err
	}
	if len(found) == 0 {
		return Checkpoint{}, recordNotFound(op, target{partitionID: partitionID, blobName: s.scope(verbatim).Prefix(layout.Checkpoint) + partitionID})
	}
	return s.checkpointOf(ctx, verbatim, found[0]), nil
}
