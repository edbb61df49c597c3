package progress

import (
	"context"
	"time"

	"github.com/ea947076/checkpointstore"
)

// Position is the position of an event in its partition.
type Position struct {
	// SequenceNumber orders the positions of a partition.
	SequenceNumber int64

	// Offset is the event's offset, opaque text. Empty is none.
	Offset string

	// EnqueuedTime is when the event was enqueued. Zero means unknown.
	EnqueuedTime time.Time
}

// WriteFunc stores a position of one partition. It must return soon after its context
// ends. After [checkpointstore.ErrRewound], nothing more is written. After
// [checkpointstore.ErrStaleCheckpoint], the position is dropped. After any other
// error, it is tried again.
type WriteFunc func(ctx context.Context, position Position) error

// ToStore returns a WriteFunc that stores positions in store, with the sequence
// number and, if they are known, the offset and the enqueued time. Of partition it
// uses only the names: namespace, event hub, consumer group and partition id.
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
