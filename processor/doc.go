// Package processor reads an event hub together with other consumers: it claims
// partitions in a [checkpointstore.CheckpointStore], reads them with the clients
// of azeventhubs/v2 and hands each one to a handler.
//
//	err := processor.Run(ctx, client, store, func(ctx context.Context, p *processor.Partition) error {
//		for {
//			events, err := p.ReceiveEvents(ctx, 1, nil)
//			if err != nil {
//				return err
//			}
//			// handle the events
//			if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
//				return err
//			}
//		}
//	}, nil)
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
