package processor

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// source is what Run needs of a Processor.
type source interface {
	Run(ctx context.Context) error
	// NextPartitionClient returns nil when the Processor or ctx has ended.
	NextPartitionClient(ctx context.Context) partitionClient
}

// partitionClient is what Run needs of a ProcessorPartitionClient.
type partitionClient interface {
	PartitionID() string
	ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error)
	UpdateCheckpoint(ctx context.Context, latestEvent *azeventhubs.ReceivedEventData, options *azeventhubs.UpdateCheckpointOptions) error
	Close(ctx context.Context) error
}

var _ partitionClient = (*azeventhubs.ProcessorPartitionClient)(nil)

// realSource is a Processor.
type realSource struct{ *azeventhubs.Processor }

func newSource(ctx context.Context, newProcessor func(context.Context) (*azeventhubs.Processor, error)) (source, error) {
	p, err := newProcessor(ctx)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("it returned no Processor and no error")
	}
	return realSource{p}, nil
}

func (s realSource) NextPartitionClient(ctx context.Context) partitionClient {
	if c := s.Processor.NextPartitionClient(ctx); c != nil {
		return c
	}
	return nil
}
