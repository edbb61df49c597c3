package checkpointstore

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// Checkpoint is the record of how far a partition has been read: the position of
// the last event that was handled. It has the fields of the azeventhubs/v2 type of
// the same name and converts to it: azeventhubs.Checkpoint(c).
type Checkpoint struct {
	ConsumerGroup           string
	EventHubName            string
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	PartitionID             string

	// Offset is the event's offset, an opaque text: up to 2048 bytes of printable
	// ASCII, without leading, trailing or repeated spaces. Nil means that it is not
	// known. The texts that other packages write for "none" ("", "no offset",
	// "None") count as nil.
	Offset *string

	// SequenceNumber is the event's sequence number, by which positions are
	// compared. A checkpoint cannot be stored without it. It is nil if another
	// package stored a checkpoint without one.
	SequenceNumber *int64
}

// Validate returns an error of the kind [ErrInvalidArgument] if a store cannot take
// the checkpoint. Stores call it before they send anything. It refuses:
//
//   - names that are empty, too long, or have slashes, control characters, a
//     trailing dot, or leading or trailing spaces;
//   - names that contain a credential, such as a connection string;
//   - offsets that are too long, not printable ASCII, or have leading, trailing or
//     repeated spaces;
//   - a missing sequence number, and the smallest int64.
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

// ListCheckpoints returns the checkpoints of a scope: see [CheckpointStore]. It
// skips the same blobs as [BlobCheckpointStore.ListOwnership]. A record whose
// position cannot be read has a nil Offset and SequenceNumber and is logged as a
// warning. It is not an error, so that a processor can refuse this partition and
// read the others.
//
// If the verbatim names differ from the store's spelling, as for "$Default", the
// store reads both and returns the record of each partition that was modified last,
// by the service's clock, or its own on a tie. Once it finds none under the
// verbatim names, it skips them for five minutes. [BlobNamingLowerCaseOnly] skips
// them for good.
//
// Errors: [ErrInvalidArgument], [ErrContainerNotFound], [ErrNotAuthorized]. Any
// other failure, such as a response that is not a list, is an [*Error] whose Kind
// is nil.
//
// Requests: one List Blobs for each page of up to 5,000 blobs, always to the
// primary, and one more for a page that was cut off or that azblob has to decode;
// as many for the verbatim names, at the same time. Safe for concurrent use.
func (s *BlobCheckpointStore) ListCheckpoints(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup string, options *ListCheckpointsOptions) ([]Checkpoint, error) {
	const op = "ListCheckpoints"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid("", verbatim.Check()); err != nil {
		return nil, withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	own := s.scope(verbatim)
	_, differs := s.otherScope(verbatim)
	began, mark := s.now(), s.partitions.mark()
	both := differs && s.spellings.mayHaveCheckpoints(verbatim, began)
	found, newest, err := readSpellings(own, verbatim, both, func(scope layout.Scope) ([]blobState, error) {
		r, err := s.list(ctx, scope, layout.Checkpoint)
		if err != nil {
			return nil, s.failure(op, target{blobName: scope.Prefix(layout.Checkpoint), action: listBlobs}, err)
		}
		if both && scope == verbatim {
			s.spellings.listedCheckpoints(verbatim, began, len(r) == 0)
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	s.partitions.listed(own, found, newest, mark)
	checkpoints := make([]Checkpoint, 0, len(newest))
	for _, r := range newest {
		checkpoints = append(checkpoints, s.checkpointOf(ctx, verbatim, r))
	}
	return checkpoints, nil
}

// GetCheckpoint returns the checkpoint of one partition. It chooses between the
// spellings as [BlobCheckpointStore.ListCheckpoints] does, but always reads both.
//
// With SecondaryHost, a retry after a failure of the primary goes to the secondary.
// A checkpoint from there may be older than the last successful write. If the
// secondary has none, the error is the primary's, never [ErrNotFound].
//
// Errors: [ErrNotFound] for a partition without a checkpoint, [ErrInvalidArgument],
// [ErrContainerNotFound], [ErrNotAuthorized].
//
// Requests: one Get Blob Properties, and one for the verbatim name if it differs,
// at the same time. Safe for concurrent use.
func (s *BlobCheckpointStore) GetCheckpoint(ctx context.Context, fullyQualifiedNamespace, eventHubName, consumerGroup, partitionID string, options *GetCheckpointOptions) (Checkpoint, error) {
	const op = "GetCheckpoint"
	verbatim := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	if err := invalid(partitionID, checkPartition(verbatim, partitionID)); err != nil {
		return Checkpoint{}, withOp(op, err)
	}
	ctx, cancel := s.deadline(withSecondaryReads(ctx))
	defer cancel()
	own := s.scope(verbatim)
	_, both := s.otherScope(verbatim)
	known, mark := s.partitions.known(own, partitionID), s.partitions.mark()
	found, newest, err := readSpellings(own, verbatim, both, func(scope layout.Scope) ([]blobState, error) {
		prefix := scope.Prefix(layout.Checkpoint)
		var b *blockblob.Client
		if known != nil && scope == own {
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
	})
	if err != nil {
		return Checkpoint{}, err
	}
	s.partitions.read(own, partitionID, found, newest, mark)
	if len(newest) == 0 {
		return Checkpoint{}, recordNotFound(op, target{partitionID: partitionID, blobName: own.BlobName(layout.Checkpoint, partitionID)})
	}
	return s.checkpointOf(ctx, verbatim, newest[0]), nil
}

// readSpellings reads checkpoints under the store's own spelling of a scope, which
// is what writes replace, and, if both is set, under the verbatim names at the same
// time. It also returns the newest of each partition; the store's own on a tie.
func readSpellings(own, verbatim layout.Scope, both bool, read func(layout.Scope) ([]blobState, error)) (found, newest []blobState, err error) {
	if !both {
		found, err = read(own)
		return found, found, err
	}
	var other []blobState
	var otherErr error
	var reading sync.WaitGroup
	reading.Go(func() { other, otherErr = read(verbatim) })
	found, err = read(own)
	reading.Wait()
	if err = cmp.Or(err, otherErr); err != nil {
		return nil, nil, err
	}
	return found, newestOfEach(slices.Concat(other, found)), nil
}

// checkpointOf converts a checkpoint blob, in the caller's spelling.
func (s *BlobCheckpointStore) checkpointOf(ctx context.Context, verbatim layout.Scope, r blobState) Checkpoint {
	offset, sequenceNumber := r.values.Position()
	if offset == nil && sequenceNumber == nil {
		s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
			"a checkpoint has no readable position, so its partition cannot be read; store one, or delete the blob to start at the default position",
			slog.String("blob", oneLine(r.prefix+r.partitionID)))
	}
	return Checkpoint{
		ConsumerGroup:           verbatim.ConsumerGroup,
		EventHubName:            verbatim.EventHub,
		FullyQualifiedNamespace: verbatim.Namespace,
		PartitionID:             r.partitionID,
		Offset:                  offset,
		SequenceNumber:          sequenceNumber,
	}
}
