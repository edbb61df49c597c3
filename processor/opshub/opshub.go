// Package opshub lets package ops ask an event hub through the clients of
// azeventhubs/v2: where its partitions begin and end, and which event is at a
// position.
package opshub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/ea947076/checkpointstore/ops"
)

// ErrPartitionOwned: a consumer with an owner level, such as processor.Run, reads the
// partition in the client's consumer group. Event Hubs lets nobody read there without
// one: use a client of another consumer group.
var ErrPartitionOwned = errors.New("a consumer with an owner level reads the partition in this consumer group")

// closeTimeout bounds how long a link to a partition is closed.
const closeTimeout = 5 * time.Second

// New returns the event hub of a client. It reads events in the client's consumer
// group, without an owner level, so that it never takes a partition from a consumer.
// While one with an owner level reads there, ReadEvent fails with [ErrPartitionOwned].
//
// Give the client few retries: azeventhubs tries again what Event Hubs refused, and
// until it gives up, a refusal looks like a partition without events.
func New(client *azeventhubs.ConsumerClient) ops.EventHub { return eventHub{client} }

type eventHub struct{ client *azeventhubs.ConsumerClient }

// PartitionIDs sends one request over AMQP.
func (h eventHub) PartitionIDs(ctx context.Context) ([]string, error) {
	properties, err := h.client.GetEventHubProperties(ctx, nil)
	return properties.PartitionIDs, err
}

// PartitionProperties sends one request over AMQP. The client does not end it with its
// context, only with the client's own timeouts.
func (h eventHub) PartitionProperties(ctx context.Context, partitionID string) (ops.PartitionProperties, error) {
	p, err := h.client.GetPartitionProperties(ctx, partitionID, nil)
	if err != nil {
		return ops.PartitionProperties{}, err
	}
	return ops.PartitionProperties{
		BeginningSequenceNumber:    p.BeginningSequenceNumber,
		LastEnqueuedSequenceNumber: p.LastEnqueuedSequenceNumber,
		LastEnqueuedOffset:         p.LastEnqueuedOffset,
		LastEnqueuedTime:           p.LastEnqueuedOn.UTC(),
		IsEmpty:                    p.IsEmpty,
	}, nil
}

// ReadEvent opens a link to the partition, takes one event, and closes the link.
func (h eventHub) ReadEvent(ctx context.Context, partitionID string, from ops.ReadFrom) (*ops.Event, error) {
	link, err := h.client.NewPartitionClient(partitionID, &azeventhubs.PartitionClientOptions{StartPosition: startAt(from), Prefetch: -1})
	if err != nil {
		return nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = link.Close(closing) // the event was read, or there is an error already
	}()
	events, err := link.ReceiveEvents(ctx, 1, nil)
	var refused *azeventhubs.Error
	switch {
	case len(events) > 0:
		return eventOf(events[0])
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, nil
	case errors.As(err, &refused) && strings.Contains(err.Error(), string(amqp.ErrCondStolen)):
		// azeventhubs keeps the condition in the text only.
		return nil, fmt.Errorf("%w: %w", ErrPartitionOwned, err)
	case err == nil:
		return nil, errors.New("azeventhubs returned no event and no error")
	}
	return nil, err
}

// startAt is where azeventhubs begins to read.
func startAt(from ops.ReadFrom) azeventhubs.StartPosition {
	switch {
	case from.SequenceNumber != nil:
		return azeventhubs.StartPosition{Inclusive: true, SequenceNumber: from.SequenceNumber}
	case from.EnqueuedTime != nil:
		// Event Hubs knows whole milliseconds and starts after a time: the last one
		// before the time that is asked for.
		after := from.EnqueuedTime.Add(time.Millisecond - 1).Truncate(time.Millisecond).Add(-time.Millisecond)
		return azeventhubs.StartPosition{EnqueuedTime: &after}
	}
	return azeventhubs.StartPosition{Inclusive: true, Offset: &from.Offset}
}

func eventOf(e *azeventhubs.ReceivedEventData) (*ops.Event, error) {
	if e.EnqueuedTime == nil {
		return nil, fmt.Errorf("event %d has no enqueued time", e.SequenceNumber)
	}
	return &ops.Event{SequenceNumber: e.SequenceNumber, Offset: e.Offset, EnqueuedTime: e.EnqueuedTime.UTC()}, nil
}
