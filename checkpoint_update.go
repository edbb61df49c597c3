package checkpointstore

import (
	"cmp"
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// maxSteps ends an update that the service never decides. Every step after the
// first few means that somebody else wrote the record in between.
const maxSteps = 100

// UpdateCheckpoint stores a position: see [CheckpointStore]. It does not check the
// ownership. Instead, each write is conditional on the ETag of the record that the
// position was compared with, whoever wrote that record. docs/design.md has the
// rules in full.
//
// Not errors: the position that is stored already, and a checkpoint that does not
// exist or was deleted, which is created.
//
// Errors: [ErrInvalidArgument]; [ErrStaleCheckpoint] for a position behind the
// stored one, and with First if there is one; [ErrRewound] for an update of an
// earlier generation; [ErrContainerNotFound], [ErrNotAuthorized], [ErrCredential].
//
// Requests: one in the steady state, Set Blob Metadata with If-Match, or Put Blob
// with If-None-Match for a first checkpoint. If nothing was listed since the claim,
// one Get Blob Properties for each spelling comes before it. After a write by
// somebody else or a lost response, Get Blob Properties and the write follow once
// more. Safe for concurrent use: updates of one partition are sent one after
// another.
func (s *BlobCheckpointStore) UpdateCheckpoint(ctx context.Context, checkpoint Checkpoint, options *UpdateCheckpointOptions) error {
	const op = "UpdateCheckpoint"
	if options == nil {
		options = &UpdateCheckpointOptions{}
	}
	if err := cmp.Or(checkpoint.Validate(), options.Validate()); err != nil {
		return withOp(op, err)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	verbatim := checkpoint.scope()
	scope := s.scope(verbatim)
	p := s.partitions.of(scope, checkpoint.PartitionID)
	err := s.update(ctx, p, verbatim, scope, checkpoint, options)
	if err == nil {
		return nil
	}
	at := target{checkpoint.PartitionID, scope.BlobName(layout.Checkpoint, checkpoint.PartitionID), writeBlob}
	if e, refused := err.(*Error); refused {
		e.Op, e.PartitionID, e.BlobName = op, at.partitionID, at.blobName
		return e
	}
	return s.failure(op, at, err)
}

// update waits for the partition and stores the position.
func (s *BlobCheckpointStore) update(ctx context.Context, p *partition, verbatim, scope layout.Scope, checkpoint Checkpoint, options *UpdateCheckpointOptions) error {
	u := checkpointUpdate{store: s, partition: p, verbatim: verbatim, id: checkpoint.PartitionID, kind: fence.KindOf(options.First, options.Rewind)}
	u.values = layout.CheckpointValues{
		SequenceNumber: *checkpoint.SequenceNumber,
		Offset:         checkpoint.Offset,
		EnqueuedTime:   options.EnqueuedTime,
	}
	position := fence.Position{SequenceNumber: u.values.SequenceNumber}
	if u.values.Offset != nil {
		position.Offset = *cmp.Or(layout.Offset(*u.values.Offset), new(string))
	}
	u.fenced, u.values.ClientID = p.start(position, u.kind)
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	u.blob = p.client(s, scope, layout.Checkpoint, checkpoint.PartitionID)
	if s.settings.DisableFencing && u.kind == fence.Advance {
		return u.overwrite(ctx)
	}
	return u.run(ctx)
}

// checkpointUpdate is one UpdateCheckpoint call on its way.
type checkpointUpdate struct {
	store     *BlobCheckpointStore
	partition *partition
	verbatim  layout.Scope
	id        string // of the partition
	blob      *blockblob.Client
	values    layout.CheckpointValues
	kind      fence.Kind
	fenced    fence.Update

	metadata layout.Metadata // of the last write, for its generation
}

// run takes the steps that the fence asks for.
func (u *checkpointUpdate) run(ctx context.Context) error {
	step := u.partition.begin(&u.fenced)
	var last writeResult
	for range maxSteps {
		switch step.Action {
		case fence.Done:
			if u.kind == fence.Rewind {
				u.store.partitions.rewound(u.partition)
			}
			return nil
		case fence.Failed:
			return last.err
		case fence.Stale, fence.Rewound:
			return u.refused(step)
		case fence.Read, fence.ReadAll:
			record, err := u.read(ctx, last, step.Action == fence.ReadAll)
			if err != nil {
				return readFailed(ctx, last, err)
			}
			step = u.partition.found(&u.fenced, record)
		default:
			last = u.write(ctx, step)
			if last.outcome == failed || last.outcome == notFound && step.Action == fence.Create {
				return last.err
			}
			step = u.partition.wrote(&u.fenced, last)
		}
	}
	return fmt.Errorf("the checkpoint was not stored in %d steps, because others kept writing it: find out who else writes checkpoints of this partition", maxSteps)
}

// readFailed is the error of an update whose read failed: that of its last write, if
// the write may have taken effect, unless the read says what is wrong.
func readFailed(ctx context.Context, last writeResult, err error) error {
	var unsure error
	if last.outcome == ambiguous && !last.sawConditionNotMet {
		unsure = last.err
	}
	switch {
	case ctx.Err() != nil:
		if unsure == nil {
			unsure = err
		}
		return &readError{ended(ctx, unsure)}
	case unsure == nil, isRefused(err) && !isRefused(unsure):
		return &readError{err}
	}
	return unsure
}

// read reads the blob that the store writes and, if all is set, the one under
// the verbatim names where they differ. last is the write that it may follow.
func (u *checkpointUpdate) read(ctx context.Context, last writeResult, all bool) (fence.Record, error) {
	own, err := readBack(ctx, u.blob, last, u.store.tryTimeout())
	newest := own
	verbatim, differs := u.store.otherScope(u.verbatim)
	if err != nil || !all || !differs {
		return fenceRecord(own, newest), err
	}
	prefix := verbatim.Prefix(layout.Checkpoint)
	other, err := read(ctx, u.store.blob(prefix+u.id))
	if err == nil && other.etag != "" && other.lastModified.After(own.lastModified) {
		newest = other
		newest.prefix = prefix
	}
	return fenceRecord(own, newest), err
}

// write sends what a step asks for.
func (u *checkpointUpdate) write(ctx context.Context, step fence.Step) writeResult {
	if u.metadata == nil || u.values.Generation != step.Generation {
		u.values.Generation = step.Generation
		u.metadata = u.values.Metadata()
	}
	if step.Action == fence.Create {
		return create(ctx, u.blob, u.metadata)
	}
	return replace(ctx, u.blob, u.metadata, step.ETag)
}

// overwrite stores a position whatever is there, in the generation that the
// store knows of.
func (u *checkpointUpdate) overwrite(ctx context.Context) error {
	u.values.Generation = u.fenced.Generation()
	m := u.values.Metadata()
	for range maxSteps {
		result := replace(ctx, u.blob, m, "")
		if result.outcome != notFound {
			return result.err
		}
		result = create(ctx, u.blob, m)
		if result.outcome != conditionNotMet && !result.sawConditionNotMet {
			return result.err
		}
	}
	return fmt.Errorf("the checkpoint was not stored in %d requests, because others kept deleting and creating it: find out who deletes checkpoints of this partition", 2*maxSteps)
}

// refused says why an update was not stored.
func (u *checkpointUpdate) refused(step fence.Step) *Error {
	given, stored := u.values.SequenceNumber, step.Stored
	switch {
	case step.Action == fence.Rewound && u.kind == fence.Rewind:
		return &Error{Kind: ErrRewound, Detail: fmt.Sprintf("generation %d is stored, at sequence number %d: somebody else also rewound the partition, and this rewind to %d may have been stored before: look at the stored checkpoint, and rewind again if it is wrong",
			stored.Generation, stored.SequenceNumber, given)}
	case step.Action == fence.Rewound:
		return &Error{Kind: ErrRewound, Detail: fmt.Sprintf("generation %d is stored, at sequence number %d, and this update to %d belongs to generation %d: give the partition up, and start again from the stored checkpoint",
			stored.Generation, stored.SequenceNumber, given, u.fenced.Generation())}
	case u.kind == fence.First:
		return &Error{Kind: ErrStaleCheckpoint, Detail: "the partition has a checkpoint, so this is not its first one: start from the stored checkpoint"}
	}
	return &Error{Kind: ErrStaleCheckpoint, Detail: fmt.Sprintf("sequence number %d is behind %d, which is stored; to go back on purpose, use Rewind", given, stored.SequenceNumber)}
}
