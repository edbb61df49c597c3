package processor

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// Partition is what a handler reads: a ProcessorPartitionClient whose end is
// seen to by [Run]. A test of a handler can bring its own.
type Partition interface {
	// PartitionID is the partition's id: "0".
	PartitionID() string

	// ReceiveEvents waits until count events have come or ctx or the handler's
	// context is done, and returns what has come until then. It returns an error
	// only if nothing has. One with azeventhubs.ErrorCodeOwnershipLost means that
	// another consumer reads the partition now; the handler should return it.
	ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error)

	// UpdateCheckpoint stores the event's position as the one to go on after.
	// When the handler's context is done, ctx being it or made from it does not
	// end the call: it then has RunOptions.CheckpointTimeout.
	UpdateCheckpoint(ctx context.Context, latestEvent *azeventhubs.ReceivedEventData, options *azeventhubs.UpdateCheckpointOptions) error
}

// partition is a Partition in the life of one handler.
type partition struct {
	client  partitionClient
	handler context.Context
	grace   time.Duration
}

func (p *partition) PartitionID() string { return p.client.PartitionID() }

func (p *partition) ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.handler, cancel)()
	return p.client.ReceiveEvents(ctx, count, options)
}

func (p *partition) UpdateCheckpoint(ctx context.Context, latestEvent *azeventhubs.ReceivedEventData, options *azeventhubs.UpdateCheckpointOptions) error {
	ctx, cancel := withGrace(ctx, p.handler, p.grace)
	defer cancel()
	return p.client.UpdateCheckpoint(ctx, latestEvent, options)
}

// withGrace is ctx, except that it lives on for the grace time when what ended it
// is the end of the handler.
func withGrace(ctx, handler context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	if handler.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), grace)
	}
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if handler.Err() == nil {
			cancel(ctx.Err())
			return
		}
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.DeadlineExceeded)
		case <-detached.Done():
		}
	})
	return detached, func() {
		stop()
		cancel(nil)
	}
}
