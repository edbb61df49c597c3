package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// Handler handles the events of one partition until ctx is done; [context.Cause]
// tells why. Each call runs in its own goroutine, at most one for each partition.
//
// When a handler returns before that, Run calls it again after a delay, from the
// last checkpoint on. Errors and panics count as failures, which make the delay
// longer; nil does not. A handler that returns [Fatal] ends Run, and one that returns
// [Relinquish] ends its tenure. What it returns after ctx was done has no effect.
type Handler func(ctx context.Context, partition *Partition) error

// Partition is what a [Handler] reads. Its methods may be called from several
// goroutines at once, until the handler returns.
type Partition struct {
	processor *Processor
	tenure    *tenure
	ctx       context.Context // the handler's
	link      *link
	start     azeventhubs.StartPosition
	first     sync.Once // the handler's first events
	misplaced error     // set by first: why they are not the next ones

	mu       sync.Mutex
	returned bool // the handler has
	updates  sync.WaitGroup
}

// PartitionID returns the partition's id, such as "0".
func (p *Partition) PartitionID() string { return p.tenure.id }

// StartPosition returns where this call of the handler began to read: after the
// checkpoint or, without one, at the position that Options.StartPositions says.
func (p *Partition) StartPosition() azeventhubs.StartPosition { return p.start }

// ReceiveEvents waits until count events have arrived or ctx is done, and returns
// what has arrived. It returns an error only if nothing has: that of ctx, or the
// cause with which the handler's context ended. After that it returns at once.
//
// A failed link ends the handler's context. Concurrent calls wait for each other.
func (p *Partition) ReceiveEvents(ctx context.Context, count int, _ *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	begun := time.Now()
	events, err := p.link.receive(ctx, count)
	took := time.Since(begun)
	if len(events) > 0 {
		p.first.Do(p.storeInitial)
		if p.misplaced != nil {
			return nil, p.misplaced
		}
		p.processor.hookReceive(p.tenure, events, took)
		p.processor.noteReceived(p.tenure, events[len(events)-1].SequenceNumber)
	}
	return events, err
}

// storeInitial stores the initial position, if that is still to be done. If another
// owner has stored a first checkpoint, the events before these may not have been
// handled: then the tenure ends, and the next one begins after that checkpoint.
func (p *Partition) storeInitial() {
	err := p.processor.storeInitial(p.ctx, p.tenure)
	if errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		p.misplaced = fmt.Errorf("%w: another owner stored the first checkpoint", ErrPartitionLost)
		p.tenure.end(p.misplaced)
	}
}

// UpdateCheckpoint stores the event's sequence number, offset and enqueued time: the
// next reader begins after this event. When the handler's context ends, calls with a
// context made from it have 10 seconds more, also those made afterwards. The options
// have no fields yet.
//
// Errors: those of the store, among them [checkpointstore.ErrStaleCheckpoint] for an
// event before the last checkpoint; [ErrRewound], which ends the handler's context,
// and which all later calls return; an error if the handler has returned.
func (p *Partition) UpdateCheckpoint(ctx context.Context, event *azeventhubs.ReceivedEventData, _ *azeventhubs.UpdateCheckpointOptions) error {
	if event == nil {
		return errors.New("processor: UpdateCheckpoint needs an event")
	}
	begun := time.Now()
	err := p.store(ctx, position{sequenceNumber: event.SequenceNumber, offset: event.Offset, enqueued: event.EnqueuedTime})
	p.processor.hookCheckpoint(p.tenure, event.SequenceNumber, 0, time.Since(begun), err)
	return err
}

// store stores a position, as UpdateCheckpoint does.
func (p *Partition) store(ctx context.Context, at position) error {
	if !p.begin() {
		return errors.New("processor: UpdateCheckpoint after the handler has returned")
	}
	defer p.updates.Done()
	if cause := context.Cause(p.tenure.ctx); errors.Is(cause, ErrRewound) {
		return cause
	}
	ctx, cancel := outlive(ctx, p.ctx, checkpointGrace)
	defer cancel()
	return p.processor.storePosition(ctx, p.tenure, at)
}

// checkpointGrace is how long a checkpoint may take after its handler's context
// has ended.
const checkpointGrace = 10 * time.Second

// begin counts an update, unless the handler has returned.
func (p *Partition) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.returned {
		p.updates.Add(1)
	}
	return !p.returned
}

// finish refuses further updates and waits for those that are under way, so that
// none is written after the release.
func (p *Partition) finish() {
	p.mu.Lock()
	p.returned = true
	p.mu.Unlock()
	p.updates.Wait()
}

// position is what a checkpoint holds.
type position struct {
	sequenceNumber int64
	offset         string
	enqueued       *time.Time
	first          bool // to be stored only if the partition has no checkpoint
}

// storePosition stores a checkpoint in a tenure.
func (p *Processor) storePosition(ctx context.Context, t *tenure, at position) error {
	checkpoint := checkpointstore.Checkpoint{
		FullyQualifiedNamespace: p.names.FullyQualifiedNamespace,
		EventHubName:            p.names.EventHubName,
		ConsumerGroup:           p.names.ConsumerGroup,
		PartitionID:             t.id,
		SequenceNumber:          &at.sequenceNumber,
	}
	if at.offset != "" {
		checkpoint.Offset = &at.offset
	}
	err := p.store.UpdateCheckpoint(ctx, checkpoint, &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: at.enqueued, First: at.first})
	switch {
	case err == nil:
		p.noteStored(t, checkpoint, at.enqueued)
	case errors.Is(err, checkpointstore.ErrRewound):
		t.end(ErrRewound)
		return fmt.Errorf("%w: %w", ErrRewound, err)
	}
	return err
}
