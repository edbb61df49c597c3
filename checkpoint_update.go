package checkpointstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// maxSteps ends an update that the service keeps sending in circles. Every
// round of it but the first means that somebody else wrote in between.
const maxSteps = 100

// UpdateCheckpoint stores a position, and keeps a position from being moved back
// by somebody who does not own the partition any more: an owner that was paused
// and resumed, a handler that ends late, a write that the network delayed.
//
// It does not look at the ownership. Instead, each write is conditional on the
// state of the checkpoint that this store knows of: the one that ListCheckpoints
// or GetCheckpoint showed first in its tenure of the partition, or that it wrote
// last. A tenure begins when this store claims the partition from another state
// than that of its own last claim, or after it relinquished it; without claims
// through this store there is one tenure. Then:
//
//   - nobody else has written since: the position is stored, also one behind
//     what was seen, as after the hub was recreated or an operator rewound;
//   - somebody else has, or nobody looked in this tenure: it is stored if it is
//     ahead of what is there, it counts as stored if it is the same, and
//     otherwise it is [ErrStaleCheckpoint] and nothing changes (without claims,
//     nobody needs to have looked);
//   - it is behind what this store itself wrote last in the tenure:
//     [ErrStaleCheckpoint], and nothing is sent.
//
// [UpdateCheckpointOptions].Rewind stores any position. With
// [BlobCheckpointStoreOptions].DisableFencing all of this is off, and the last writer
// wins. A record of another package without a sequence number is ahead of
// nothing. Once somebody looked, a handler of an earlier tenure cannot be told
// from one of this tenure until this one has written: end it before.
//
// On [ErrStaleCheckpoint] an owner can go on reading, and stop when its partition
// client says that the partition was lost: the position that is stored is further
// on than its own.
//
// Not errors: that the position is stored already, and a checkpoint that does
// not exist or was deleted, which is created. Errors: [ErrInvalidArgument],
// [ErrStaleCheckpoint], [ErrContainerNotFound], [ErrNotAuthorized].
//
// Requests: one in the steady state, Set Blob Metadata with If-Match, or Put
// Blob with If-None-Match: * for the first checkpoint of a partition. Before the
// first write of a tenure, Get Blob Properties if ListCheckpoints or
// GetCheckpoint did not show the state. After somebody else's write or an answer
// that was lost, Get Blob Properties, and the write once more. With DisableFencing: Set
// Blob Metadata, a Put Blob if there is no blob, and Set Blob Metadata again if
// somebody else was first. Updates of one partition are sent one after another.
func (s *BlobCheckpointStore) UpdateCheckpoint(ctx context.Context, checkpoint Checkpoint, options *UpdateCheckpointOptions) error {
	const op = "UpdateCheckpoint"
	if err := checkpoint.Validate(); err != nil {
		return withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	scope := s.scope(checkpoint.scope())
	p := s.partitions.of(scope, checkpoint.PartitionID)
	err := p.lock(ctx)
	if err == nil {
		defer p.unlock()
		b := p.client(s, scope, layout.Checkpoint, checkpoint.PartitionID)
		m := layout.CheckpointMetadata(*checkpoint.SequenceNumber, checkpoint.Offset)
		if s.settings.DisableFencing {
			err = overwrite(ctx, b, m)
		} else {
			err = p.update(ctx, b, m, *checkpoint.SequenceNumber, options != nil && options.Rewind)
		}
	}
	if err == nil {
		return nil
	}
	at := target{checkpoint.PartitionID, scope.Prefix(layout.Checkpoint) + checkpoint.PartitionID, writeBlob}
	var stale *staleError
	if errors.As(err, &stale) {
		return &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Kind: ErrStaleCheckpoint, Detail: stale.detail}
	}
	return s.failure(op, at, err)
}

// lock waits for the partition's turn to write, no longer than the context.
func (p *partition) lock(ctx context.Context) error {
	select {
	case p.writing <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *partition) unlock() { <-p.writing }

// update takes the steps that the fence asks for.
func (p *partition) update(ctx context.Context, b *blockblob.Client, m layout.Metadata, sequenceNumber int64, rewind bool) error {
	u, step := p.begin(sequenceNumber, rewind)
	var unsure error // of the last write, if it may have taken effect
	var now fence.Record
	for range maxSteps {
		switch step.Action {
		case fence.Done:
			return nil
		case fence.Failed:
			return unsure
		case fence.Stale:
			return p.stale(sequenceNumber, now)
		case fence.Read:
			r, err := read(ctx, b)
			switch {
			case ctx.Err() != nil && err != nil:
				return &readError{ctx.Err()}
			case err != nil:
				return cmp.Or(unsure, error(&readError{err}))
			}
			now = fenced(r)
			step = p.found(&u, now)
		default:
			a := write(ctx, b, m, step)
			unsure = nil
			switch {
			case a.outcome == failed, a.outcome == notFound && step.Action == fence.Create:
				return a.err
			case a.outcome == ambiguous && !a.sawConditionNotMet:
				unsure = a.err
			}
			step = p.wrote(&u, a)
		}
	}
	return fmt.Errorf("the checkpoint was not decided in %d requests: others write it all the time", maxSteps)
}

// write sends what a step asks for.
func write(ctx context.Context, b *blockblob.Client, m layout.Metadata, step fence.Step) writeResult {
	if step.Action == fence.Create {
		return create(ctx, b, m)
	}
	return replace(ctx, b, m, step.ETag)
}

// overwrite stores a position whatever is there.
func overwrite(ctx context.Context, b *blockblob.Client, m layout.Metadata) error {
	for range maxSteps {
		a := replace(ctx, b, m, "")
		if a.outcome != notFound {
			return a.err
		}
		a = create(ctx, b, m)
		if a.outcome != conditionNotMet && !a.sawConditionNotMet {
			return a.err
		}
	}
	return fmt.Errorf("the checkpoint was not written in %d requests: it is deleted and created all the time", 2*maxSteps)
}

// The fence's methods, under the partition's lock.

func (p *partition) begin(sequenceNumber int64, rewind bool) (fence.Update, fence.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fence.Begin(sequenceNumber, rewind)
}

func (p *partition) found(u *fence.Update, r fence.Record) fence.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fence.Found(u, r)
}

func (p *partition) wrote(u *fence.Update, a writeResult) fence.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case a.outcome == applied:
		return p.fence.Wrote(u, a.etag)
	case a.outcome == notFound:
		return p.fence.Gone(u)
	case a.outcome == ambiguous && !a.sawConditionNotMet:
		return p.fence.Unanswered(u)
	}
	return p.fence.Refused(u)
}

// staleError is what an [ErrStaleCheckpoint] says.
type staleError struct{ detail string }

func (e *staleError) Error() string { return e.detail }

func (p *partition) stale(given int64, read fence.Record) error {
	if read.ETag != "" {
		return &staleError{fmt.Sprintf("sequence number %d is behind %d, which somebody else stored", given, read.SequenceNumber)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &staleError{fmt.Sprintf("sequence number %d is behind %d, which this store wrote", given, p.fence.Position())}
}
