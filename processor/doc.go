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
// [Batches] stores a checkpoint every few seconds. Write a [Handler] yourself to
// decide when to receive and when to store a checkpoint.
//
// The time from winning a partition to losing or releasing it is a tenure: what
// Raft calls a term and Kafka a generation. A tenure begins by reading the stored
// checkpoint. Handlers of two tenures of one partition never overlap in a process.
//
// Delivery is at least once: the next owner of a partition handles the events after
// the last checkpoint again.
//
// [Adapt] is for programs that keep the Processor of azeventhubs/v2: it gives that
// Processor this module's store. docs/design-processor.md has the reasons.
package processor
