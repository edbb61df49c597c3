package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

// TestNewClientReplacesOneThatIsClosed: partitions are read on with the next client,
// under the same owner id.
func TestNewClientReplacesOneThatIsClosed(t *testing.T) {
	parallel(t)
	w := newWorld(t, 2, 5)
	c := w.config(0)
	client, err := c.client()
	require.NoError(t, err)
	store, err := c.blobStore(newNetwork(), logger(c.Name))
	require.NoError(t, err)
	made := make(chan struct{}, 100)
	handler := func(ctx context.Context, p *processor.Partition) error { return c.handle(ctx, p, w.ledger) }
	p, err := processor.New(client, store, handler, &processor.Options{
		UpdateInterval:              c.Interval,
		PartitionExpirationDuration: c.Expiry,
		StartPositions:              c.start(),
		MinBackoff:                  c.Interval,
		MaxBackoff:                  time.Second,
		Logger:                      logger(c.Name),
		NewClient: func(context.Context) (*azeventhubs.ConsumerClient, error) {
			made <- struct{}{}
			return c.client()
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.complete()
	require.NoError(t, client.Close(t.Context()))
	<-made
	w.hub.appendAll(5)
	w.complete()
	require.Len(t, w.of(c.Name), 2)
	stop()
	require.NoError(t, <-ended)
	require.Empty(t, w.owners())
	require.Empty(t, made, "one is enough")
}
