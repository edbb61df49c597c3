package progress

import (
	"context"
	"time"

	"github.com/ea947076/checkpointstore"
)

// Position is where an event stands in its partition.
type Position struct {
	// SequenceNumber orders the positions of a partition.
	SequenceNumber int64

	// Offset is the event's offset, opaque text. Empty is none.
	Offset string

	// EnqueuedTime is when the event was enqueued. Zero is unknown.
	EnqueuedTime time.Time
}

// WriteFunc stores a position of one partition. It returns soon after its
// context ends. Its errors are told apart by kind: after
// [checkpointstore.ErrRewound] nothing is written any more, after
// [checkpointstore.ErrStaleCheckpoint] the position is not tried again, after
// any other error it is.
type WriteFunc func(ctx context.Context, position Position) error

// ToStore returns a WriteFunc that stores positions in store, each with sequence
// number, offset and enqueued time, as far as they are known. Of partition only
// the names count: namespace, event hub, consumer group and partition id.
func ToStore(store checkpointstore.CheckpointStore, partition checkpointstore.Checkpoint) WriteFunc {
	return func(ctx context.Context, position Position) error {
		c, options := partition, checkpointstore.UpdateCheckpointOptions{}
		c.SequenceNumber, c.Offset = &position.SequenceNumber, nil
		if position.Offset != "" {
			c.Offset = &position.Offset
		}
		if !position.EnqueuedTime.IsZero() {
			options.EnqueuedTime = &position.EnqueuedTime
		}
		return store.UpdateCheckpoint(ctx, c, &options)
	}
}
