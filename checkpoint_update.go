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

// UpdateCheckpoint stores a position, as [CheckpointStore] has it. It does not
// look at the ownership. Instead, each write is conditional on the ETag of the
// record that it was compared with, whoever wrote that record.
//
// A position that moves back is [ErrStaleCheckpoint]; one of an earlier
// generation is [ErrRewound]. [UpdateCheckpointOptions].Rewind stores any position
// and begins the next generation. docs/design.md has the rules in full.
//
// Not errors: the stored position itself, and a checkpoint that does not exist or
// was deleted, which is created. Errors: [ErrInvalidArgument],
// [ErrStaleCheckpoint], [ErrRewound], [ErrContainerNotFound], [ErrNotAuthorized],
// [ErrCredential].
//
// Requests: one in the steady state, Set Blob Metadata with If-Match, or Put
// Blob with If-None-Match: * for a first checkpoint. Get Blob Properties more
// (one for each spelling) if nothing was listed since the claim; Get Blob
// Properties and the write once more after somebody else's write or a lost
// answer. Updates of one partition are sent one after another.
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
	at := target{checkpoint.PartitionID, scope.Prefix(layout.Checkpoint) + checkpoint.PartitionID, writeBlob}
	var refused *refusedError
	if errors.As(err, &refused) {
		return &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Kind: refused.kind, Detail: refused.detail}
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
		return ended(ctx, nil)
	}
}

func (p *partition) unlock() { <-p.writing }

// update waits for the partition and stores the position.
func (s *BlobCheckpointStore) update(ctx context.Context, p *partition, verbatim, scope layout.Scope, checkpoint Checkpoint, options *UpdateCheckpointOptions) error {
	u := checkpointUpdate{store: s, partition: p, verbatim: verbatim, id: checkpoint.PartitionID}
	u.values = layout.CheckpointValues{
		SequenceNumber: *checkpoint.SequenceNumber,
		Offset:         checkpoint.Offset,
		EnqueuedTime:   options.EnqueuedTime,
	}
	u.start(options.Rewind)
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	u.blob = p.client(s, scope, layout.Checkpoint, checkpoint.PartitionID)
	if s.settings.DisableFencing && !options.Rewind {
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
	rewind    bool
	fenced    fence.Update

	metadata layout.Metadata // of the last write, for its generation
}

// run takes the steps that the fence asks for.
func (u *checkpointUpdate) run(ctx context.Context) error {
	step := u.begin()
	var last writeResult
	for range maxSteps {
		switch step.Action {
		case fence.Done:
			if u.rewind {
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
				return unread(ctx, last, err)
			}
			step = u.found(record)
		default:
			last = u.write(ctx, step)
			if last.outcome == failed || last.outcome == notFound && step.Action == fence.Create {
				return last.err
			}
			step = u.wrote(last)
		}
	}
	return fmt.Errorf("the checkpoint was not decided in %d requests: others write it all the time", maxSteps)
}

// unread is the error of an update whose read failed: that of its last write, if
// the write may have taken effect, unless the read says what is wrong.
func unread(ctx context.Context, last writeResult, err error) error {
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
	return fmt.Errorf("the checkpoint was not written in %d requests: it is deleted and created all the time", 2*maxSteps)
}

// The fence's methods, under the partition's lock.

// start takes note of the generation that the update belongs to.
func (u *checkpointUpdate) start(rewind bool) {
	position := fence.Position{SequenceNumber: u.values.SequenceNumber}
	if u.values.Offset != nil {
		position.Offset = *cmp.Or(layout.Offset(*u.values.Offset), new(string))
	}
	u.rewind = rewind
	u.partition.mu.Lock()
	defer u.partition.mu.Unlock()
	u.values.ClientID = u.partition.writer
	u.fenced = u.partition.fence.Start(position, rewind)
}

func (u *checkpointUpdate) begin() fence.Step {
	u.partition.mu.Lock()
	defer u.partition.mu.Unlock()
	return u.partition.fence.Begin(&u.fenced)
}

func (u *checkpointUpdate) found(r fence.Record) fence.Step {
	u.partition.mu.Lock()
	defer u.partition.mu.Unlock()
	return u.partition.fence.Found(&u.fenced, r)
}

func (u *checkpointUpdate) wrote(result writeResult) fence.Step {
	f := &u.partition.fence
	u.partition.mu.Lock()
	defer u.partition.mu.Unlock()
	switch {
	case result.outcome == applied:
		return f.Wrote(&u.fenced, result.etag)
	case result.outcome == notFound:
		return f.Gone(&u.fenced)
	case result.outcome == ambiguous && !result.sawConditionNotMet:
		return f.Ambiguous(&u.fenced)
	}
	return f.Refused(&u.fenced, result.sawConditionNotMet)
}

// refusedError is what an [ErrStaleCheckpoint] or [ErrRewound] says.
type refusedError struct {
	kind   error
	detail string
}

func (e *refusedError) Error() string { return e.detail }

// refused says why an update was not stored.
func (u *checkpointUpdate) refused(step fence.Step) error {
	given, stored := u.values.SequenceNumber, step.Stored
	switch {
	case step.Action == fence.Rewound && u.rewind:
		return &refusedError{ErrRewound, fmt.Sprintf("generation %d is stored, at sequence number %d: somebody else rewound the partition, too, and whether this rewind to %d was stored before is not known",
			stored.Generation, stored.SequenceNumber, given)}
	case step.Action == fence.Rewound:
		return &refusedError{ErrRewound, fmt.Sprintf("generation %d is stored, at sequence number %d, and this update to %d is of generation %d: give the partition up, and start again from the stored checkpoint",
			stored.Generation, stored.SequenceNumber, given, u.fenced.Generation())}
	}
	return &refusedError{ErrStaleCheckpoint, fmt.Sprintf("sequence number %d is behind %d, which is stored; to go back on purpose, use Rewind", given, stored.SequenceNumber)}
}
