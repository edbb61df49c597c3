package processor

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// EventHub is what a [Processor] needs from Event Hubs. [NewEventHub] makes one from
// an azeventhubs.ConsumerClient; package processortest has one in memory. Its
// methods may be called from several goroutines at once. A Processor does not wait
// for a call that ignores the end of its context.
type EventHub interface {
	// OwnerID returns the id under which partitions are claimed. It must be unique to
	// each running Processor, and must not change.
	OwnerID() string

	// Properties returns the names of the hub and the ids of its partitions.
	Properties(ctx context.Context) (EventHubProperties, error)

	// PartitionProperties returns the position of a partition's last event.
	PartitionProperties(ctx context.Context, partitionID string) (azeventhubs.PartitionProperties, error)

	// OpenPartition returns a receiver, which takes the partition from all other
	// receivers of the same owner level. The link may be opened by the first
	// ReceiveEvents, which then returns the error if that fails.
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
