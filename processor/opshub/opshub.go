// Package opshub lets package ops ask an event hub through the clients of
// azeventhubs/v2: where its partitions begin and end, and which event is at a
// position.
package opshub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore/ops"
)

// closeTimeout bounds how long a link to a partition is closed.
const closeTimeout = 5 * time.Second

// New returns the event hub of a client. It reads events in the client's consumer
// group, without an owner level: Event Hubs refuses that while a consumer with an
// owner level, as those under processor.Run are, reads the partition in that group.
func New(client *azeventhubs.ConsumerClient) ops.EventHub { return eventHub{client} }

type eventHub struct{ client *azeventhubs.ConsumerClient }

// PartitionIDs sends one request over AMQP.
func (h eventHub) PartitionIDs(ctx context.Context) ([]string, error) {
	properties, err := h.client.GetEventHubProperties(ctx, nil)
	return properties.PartitionIDs, err
}

// PartitionProperties sends one request over AMQP. It does not end with its context.
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

// ReadEvent opens a link to the partition, takes one event, and closes it.
func (h eventHub) ReadEvent(ctx context.Context, partitionID string, from ops.ReadFrom) (event *ops.Event, err error) {
	start := azeventhubs.StartPosition{Inclusive: true}
	switch {
	case from.SequenceNumber != nil:
		start.SequenceNumber = from.SequenceNumber
	case from.EnqueuedTime != nil:
		// Times have milliseconds in Event Hubs, and azeventhubs cuts off what is finer.
		at := from.EnqueuedTime.Add(time.Millisecond - 1)
		start.EnqueuedTime = &at
	default:
		start.Offset = &from.Offset
	}
	link, err := h.client.NewPartitionClient(partitionID, &azeventhubs.PartitionClientOptions{StartPosition: start, Prefetch: -1})
	if err != nil {
		return nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, link.Close(closing))
	}()
	for {
		events, err := link.ReceiveEvents(ctx, 1, nil)
		switch {
		case len(events) > 0:
			e := events[0]
			if e.EnqueuedTime == nil {
				return nil, fmt.Errorf("event %d has no enqueued time", e.SequenceNumber)
			}
			return &ops.Event{SequenceNumber: e.SequenceNumber, Offset: e.Offset, EnqueuedTime: e.EnqueuedTime.UTC()}, nil
		case errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
}
