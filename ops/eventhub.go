package ops

import (
	"context"
	"time"
)

// EventHub is what this package needs from an event hub. Package
// github.com/ea947076/checkpointstore/processor/opshub implements it on a
// ConsumerClient of azeventhubs/v2. Its methods may be called concurrently. If a call
// ignores the end of its context, this package stops waiting for it.
type EventHub interface {
	// PartitionIDs returns the ids of the hub's partitions.
	PartitionIDs(ctx context.Context) ([]string, error)

	// PartitionProperties returns where a partition begins and ends.
	PartitionProperties(ctx context.Context, partitionID string) (PartitionProperties, error)

	// ReadEvent returns the first event of a partition at or after a position, or nil
	// if none arrives before the context's deadline. It reads in the consumer group of
	// the client, without an owner level.
	ReadEvent(ctx context.Context, partitionID string, from ReadFrom) (*Event, error)
}

// PartitionProperties say where a partition begins and ends.
type PartitionProperties struct {
	BeginningSequenceNumber    int64     // of the oldest event that is kept
	LastEnqueuedSequenceNumber int64     // -1 if no event was ever sent
	LastEnqueuedOffset         string    // "-1" if no event was ever sent
	LastEnqueuedTime           time.Time // by the clock of Event Hubs
	IsEmpty                    bool      // no event is kept
}

// ReadFrom is the position to read from. Exactly one field is set.
type ReadFrom struct {
	SequenceNumber *int64 // this event or the next one after it
	Offset         string
	EnqueuedTime   *time.Time // the first event enqueued at this time or later
}

// Event is the position of one event. Its body is not needed here.
type Event struct {
	SequenceNumber int64
	Offset         string
	EnqueuedTime   time.Time
}
