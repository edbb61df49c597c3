package processor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/progress"
)

// batcher handles one partition in batches, during one call of its [Handler]. One
// goroutine receives and hands the events to lanes. Each lane has a goroutine,
// which handles its batches one after the other.
type batcher struct {
	partition *Partition
	handle    func(ctx context.Context, b *Batch) error
	options   BatchOptions

	ctx  context.Context // the handler's; ends earlier if a lane fails
	fail context.CancelCauseFunc

	checkpointer *progress.Checkpointer
	tracker      *progress.Tracker

	lanes   []*lane
	filling *lane // gets the events without a key
	seed    maphash.Seed
}

func newBatcher(ctx context.Context, p *Partition, handle func(context.Context, *Batch) error, o BatchOptions) *batcher {
	b := &batcher{partition: p, handle: handle, options: o, seed: maphash.MakeSeed()}
	b.ctx, b.fail = context.WithCancelCause(ctx)
	c := o.Checkpoints
	c.FlushTimeout = min(c.FlushTimeout, p.processor.options.ShutdownTimeout/4)
	c.OnWrite = func(w progress.Write) {
		p.processor.noteWrite(p.tenure, w)
		if o.Checkpoints.OnWrite != nil {
			o.Checkpoints.OnWrite(w)
		}
	}
	b.checkpointer = progress.NewCheckpointer(b.write, &c)
	b.tracker = progress.NewTracker(&progress.TrackerOptions{MaxEvents: o.MaxInFlight, MaxBytes: o.MaxInFlightBytes, Recorder: b.checkpointer})
	for range o.Concurrency {
		b.lanes = append(b.lanes, &lane{batcher: b, wakeUp: make(chan struct{}, 1)})
	}
	b.filling = b.lanes[0]
	return b
}

// write stores a position.
func (b *batcher) write(ctx context.Context, at progress.Position) error {
	p := position{sequenceNumber: at.SequenceNumber, offset: at.Offset}
	if !at.EnqueuedTime.IsZero() {
		p.enqueued = &at.EnqueuedTime
	}
	return b.partition.store(ctx, p)
}

// run receives until the context ends or a lane fails, waits for the batches that
// are being handled, and stores the last position.
func (b *batcher) run() error {
	t := b.partition.tenure
	b.partition.processor.noteBatcher(t, b)
	defer b.partition.processor.noteBatcher(t, nil)
	defer b.fail(nil)
	var working sync.WaitGroup
	for _, l := range b.lanes {
		working.Go(l.work)
	}
	err := b.receive()
	b.fail(err)
	b.tracker.Close()
	working.Wait()
	b.close()
	return context.Cause(b.ctx)
}

// close stores the last position.
func (b *batcher) close() {
	if errors.Is(context.Cause(b.partition.ctx), ErrPartitionLost) {
		// For the new owner to start further on; that has no need of it.
		_ = b.checkpointer.CloseLost(b.partition.ctx)
		return
	}
	err := b.checkpointer.Close(b.partition.ctx)
	if err != nil && !errors.Is(err, checkpointstore.ErrStaleCheckpoint) { // or rewound
		b.partition.tenure.log.Warn("the last checkpoint of a partition could not be stored: its last events will be handled again", "error", err)
	}
}

// describe sets the fields of a status that only the batcher knows.
func (b *batcher) describe(s *PartitionStatus) {
	pending := b.tracker.Stats()
	if s.Pending = pending.InFlight; pending.InFlight > 0 {
		s.OldestSequenceNumber, s.OldestPending = &pending.Oldest.SequenceNumber, pending.OldestAge
	}
	s.Unwritten = b.checkpointer.Stats().Unwritten
}

// linger is for how long more events are received after the first one before they
// are handed to the lanes: enough for what has been delivered.
const linger = 10 * time.Millisecond

// receive hands events to lanes until the context ends.
func (b *batcher) receive() error {
	for {
		if err := b.receiveSome(b.ctx, 1); err != nil {
			return err
		}
		if b.options.MaxEvents == 1 {
			continue
		}
		more, cancel := context.WithTimeout(b.ctx, linger)
		err := b.receiveSome(more, b.options.MaxEvents-1)
		cancel()
		if err != nil && b.ctx.Err() != nil {
			return err
		}
	}
}

func (b *batcher) receiveSome(ctx context.Context, count int) error {
	events, err := b.partition.ReceiveEvents(ctx, count, nil)
	for _, e := range events {
		if err := b.begin(e); err != nil {
			return err
		}
	}
	return err
}

// begin hands an event to its lane. It waits while too much is in flight.
func (b *batcher) begin(e *azeventhubs.ReceivedEventData) error {
	at := progress.Position{SequenceNumber: e.SequenceNumber, Offset: e.Offset}
	if e.EnqueuedTime != nil {
		at.EnqueuedTime = *e.EnqueuedTime
	}
	received := time.Now()
	pending, err := b.tracker.Begin(b.ctx, at, len(e.Body))
	if errors.Is(err, progress.ErrOutOfOrder) {
		return nil // was delivered before: it is done or in flight
	}
	if err != nil {
		return err
	}
	b.laneOf(e).add(item{event: e, pending: pending, received: received})
	return nil
}

// laneOf returns the lane of an event: always the same for the same partition key.
// Events without a key fill up one batch after the other.
func (b *batcher) laneOf(e *azeventhubs.ReceivedEventData) *lane {
	if len(b.lanes) == 1 {
		return b.lanes[0]
	}
	if e.PartitionKey != nil {
		return b.lanes[maphash.String(b.seed, *e.PartitionKey)%uint64(len(b.lanes))]
	}
	if queued, _ := b.filling.load(); queued == 0 || queued >= b.options.MaxEvents {
		_, least := b.filling.load()
		for _, l := range b.lanes {
			if _, load := l.load(); load < least {
				b.filling, least = l, load
			}
		}
	}
	return b.filling
}

// call calls a function of the user. A panic, or the end of its goroutine, becomes
// an error.
func (b *batcher) call(f func(ctx context.Context) error) error {
	return protect(b.partition.tenure.log, "the handler", func() error { return f(b.ctx) })
}

// partialOf splits what a handler returned for n events: how many are done, how
// many failed, and why.
func partialOf(err error, n int) (done, failed int, reason error) {
	var partial *PartialError
	switch {
	case err == nil:
		return n, 0, nil
	case !errors.As(err, &partial):
		return 0, n, err
	case partial.Done < 0 || partial.Done > n:
		return 0, n, fmt.Errorf("processor: the handler returned a PartialError for %d of %d events: %w", partial.Done, n, err)
	case partial.Done == n:
		return n, 0, ends(err)
	case partial.Err == nil && partial.Done > 0:
		return partial.Done, 0, nil
	}
	return partial.Done, 1, err
}

// ends returns err if it ends Run or the tenure.
func ends(err error) error {
	var fatal *fatalError
	var relinquish *relinquishError
	if errors.As(err, &fatal) || errors.As(err, &relinquish) {
		return err
	}
	return nil
}
