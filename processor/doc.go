// Package processor plugs a [checkpointstore.CheckpointStore] into the Processor
// of azeventhubs/v2 so that the consumer survives what its storage does.
//
// The Processor of azeventhubs/v2 ends for good on any error of ListOwnership or
// ClaimOwnership, and after one failed ListCheckpoints it goes on owning a
// partition that it never reads. [Adapt] keeps passing failures of the storage
// away from it, and turns those that leave a partition unread into the end of
// the Processor. [Run] is the loop around it: it hands each partition to a
// handler, starts the next Processor when one has ended, and stops in an order
// that loses nothing.
//
//	store, err := checkpointstore.NewBlobCheckpointStore(containerClient, nil)
//	…
//	adapted := processor.Adapt(store, nil)
//	err = processor.Run(ctx, &processor.RunOptions{
//		NewProcessor: func(context.Context) (*azeventhubs.Processor, error) {
//			return azeventhubs.NewProcessor(consumerClient, adapted, nil)
//		},
//		HandlePartition: handle,
//	})
//
// Each of the two works without the other. Together they also keep the order of
// a hand-over where the Processor ended by itself: handlers end, then ownership
// is relinquished.
package processor
