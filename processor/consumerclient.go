package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// NewEventHub returns the [EventHub] of a ConsumerClient, with its InstanceID as the
// owner id. The first call of Properties sends two requests, one of them to learn
// the names of the hub and of the consumer group.
func NewEventHub(client *azeventhubs.ConsumerClient) EventHub {
	return &consumerClient{ownerID: client.InstanceID(), client: client}
}

// consumerClient is an [EventHub] on azeventhubs.
type consumerClient struct {
	ownerID   string
	newClient func(ctx context.Context) (*azeventhubs.ConsumerClient, error) // may be nil

	mu     sync.Mutex
	client *azeventhubs.ConsumerClient
	made   bool         // by newClient
	names  *probedNames // nil until they were read
}

func (c *consumerClient) current() *azeventhubs.ConsumerClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

func (c *consumerClient) OwnerID() string { return c.ownerID }

func (c *consumerClient) Properties(ctx context.Context) (EventHubProperties, error) {
	names, err := c.readNames(ctx)
	if err != nil {
		return EventHubProperties{}, err
	}
	properties, err := c.current().GetEventHubProperties(ctx, nil)
	if err != nil {
		return EventHubProperties{}, err
	}
	return EventHubProperties{
		FullyQualifiedNamespace: names.namespace,
		EventHubName:            names.eventHub,
		ConsumerGroup:           names.consumerGroup,
		PartitionIDs:            properties.PartitionIDs,
	}, nil
}

func (c *consumerClient) PartitionProperties(ctx context.Context, partitionID string) (azeventhubs.PartitionProperties, error) {
	return c.current().GetPartitionProperties(ctx, partitionID, nil)
}

func (c *consumerClient) OpenPartition(_ context.Context, partitionID string, options *azeventhubs.PartitionClientOptions) (Receiver, error) {
	client := c.current()
	receiver, err := client.NewPartitionClient(partitionID, options)
	if err != nil {
		return nil, err
	}
	return &partitionClient{Receiver: receiver, reopen: func() (Receiver, error) {
		earliest, again := true, *options
		again.StartPosition = azeventhubs.StartPosition{Earliest: &earliest, Inclusive: true}
		return client.NewPartitionClient(partitionID, &again)
	}}, nil
}

// partitionClient is a PartitionClient that begins at the partition's beginning if
// a hub with geo-replication refuses an integer offset, as azeventhubs' Processor
// does.
type partitionClient struct {
	Receiver
	reopen func() (Receiver, error) // nil when it was used
}

func (c *partitionClient) ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	events, err := c.Receiver.ReceiveEvents(ctx, count, options)
	var condition *amqp.Error
	if c.reopen == nil || !errors.As(err, &condition) || condition.Condition != "com.microsoft:georeplication:invalid-offset" {
		return events, err
	}
	next, err := c.reopen()
	if err != nil {
		return nil, err
	}
	_ = c.Close(ctx)
	c.Receiver, c.reopen = next, nil
	return c.Receiver.ReceiveEvents(ctx, count, options)
}

// replaceClient makes a new client in place of a broken one. It is called by one
// goroutine at a time.
func (c *consumerClient) replaceClient(ctx context.Context) error {
	if c.newClient == nil {
		return nil
	}
	client, err := c.newClient(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	old, made := c.client, c.made
	c.client, c.made = client, true
	c.mu.Unlock()
	if made {
		_ = old.Close(ctx) // it is broken
	}
	return nil
}

// closeMade closes the client if newClient made it.
func (c *consumerClient) closeMade(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made {
		return nil
	}
	return c.client.Close(ctx)
}

// probedNames is a checkpoint store that notes the names that a Processor asks it
// for, and ends that Processor: ConsumerClient has no methods for them.
type probedNames struct{ namespace, eventHub, consumerGroup string }

var errProbed = errors.New("the names were read")

func (c *consumerClient) readNames(ctx context.Context) (*probedNames, error) {
	c.mu.Lock()
	names, client := c.names, c.client
	c.mu.Unlock()
	if names != nil {
		return names, nil
	}
	names = &probedNames{}
	p, err := azeventhubs.NewProcessor(client, names, nil)
	if err != nil {
		return nil, err
	}
	if err := p.Run(ctx); !errors.Is(err, errProbed) {
		if err == nil { // as a Processor ends with its context
			err = fmt.Errorf("processor: the names of the event hub were not read: %w", context.Cause(ctx))
		}
		return nil, err
	}
	c.mu.Lock()
	c.names = names
	c.mu.Unlock()
	return names, nil
}

func (n *probedNames) ListOwnership(_ context.Context, namespace, eventHub, consumerGroup string, _ *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	*n = probedNames{namespace, eventHub, consumerGroup}
	return nil, errProbed
}

func (n *probedNames) ClaimOwnership(context.Context, []azeventhubs.Ownership, *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	return nil, nil
}

func (n *probedNames) ListCheckpoints(context.Context, string, string, string, *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	return nil, errProbed
}

func (n *probedNames) SetCheckpoint(context.Context, azeventhubs.Checkpoint, *azeventhubs.SetCheckpointOptions) error {
	return errProbed
}
