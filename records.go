package checkpointstore

import (
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/ea947076/checkpointstore/internal/fence"
)

// records is what a store remembers: one small entry for each partition that it
// claimed, listed or wrote a checkpoint of. The zero value is empty.
type records struct {
	mu       sync.Mutex
	byPrefix map[string]map[string]*partition // prefix of the checkpoint blobs, partition id

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
	blob  *blockblob.Client
}

// of returns the entry of a partition, a new one if there is none.
func (r *records) of(prefix, partitionID string) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byPrefix[prefix][partitionID]
	if p == nil {
		p = &partition{writing: make(chan struct{}, 1)}
		if r.byPrefix == nil {
			r.byPrefix = make(map[string]map[string]*partition)
		}
		if r.byPrefix[prefix] == nil {
			r.byPrefix[prefix] = make(map[string]*partition)
		}
		r.byPrefix[prefix][partitionID] = p
	}
	return p
}

// won tells the fence of a claim that was won.
func (r *records) won(p *partition, on, now string, relinquished bool) {
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
func (r *records) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

// listed tells the fences what a list found that set out at mark: a record, or
// none, for every partition that is known.
func (r *records) listed(prefix string, found []record, mark uint64) {
	seen := make(map[*partition]bool, len(found))
	for _, f := range found {
		p := r.of(prefix, f.partitionID)
		p.saw(f, mark)
		seen[p] = true
	}
	for _, p := range r.all(prefix) {
		if !seen[p] {
			p.saw(record{}, mark)
		}
	}
}

// read tells a fence what a read of its one partition found that set out at mark.
func (r *records) read(prefix, partitionID string, found []record, mark uint64) {
	p := r.of(prefix, partitionID)
	if len(found) == 0 {
		p.saw(record{}, mark)
		return
	}
	p.saw(found[0], mark)
}

func (r *records) all(prefix string) []*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*partition, 0, len(r.byPrefix[prefix]))
	for _, p := range r.byPrefix[prefix] {
		all = append(all, p)
	}
	return all
}

// client is the client of the partition's checkpoint blob. It is kept, as making
// one takes longer than the rest of an update together.
func (p *partition) client(s *BlobCheckpointStore, prefix, partitionID string) *blockblob.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blob == nil {
		p.blob = s.blob(prefix + partitionID)
	}
	return p.blob
}

// saw tells the fence what a read found that set out at mark. A read from before
// the tenure says nothing about it.
func (p *partition) saw(found record, mark uint64) {
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
func fenced(r record) fence.Record {
	f := fence.Record{ETag: r.etag}
	if _, n := r.values.Position(); n != nil {
		f.SequenceNumber, f.Readable = *n, true
	}
	return f
}
