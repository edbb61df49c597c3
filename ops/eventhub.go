package ops

import (
	"context"
	"time"
)

// EventHub is what this package needs of an event hub. The module
// github.com/ea947076/checkpointstore/processor has one on the clients of
// azeventhubs/v2, in package opshub. Its methods may be called from several
// goroutines. A call may ignore its context: this package waits for none longer
// than the context lasts.
type EventHub interface {
	// PartitionIDs returns the ids of the hub's partitions.
	PartitionIDs(ctx context.Context) ([]string, error)

	// PartitionProperties returns where a partition begins and ends.
	PartitionProperties(ctx context.Context, partitionID string) (PartitionProperties, error)

	// ReadEvent returns the first event of a partition at or after a position, read
	// in the consumer group of the client without an owner level, or nil if there is
	// none before the context ends.
	ReadEvent(ctx context.Context, partitionID string, from ReadFrom) (*Event, error)
}

// PartitionProperties say where a partition begins and ends.
type PartitionProperties struct {
	BeginningSequenceNumber    int64     // of the oldest event that is kept
	LastEnqueuedSequenceNumber int64     // -1 if there never was an event
	LastEnqueuedOffset         string    // "-1" if there never was an event
	LastEnqueuedTime           time.Time // by the clock of Event Hubs
	IsEmpty                    bool      // no event is kept
}

// ReadFrom is where to begin to read: exactly one field is set.
type ReadFrom struct {
	SequenceNumber *int64 // this event or the next one after it
	Offset         string
	EnqueuedTime   *time.Time // the first event enqueued at this time or later
}

// Event is what positions are made of.
type Event struct {
	SequenceNumber int64
	Offset         string
	EnqueuedTime   time.Time
}
