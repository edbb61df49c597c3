package checkpointstore

import (
	"context"
	"maps"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// partitions is the store's memory: one small entry for each partition that it
// claimed, listed or wrote a checkpoint of. The zero value is empty.
type partitions struct {
	mu      sync.Mutex
	byScope map[layout.Scope]map[string]*partition // scope as the store spells it, partition id

	// clock counts wins and rewinds. It tells whether a read that returns now was
	// sent before one of them.
	clock uint64
}

// partition is one entry.
type partition struct {
	// writing is held by the update in progress. It is a channel so that the
	// updates that wait can stop when their context ends.
	writing chan struct{}

	mu    sync.Mutex // guards what follows
	fence fence.Partition
	since uint64 // when the tenure began, or this store rewound the partition

	writer string // the owner id of the last claim, for the checkpoints to name

	// The clients of the partition's two blobs are kept, because creating one takes
	// longer than the rest of a write.
	ownership, checkpoint *blockblob.Client
}

// of returns the entry of a partition and creates it if there is none.
func (r *partitions) of(scope layout.Scope, partitionID string) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byScope[scope][partitionID]
	if p == nil {
		p = &partition{writing: make(chan struct{}, 1)}
		if r.byScope == nil {
			r.byScope = make(map[layout.Scope]map[string]*partition)
		}
		if r.byScope[scope] == nil {
			r.byScope[scope] = make(map[string]*partition)
		}
		r.byScope[scope][partitionID] = p
	}
	return p
}

// known returns the entry of a partition, or nil if there is none.
func (r *partitions) known(scope layout.Scope, partitionID string) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byScope[scope][partitionID]
}

// won records that a claim was won: the ETag that it replaced, the new one, and the
// owner ID.
func (r *partitions) won(p *partition, on, now, ownerID string) {
	at := r.tick()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fence.Won(on, now, ownerID) {
		p.since = at
	}
	if ownerID != "" {
		p.writer = ownerID
	}
}

// rewound records that this store rewound a partition: a read that was sent before
// does not count any more.
func (r *partitions) rewound(p *partition) {
	at := r.tick()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = at
}

// tick advances the clock, and returns a time later than every earlier mark.
func (r *partitions) tick() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

// mark returns the time to note when a read is sent.
func (r *partitions) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

// listed records the result of a list that was sent at mark: own are the blobs that
// this store writes, newest are the most recently modified ones under any spelling.
// A known partition that is not in the list has no checkpoint.
func (r *partitions) listed(scope layout.Scope, own, newest []blobState, mark uint64) {
	latest := latestOf(own, newest)
	seen := make(map[*partition]bool, len(own))
	for i := range own {
		p := r.of(scope, own[i].partitionID)
		p.saw(own[i], *latest(&own[i]), mark)
		seen[p] = true
	}
	for id, p := range r.all(scope) {
		if !seen[p] {
			p.saw(blobState{}, *latest(&blobState{partitionID: id}), mark)
		}
	}
}

// latestOf returns a function that finds the newest record of a partition. In
// nearly all lists, own and newest are the same slice.
func latestOf(own, newest []blobState) func(*blobState) *blobState {
	if len(own) == len(newest) && (len(own) == 0 || &own[0] == &newest[0]) {
		return func(b *blobState) *blobState {
			if b.etag == "" {
				return &blobState{} // not listed
			}
			return b
		}
	}
	byPartition := make(map[string]*blobState, len(newest))
	for i := range newest {
		byPartition[newest[i].partitionID] = &newest[i]
	}
	return func(b *blobState) *blobState {
		if found := byPartition[b.partitionID]; found != nil {
			return found
		}
		return &blobState{}
	}
}

// read records the result of a read of one partition that was sent at mark. It
// makes no entry for an unknown partition that has no checkpoint.
func (r *partitions) read(scope layout.Scope, partitionID string, own, newest []blobState, mark uint64) {
	p := r.known(scope, partitionID)
	switch {
	case len(own) > 0:
		r.of(scope, partitionID).reread(own[0], newest[0], mark)
	case p != nil && len(newest) > 0:
		p.reread(blobState{}, newest[0], mark)
	case p != nil:
		p.reread(blobState{}, blobState{}, mark)
	}
}

func (r *partitions) all(scope layout.Scope) map[string]*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byScope[scope])
}

// client returns the client of one of the partition's two blobs.
func (p *partition) client(s *BlobCheckpointStore, scope layout.Scope, kind layout.Kind, partitionID string) *blockblob.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := &p.checkpoint
	if kind == layout.Ownership {
		kept = &p.ownership
	}
	if *kept == nil {
		*kept = s.blob(scope.BlobName(kind, partitionID))
	}
	return *kept
}

// lock waits until no other update of the partition is in progress, or until the
// context ends.
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

// start begins an update of the generation that the partition is in now, and
// returns the owner id that its checkpoint names.
func (p *partition) start(position fence.Position, kind fence.Kind) (u fence.Update, writer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fence.Start(position, kind), p.writer
}

// begin returns the first step of an update.
func (p *partition) begin(u *fence.Update) fence.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fence.Begin(u)
}

// found returns the step that follows a read.
func (p *partition) found(u *fence.Update, r fence.Record) fence.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fence.Found(u, r)
}

// wrote returns the step that follows a write.
func (p *partition) wrote(u *fence.Update, w writeResult) fence.Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case w.outcome == applied:
		return p.fence.Wrote(u, w.etag)
	case w.outcome == notFound:
		return p.fence.Gone(u)
	case w.outcome == ambiguous && !w.sawConditionNotMet:
		return p.fence.Ambiguous(u)
	}
	return p.fence.Refused(u, w.sawConditionNotMet)
}

// saw tells the fence the result of a list that was sent at mark: the partition's
// own blob, and the newest one under any spelling. A list that was sent before the
// tenure began does not count.
func (p *partition) saw(own, newest blobState, mark uint64) {
	p.look(own, newest, mark, (*fence.Partition).Saw)
}

// reread is [partition.saw] for a read of this one partition.
func (p *partition) reread(own, newest blobState, mark uint64) {
	p.look(own, newest, mark, (*fence.Partition).Reread)
}

func (p *partition) look(own, newest blobState, mark uint64, tell func(*fence.Partition, fence.Record)) {
	if own.partitionID != "" && own.etag == "" {
		return // the service did not say which state it is
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since <= mark {
		tell(&p.fence, fenceRecord(own, newest))
	}
}

// fenceRecord is what the fence compares: the state of the partition's own blob,
// with the position of the newest one.
func fenceRecord(own, newest blobState) fence.Record {
	r := fence.Record{
		ETag:       own.etag,
		Generation: max(own.values.Generation(), newest.values.Generation()),
	}
	offset, sequenceNumber := newest.values.Position()
	r.Elsewhere = newest.prefix != own.prefix && sequenceNumber != nil
	if !r.Elsewhere {
		offset, sequenceNumber = own.values.Position()
	}
	if sequenceNumber != nil {
		r.SequenceNumber, r.Readable = *sequenceNumber, true
	}
	if offset != nil {
		r.Offset = *offset
	}
	return r
}
