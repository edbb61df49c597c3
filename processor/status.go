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

	// Scope and PartitionCount are the names of the hub and how many partitions it
	// has, zero until the hub was read.
	Scope          checkpointstore.Scope
	PartitionCount int

	// Partitions are those that this Processor owns or still reads, by id.
	Partitions []PartitionStatus

	// ListedAt is when the ownerships were last listed, zero if they never were.
	ListedAt time.Time

	// StoreError and EventHubError are the errors of the last requests of a round, nil
	// if they succeeded.
	StoreError, EventHubError error

	// StoreErrorSince is when the requests to the store that fail now began to fail,
	// zero if StoreError is nil.
	StoreErrorSince time.Time

	// HungCalls is how many calls to Event Hubs have not returned although their
	// context has ended. Closing their ConsumerClient ends them.
	HungCalls int
}

// PartitionStatus is a snapshot of a partition.
type PartitionStatus struct {
	PartitionID string
	OwnedSince  time.Time

	// Reading reports whether a handler is running and its link has not failed.
	// ReadingSince is when the handler was called, zero if none is running.
	Reading      bool
	ReadingSince time.Time

	// Ending is why the partition's handler is told to return, nil if it is not.
	Ending error

	// LastSequenceNumber is the sequence number of the last event that was received
	// since this owner won the partition.
	LastSequenceNumber *int64

	// CheckpointSequenceNumber is the sequence number of the stored checkpoint, as this
	// owner last read or wrote it, nil if it knows none. CheckpointEnqueuedTime is when
	// that event was enqueued, nil if this owner did not write the checkpoint.
	CheckpointSequenceNumber *int64
	CheckpointEnqueuedTime   *time.Time

	// CheckpointedAt is when this owner last stored a checkpoint, zero if it has not
	// since it won the partition. CheckpointError is why [Batches] could not store the
	// last one, nil if it could.
	CheckpointedAt  time.Time
	CheckpointError error

	// These are zero unless the handler is [Batches]. Pending counts the events from
	// the first one that is not done to the last one received. OldestSequenceNumber is
	// the first of them, nil if there is none, and OldestPending how long it has been
	// pending. Unwritten counts events that are done, but not yet in a checkpoint.
	Pending              int
	OldestSequenceNumber *int64
	OldestPending        time.Duration
	Unwritten            int

	// LastError is why the handler or its link last ended, and Failures how often that
	// has happened in a row.
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
		Scope:          p.scope(),
		PartitionCount: p.partitionCount,
		ListedAt:       p.listedAt,
		EventHubError:  p.errors[readingHub],
		HungCalls:      int(p.hung.Load()),
	}
	for _, op := range []operation{listingOwnerships, claiming, listingCheckpoints} {
		err, since := p.errors[op], p.outages[op]
		if err == nil {
			continue
		}
		if s.StoreError == nil {
			s.StoreError = err
		}
		if s.StoreErrorSince.IsZero() || since.Before(s.StoreErrorSince) {
			s.StoreErrorSince = since
		}
	}
	for _, t := range p.tenures {
		status := t.status
		status.Ending = context.Cause(t.ctx)
		status.Reading = status.Reading && status.Ending == nil
		status.CheckpointSequenceNumber, status.CheckpointEnqueuedTime = t.at, t.enqueued
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

// noteRound records that a round, or a pass of it, begins.
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

// noteStored records a checkpoint that was stored.
func (p *Processor) noteStored(t *tenure, c checkpointstore.Checkpoint, enqueued *time.Time) {
	start := startAfter(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	t.initial = nil
	t.status.CheckpointedAt = time.Now()
	if t.at == nil || *t.at < *c.SequenceNumber {
		t.resume, t.at, t.enqueued = &start, c.SequenceNumber, enqueued
	}
}
