package processor

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// Batch is what [Batches] gives to its handler: events of one partition, in order,
// none of which was done before.
type Batch struct {
	Scope       checkpointstore.Scope
	PartitionID string
	Events      []*azeventhubs.ReceivedEventData // at least one

	// Attempt is how often the handler got the first event since the partition was
	// started, including this time: 1, then 2 after a failure.
	Attempt int
}

// PartialError is what a handler of [Batches] returns if the first Done events of
// the batch are done and the next one is not.
type PartialError struct {
	// Done is how many events are done, from the first one on.
	Done int

	// Err is why the next event failed. Nil means that it did not fail: the handler
	// stopped before it, and gets the rest at once.
	Err error
}

func (e *PartialError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%d events are done", e.Done)
	}
	return fmt.Sprintf("%d events are done, the next one failed: %v", e.Done, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// Batches returns a [Handler] that collects events into batches, passes them to
// handle, and stores checkpoints of what is done: every few seconds, and when the
// handler's context ends. It returns nil if handle is nil.
//
// What handle returns decides about the events of the batch:
//
//   - nil: all are done.
//   - a [PartialError]: the first ones are done, the next one failed.
//   - [Fatal] or [Relinquish]: none is done, and Run or the tenure ends.
//   - any other error, or a panic: none is done.
//
// Events that failed are passed to handle again after a back-off, up to
// BatchOptions.MaxAttempts times, and then to BatchOptions.OnExhausted, which gets
// only the one event that failed after a PartialError. When ctx is done, nothing is
// tried again, but what handle has done until it returns still counts.
//
// No checkpoint passes an event that is not done, unless OnExhausted returned nil
// for it. Batches of one partition are handled one after the other, in order,
// unless BatchOptions.Concurrency says otherwise.
func Batches(handle func(ctx context.Context, b *Batch) error, options *BatchOptions) Handler {
	if handle == nil {
		return nil
	}
	o := options.withDefaults()
	return func(ctx context.Context, p *Partition) error {
		return newBatcher(ctx, p, handle, o).run()
	}
}

// Skip is a BatchOptions.OnExhausted that gives up on events: they count as done,
// the checkpoint passes them, and a warning is logged.
func Skip(context.Context, *Batch, error) error { return nil }
