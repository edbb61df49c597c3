// Package processor reads an event hub together with other consumers: it claims
// partitions in a [checkpointstore.CheckpointStore], reads them with the clients
// of azeventhubs/v2 and hands each one to a handler.
//
//	err := processor.Run(ctx, client, store, processor.Batches(func(ctx context.Context, b *processor.Batch) error {
//		for _, event := range b.Events {
//			// handle the event
//		}
//		return nil // or an error: the batch is tried again
//	}, nil), nil)
//
// [Batches] checkpoints what is done every few seconds. A [Handler] of one's own
// receives and checkpoints as it likes.
//
// The time from winning a partition to losing or releasing it is a tenure: what
// Raft calls a term and Kafka a generation. A tenure begins by reading the stored
// checkpoint. Handlers of two tenures of one partition never overlap in a process.
//
// Delivery is at least once: events after the last checkpoint are handled again by
// whoever reads the partition next.
//
// [Adapt] is for programs that keep the Processor of azeventhubs/v2: it plugs the
// store into it. docs/design-processor.md has the reasons.
package processor
