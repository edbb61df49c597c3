package processor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// checkpointLists lists checkpoints for all partitions that want theirs at the same
// time with one request.
type checkpointLists struct {
	clock   atomic.Uint64
	listing chan struct{} // holds a token while a list is under way
	begun   uint64        // when latest was asked for; owned by the holder of the token
	latest  map[string]checkpointstore.Checkpoint
}

// since returns a list that was asked for after the call.
func (l *checkpointLists) since(ctx context.Context, list func(context.Context) ([]checkpointstore.Checkpoint, error)) (map[string]checkpointstore.Checkpoint, error) {
	asked := l.clock.Add(1)
	select {
	case l.listing <- struct{}{}:
		defer func() { <-l.listing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if l.begun > asked {
		return l.latest, nil
	}
	begun := l.clock.Add(1)
	found, err := list(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]checkpointstore.Checkpoint, len(found))
	for _, c := range found {
		byID[c.PartitionID] = c
	}
	l.begun, l.latest = begun, byID
	return byID, nil
}

// startOf returns where a tenure's next link begins: after the stored checkpoint,
// or where this tenure knows to be, or at the initial position.
func (p *Processor) startOf(ctx context.Context, t *tenure) (azeventhubs.StartPosition, error) {
	all, err := p.checkpoints.since(ctx, p.listCheckpoints)
	c, found := all[t.id]
	p.mu.Lock()
	rewound := found && wentBack(c, t.at)
	if found {
		t.resumeAt(c)
	}
	known := t.resume
	p.mu.Unlock()
	switch {
	case rewound: // the store would refuse this tenure's updates
		t.end(ErrRewound)
		return azeventhubs.StartPosition{}, ErrRewound
	case known != nil:
		return *known, nil
	case err != nil:
		return azeventhubs.StartPosition{}, fmt.Errorf("the checkpoint cannot be read: %w", err)
	}
	return p.initialOf(ctx, t)
}

// resumeAt takes in a checkpoint that was listed. The caller has the Processor's lock.
func (t *tenure) resumeAt(c checkpointstore.Checkpoint) {
	if t.at == nil || c.SequenceNumber == nil || *t.at != *c.SequenceNumber {
		t.enqueued = nil
	}
	start := startAfter(c)
	t.resume, t.at, t.initial = &start, c.SequenceNumber, nil
}

// wentBack reports whether a checkpoint is behind what a tenure knew to be stored
// before the list, or may be, because another program stored it without a sequence
// number.
func wentBack(c checkpointstore.Checkpoint, at *int64) bool {
	return at != nil && (c.SequenceNumber == nil || *c.SequenceNumber < *at)
}

// findRewinds ends the tenures whose checkpoint somebody rewound. Updates notice that
// too, but there are none while no events come.
func (p *Processor) findRewinds(ctx context.Context) {
	known := make(map[*tenure]*int64)
	p.mu.Lock()
	for _, t := range p.tenures {
		if t.ctx.Err() == nil && t.at != nil {
			known[t] = t.at
		}
	}
	p.mu.Unlock()
	if len(known) == 0 {
		return
	}
	all, err := p.checkpoints.since(ctx, p.listCheckpoints)
	if err != nil {
		return
	}
	for t, at := range known {
		if c, found := all[t.id]; found && wentBack(c, at) {
			t.log.Info("the checkpoint was rewound")
			t.end(ErrRewound)
		}
	}
}

func (p *Processor) listCheckpoints(ctx context.Context) ([]checkpointstore.Checkpoint, error) {
	listing, cancel := context.WithTimeout(ctx, p.storeTimeout())
	defer cancel()
	found, err := p.store.ListCheckpoints(listing, p.names.FullyQualifiedNamespace, p.names.EventHubName, p.names.ConsumerGroup, nil)
	if ctx.Err() == nil {
		p.report(listingCheckpoints, err)
	}
	return found, err
}

// startAfter returns the position of a checkpoint. One without any, which another
// program wrote, is the partition's beginning: nothing is skipped.
func startAfter(c checkpointstore.Checkpoint) azeventhubs.StartPosition {
	switch {
	case c.Offset != nil:
		return azeventhubs.StartPosition{Offset: c.Offset}
	case c.SequenceNumber != nil:
		return azeventhubs.StartPosition{SequenceNumber: c.SequenceNumber}
	}
	return earliest()
}

func earliest() azeventhubs.StartPosition {
	yes := true
	return azeventhubs.StartPosition{Earliest: &yes}
}

// isLatest reports whether a position moves with the partition's end.
func isLatest(s azeventhubs.StartPosition) bool {
	return s.Offset == nil && s.SequenceNumber == nil && s.EnqueuedTime == nil && (s.Earliest == nil || !*s.Earliest)
}

// initialOf returns where a partition without a checkpoint begins. Latest is
// resolved once for all tenures in this process, and stored as the first
// checkpoint, so that no later start skips what came in between. If another owner has
// stored one meanwhile, who may have found an earlier end, that one counts.
func (p *Processor) initialOf(ctx context.Context, t *tenure) (azeventhubs.StartPosition, error) {
	p.mu.Lock()
	at, resolved := p.initial[t.id]
	added := p.added[t.id]
	p.mu.Unlock()
	start, own := p.options.StartPositions.PerPartition[t.id]
	if !own {
		start = p.options.StartPositions.Default
	}
	switch {
	case added && !own:
		return earliest(), nil
	case !isLatest(start):
		return start, nil
	case !resolved:
		properties, err := bounded(ctx, p.hubTimeout(), &p.hung, func(ctx context.Context) (azeventhubs.PartitionProperties, error) {
			return p.hub.PartitionProperties(ctx, t.id)
		})
		if err != nil {
			return start, fmt.Errorf("%w: the end of the partition cannot be read: %w", ErrLinkFailed, err)
		}
		at = endOf(properties)
		at.first = true
	}
	p.mu.Lock()
	p.initial[t.id], t.initial = at, &at
	p.mu.Unlock()
	stored := p.storeInitial(ctx, t)
	if !errors.Is(stored, checkpointstore.ErrStaleCheckpoint) {
		return azeventhubs.StartPosition{Offset: &at.offset}, nil
	}
	all, err := p.checkpoints.since(ctx, p.listCheckpoints)
	if err != nil {
		return start, fmt.Errorf("the checkpoint cannot be read: %w", err)
	}
	c, found := all[t.id]
	if !found { // it was deleted again
		return start, stored
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.resumeAt(c)
	return *t.resume, nil
}

// endOf is the position of a partition's last event, or before the first one.
func endOf(p azeventhubs.PartitionProperties) position {
	if p.LastEnqueuedSequenceNumber < 0 || p.LastEnqueuedOffset == "" {
		return position{sequenceNumber: -1, offset: "-1"}
	}
	at := position{sequenceNumber: p.LastEnqueuedSequenceNumber, offset: p.LastEnqueuedOffset}
	if !p.IsEmpty && !p.LastEnqueuedOn.IsZero() {
		at.enqueued = &p.LastEnqueuedOn
	}
	return at
}

// storeInitial stores the initial position, if the tenure has one that is not
// stored. If that fails the partition is read all the same, and the next try comes
// with the handler's first events.
func (p *Processor) storeInitial(ctx context.Context, t *tenure) error {
	p.mu.Lock()
	at := t.initial
	p.mu.Unlock()
	if at == nil {
		return nil
	}
	storing, cancel := context.WithTimeout(ctx, p.storeTimeout())
	defer cancel()
	err := p.storePosition(storing, t, *at)
	if err != nil && ctx.Err() == nil && !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		t.log.Warn("the initial position could not be stored: until there is a checkpoint, another process would begin at the partition's end", "error", err)
	}
	return err
}
