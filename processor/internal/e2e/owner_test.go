package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// config is all that one owner is made of, also in a process of its own.
type config struct {
	Name       string
	Hub        string // connection string
	Storage    string // connection string
	Container  string
	Before     map[string]int64 // where to begin without a checkpoint: after this
	Greedy     bool
	Interval   time.Duration
	Expiry     time.Duration
	Claims     int           // at once; zero is the store's default
	Every      int           // events between two checkpoints; zero is each batch
	Work       time.Duration // between the last event and its checkpoint, in slices
	Official   bool          // the store of azeventhubs/v2, without an adapter
	Processors *atomic.Int64 `json:"-"` // counts how many were made
}

const slice = 50 * time.Millisecond

const consumerGroup = azeventhubs.DefaultConsumerGroup // "$Default": the spelling matters

// store makes the store that the Processor gets. The transport may be nil.
func (c config) store(transport policy.Transporter, logger *slog.Logger) (azeventhubs.CheckpointStore, error) {
	if c.Official {
		options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}}
		client, err := container.NewClientFromConnectionString(c.Storage, c.Container, options)
		if err != nil {
			return nil, err
		}
		return checkpoints.NewBlobStore(client, nil)
	}
	store, err := c.blobStore(transport, logger)
	if err != nil {
		return nil, err
	}
	return processor.Adapt(store, &processor.AdaptOptions{Logger: logger}), nil
}

func (c config) blobStore(transport policy.Transporter, logger *slog.Logger) (*checkpointstore.BlobCheckpointStore, error) {
	return checkpointstore.NewBlobCheckpointStoreFromConnectionString(c.Storage, c.Container, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions:  container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}},
		MaxConcurrency: c.Claims,
		Timeout:        10 * time.Second,
		Logger:         logger,
	})
}

// options are the Processor's.
func (c config) options() *azeventhubs.ProcessorOptions {
	strategy := azeventhubs.ProcessorStrategyBalanced
	if c.Greedy {
		strategy = azeventhubs.ProcessorStrategyGreedy
	}
	start := make(map[string]azeventhubs.StartPosition)
	for id, sequence := range c.Before {
		start[id] = azeventhubs.StartPosition{SequenceNumber: &sequence}
	}
	return &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy:       strategy,
		UpdateInterval:              c.Interval,
		PartitionExpirationDuration: c.Expiry,
		StartPositions:              azeventhubs.StartPositions{PerPartition: start},
	}
}

func (c config) client() (*azeventhubs.ConsumerClient, error) {
	return azeventhubs.NewConsumerClientFromConnectionString(c.Hub, "", consumerGroup, &azeventhubs.ConsumerClientOptions{InstanceID: c.Name})
}

// run is the whole life of an owner.
func (c config) run(ctx context.Context, book recorder, transport policy.Transporter, logger *slog.Logger) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(context.Background()) }()
	store, err := c.store(transport, logger)
	if err != nil {
		return err
	}
	return processor.Run(ctx, &processor.RunOptions{
		NewProcessor: func(context.Context) (*azeventhubs.Processor, error) {
			if c.Processors != nil {
				c.Processors.Add(1)
			}
			return azeventhubs.NewProcessor(client, store, c.options())
		},
		HandlePartition: func(ctx context.Context, p processor.Partition) error { return c.handle(ctx, p, book) },
		MinBackoff:      c.Interval,
		Logger:          logger,
	})
}

// handle handles events and stores checkpoints, the last one when it is told to
// stop. A checkpoint that fails in passing is made up for by the next.
func (c config) handle(ctx context.Context, p processor.Partition, book recorder) error {
	var open *azeventhubs.ReceivedEventData
	n := 0
	checkpoint := func() error {
		if open == nil {
			return nil
		}
		for range c.Work / slice { // a process that is paused has the rest before it when it goes on
			time.Sleep(slice)
		}
		err := p.UpdateCheckpoint(ctx, open, nil)
		switch {
		case err == nil:
			book.checkpointed(c.Name, p.PartitionID(), open.SequenceNumber)
			open, n = nil, 0
		case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
			book.stale(c.Name, p.PartitionID(), open.SequenceNumber)
			return err
		}
		return nil
	}
	for {
		receiving, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		events, err := p.ReceiveEvents(receiving, 100, nil)
		cancel()
		for _, e := range events {
			book.handled(c.Name, p.PartitionID(), e.SequenceNumber)
			open = e
			n++
		}
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), checkpoint())
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		case n < c.Every:
			continue
		}
		if err := checkpoint(); err != nil {
			return err
		}
	}
}

// owner is a running one.
type owner struct {
	config
	faults *faults
	stop   context.CancelFunc
	done   chan struct{}
	err    error
}

// start starts an owner in this process. It stops with the test at the latest.
func (w *world) start(c config, f *faults) *owner {
	w.t.Helper()
	c.Processors = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	o := &owner{config: c, faults: f, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.err = c.run(ctx, w.ledger, f, logger(c.Name))
	}()
	w.t.Cleanup(func() {
		cancel()
		<-o.done
	})
	return o
}

// finish stops the owner and waits for its end.
func (o *owner) finish(t *testing.T) {
	t.Helper()
	o.stop()
	<-o.done
	require.NoError(t, o.err)
}

// logger is silent unless E2E_LOG is set.
func logger(name string) *slog.Logger {
	if os.Getenv("E2E_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("owner", name)
}

func ownerName(i int) string { return fmt.Sprintf("owner-%c", 'a'+i) }
