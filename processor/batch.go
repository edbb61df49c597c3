package processor

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// Batch is what a handler of [Batches] gets: events of one partition, in their
// order, of which none was done before.
type Batch struct {
	PartitionID string
	Events      []*azeventhubs.ReceivedEventData // at least one

	// Attempt counts how often the first event was given to the handler, this time
	// included, since the partition was last started: 1, then 2 after a failure.
	Attempt int
}

// PartialError is what a handler of [Batches] returns if the first Done events of
// the batch are done and the next one is not.
type PartialError struct {
	// Done is how many events are done, from the first one on.
	Done int

	// Err is why the next event failed. Nil means that it did not: the handler came
	// no further, and gets the rest at once.
	Err error
}

func (e *PartialError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%d events are done", e.Done)
	}
	return fmt.Sprintf("%d events are done, the next one failed: %v", e.Done, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// Batches returns a [Handler] that collects events to batches, gives them to
// handle, and checkpoints what is done: every few seconds, and when the handler's
// context ends. It returns nil if handle is nil.
//
// What handle returns decides about the events of the batch:
//
//   - nil: all are done.
//   - a [PartialError]: the first ones are done, the others go on as below.
//   - [Fatal] or [Relinquish]: none is done, and Run or the tenure ends.
//   - any other error, or a panic: none is done. After a back-off they are given to
//     handle again, up to BatchOptions.MaxAttempts times, and then to
//     BatchOptions.OnExhausted. A PartialError gives it the one event that failed.
//
// After ctx was done, which [context.Cause] explains, nothing is tried again, and
// what was done until handle returned still counts.
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

// Skip is a BatchOptions.OnExhausted that gives events up: they count as done, and
// the checkpoint passes them. They are logged as a warning.
func Skip(context.Context, *Batch, error) error { return nil }
