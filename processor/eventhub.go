package processor

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// EventHub is what a [Processor] needs of Event Hubs. [NewEventHub] makes one of
// an azeventhubs.ConsumerClient, package processortest has one in memory. Its
// methods may be called from several goroutines. A call may ignore its context: a
// Processor waits for none longer than the context lasts.
type EventHub interface {
	// OwnerID is the id that partitions are claimed under. It must be unique per
	// running Processor, and does not change.
	OwnerID() string

	// Properties returns the names of the hub and the ids of its partitions.
	Properties(ctx context.Context) (EventHubProperties, error)

	// PartitionProperties returns the position of a partition's last event.
	PartitionProperties(ctx context.Context, partitionID string) (azeventhubs.PartitionProperties, error)

	// OpenPartition returns a receiver that takes the partition from all receivers
	// of the same owner level. The link may be opened by the first ReceiveEvents,
	// which then returns the error if that fails.
	OpenPartition(ctx context.Context, partitionID string, options *azeventhubs.PartitionClientOptions) (Receiver, error)
}

// EventHubProperties name an event hub and its partitions.
type EventHubProperties struct {
	FullyQualifiedNamespace string // "mynamespace.servicebus.windows.net"
	EventHubName            string
	ConsumerGroup           string
	PartitionIDs            []string
}

// Receiver receives the events of one partition; *azeventhubs.PartitionClient is
// one.
type Receiver interface {
	// ReceiveEvents waits until count events have come or ctx is done, and returns
	// what has come. It returns an error only if nothing has.
	ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error)

	// Close detaches the link.
	Close(ctx context.Context) error
}
