package checkpointstore

import (
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/fence"
	"github.com/ea947076/checkpointstore/internal/layout"
)

// partitions is what a store remembers: one small entry for each partition that it
// claimed, listed or wrote a checkpoint of. The zero value is empty.
type partitions struct {
	mu      sync.Mutex
	byScope map[layout.Scope]map[string]*partition // scope as the store spells it, partition id

	// clock counts the tenures that began, to tell whether a read that is coming
	// back now set out before one.
	clock uint64
}

// partition is one entry.
type partition struct {
	// writing is held by the one update that is on its way. It is a channel for
	// the others to wait for no longer than their context.
	writing chan struct{}

	mu    sync.Mutex // guards what follows
	fence fence.Partition
	since uint64 // when the tenure began

	// The clients of its two blobs are kept, as making one takes longer than the
	// rest of a write together.
	ownership, checkpoint *blockblob.Client
}

// of returns the entry of a partition, a new one if there is none.
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

// won tells the fence of a claim that was won.
func (r *partitions) won(p *partition, on, now string, relinquished bool) {
	r.mu.Lock()
	r.clock++
	at := r.clock
	r.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fence.Won(on, now, relinquished) {
		p.since = at
	}
}

// mark is the time at which a read sets out.
func (r *partitions) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

// listed tells the fences what a list found that set out at mark: a record, or
// none, for every partition that is known.
func (r *partitions) listed(scope layout.Scope, found []blobState, mark uint64) {
	seen := make(map[*partition]bool, len(found))
	for _, f := range found {
		p := r.of(scope, f.partitionID)
		p.saw(f, mark)
		seen[p] = true
	}
	for _, p := range r.all(scope) {
		if !seen[p] {
			p.saw(blobState{}, mark)
		}
	}
}

// read tells a fence what a read of its one partition found that set out at mark.
func (r *partitions) read(scope layout.Scope, partitionID string, found []blobState, mark uint64) {
	p := r.of(scope, partitionID)
	if len(found) == 0 {
		p.saw(blobState{}, mark)
		return
	}
	p.saw(found[0], mark)
}

func (r *partitions) all(scope layout.Scope) []*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*partition, 0, len(r.byScope[scope]))
	for _, p := range r.byScope[scope] {
		all = append(all, p)
	}
	return all
}

// client is that of one of the partition's two blobs.
func (p *partition) client(s *BlobCheckpointStore, scope layout.Scope, kind layout.Kind, partitionID string) *blockblob.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := &p.checkpoint
	if kind == layout.Ownership {
		kept = &p.ownership
	}
	if *kept == nil {
		*kept = s.blob(scope.Prefix(kind) + partitionID)
	}
	return *kept
}

// saw tells the fence what a read found that set out at mark. A read from before
// the tenure says nothing about it.
func (p *partition) saw(found blobState, mark uint64) {
	if found.partitionID != "" && found.etag == "" {
		return // the service did not say which state it is
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since <= mark {
		p.fence.Saw(fenced(found))
	}
}

// fenced is a checkpoint blob as the fence sees it.
func fenced(r blobState) fence.Record {
	f := fence.Record{ETag: r.etag}
	if _, n := r.values.Position(); n != nil {
		f.SequenceNumber, f.Readable = *n, true
	}
	return f
}
