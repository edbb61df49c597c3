package processor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore"
)

// Status is a snapshot of a [Processor].
type Status struct {
	OwnerID string

	// PartitionCount is how many partitions the hub has, 0 before that is known.
	PartitionCount int

	// Partitions are those that this Processor owns or still reads, by id.
	Partitions []PartitionStatus

	// ListedAt is when the ownerships were listed last. Zero is never.
	ListedAt time.Time

	// StoreError and EventHubError are those of the last calls that a round made,
	// nil if they went well.
	StoreError, EventHubError error

	// HungCalls is how many calls to Event Hubs have not returned though their
	// context has ended. They end with their ConsumerClient.
	HungCalls int
}

// PartitionStatus is a snapshot of a partition.
type PartitionStatus struct {
	PartitionID string
	OwnedSince  time.Time

	// Reading is whether a handler is running on a link that has not failed, and
	// ReadingSince when it was called, zero if none is running.
	Reading      bool
	ReadingSince time.Time

	// Ending is why the partition's handler is told to return, nil if it is not.
	Ending error

	// LastSequenceNumber is that of the last event received, and
	// CheckpointSequenceNumber that of the last checkpoint stored, both by this
	// owner since it won the partition.
	LastSequenceNumber, CheckpointSequenceNumber *int64

	// CheckpointedAt is when this owner last stored a checkpoint. Zero is not since
	// it won the partition. CheckpointError is why [Batches] could not store the last
	// one, nil if it could.
	CheckpointedAt  time.Time
	CheckpointError error

	// Pending is how many events [Batches] has received that are not done, or are
	// after one that is not. OldestSequenceNumber is the first of them, nil if there
	// is none, and OldestPending for how long it has been pending. Unwritten is how
	// many are done and not checkpointed. A handler of another kind has zeros.
	Pending              int
	OldestSequenceNumber *int64
	OldestPending        time.Duration
	Unwritten            int

	// LastError is why the handler or its link ended last, and Failures how often
	// that happened in a row.
	LastError error
	Failures  int
}

// Status returns what the Processor is doing. It sends no request, and may be
// called at any time from any goroutine.
func (p *Processor) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		OwnerID:        p.hub.OwnerID(),
		PartitionCount: p.partitionCount,
		ListedAt:       p.listedAt,
		EventHubError:  p.errors[readingHub],
		HungCalls:      int(p.hung.Load()),
	}
	for _, op := range []operation{listingOwnerships, claiming, listingCheckpoints} {
		if err := p.errors[op]; err != nil && s.StoreError == nil {
			s.StoreError = err
		}
	}
	for _, t := range p.tenures {
		status := t.status
		status.Ending = context.Cause(t.ctx)
		status.Reading = status.Reading && status.Ending == nil
		if t.batcher != nil {
			t.batcher.describe(&status)
		}
		s.Partitions = append(s.Partitions, status)
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(len(a.PartitionID), len(b.PartitionID)), cmp.Compare(a.PartitionID, b.PartitionID))
	})
	return s
}

func (p *Processor) noteReading(t *tenure, reading bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.status.Reading, t.status.ReadingSince = reading, time.Time{}
	if reading {
		t.status.ReadingSince = time.Now()
	}
}

// noteBatcher sets what handles the partition in batches, nil for nothing.
func (p *Processor) noteBatcher(t *tenure, b *batcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.batcher = b
}

// noteRound takes in that a round, or a pass of it, begins.
func (p *Processor) noteRound() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roundAt = time.Now()
}

func (p *Processor) noteReceived(t *tenure, sequenceNumber int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.status.LastSequenceNumber = &sequenceNumber
	t.status.Failures, t.status.LastError = 0, nil
}

func (p *Processor) noteFailure(t *tenure, err error, failures int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.status.LastError, t.status.Failures = err, failures
}

// noteStored takes in a checkpoint that was stored.
func (p *Processor) noteStored(t *tenure, c checkpointstore.Checkpoint) {
	start := startAfter(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	t.initial = nil
	t.status.CheckpointedAt = time.Now()
	if t.at == nil || *t.at < *c.SequenceNumber {
		t.resume, t.at = &start, c.SequenceNumber
	}
	t.status.CheckpointSequenceNumber = t.at
}
