package test

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/progress"
)

// scriptedOwner is a Processor with package otel around and within it.
type scriptedOwner struct {
	*ledger
	name     string
	recorded *recorded
	network  *faults.Transport // between its store and the container
	store    checkpointstore.CheckpointStore
	client   *azeventhubs.ConsumerClient
	running  *processor.Processor
	cancel   context.CancelFunc
	result   chan error

	ended       bool
	outageSince time.Time // when its requests to the store began to fail; zero if they succeed
}

// start starts an owner: each with a recorder of its own.
func (s *script) start(name string) *scriptedOwner {
	t := s.t
	o := &scriptedOwner{ledger: newLedger(s.scope, name), name: name, recorded: record(t), result: make(chan error, 1)}
	options := o.recorded.options
	options.LagInterval = 20 * time.Millisecond

	wire := &http.Client{Transport: &http.Transport{}}
	o.network = faults.New(wire, 1)
	transport := faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		begun := time.Now()
		resp, err := o.network.Do(req)
		o.requested(req, resp, err, time.Since(begun))
		return resp, err
	})
	blobs, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(s.storage, s.blobs, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{
			Transport: transport, PerRetryPolicies: []policy.Policy{otel.Policy(options)},
			Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: 10 * time.Millisecond},
		}},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	o.store = otel.Store(&ledgerStore{blobs, o.ledger}, options)

	o.client, err = azeventhubs.NewConsumerClientFromConnectionString(s.hub.ConnectionString(), "", s.scope.ConsumerGroup,
		&azeventhubs.ConsumerClientOptions{InstanceID: name, RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
	require.NoError(t, err)
	batches := processor.Batches(otel.Handler(o.handle, options), &processor.BatchOptions{
		MaxWait: -1, MaxAttempts: 3, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
		OnExhausted: func(ctx context.Context, failed *processor.Batch, err error) error {
			o.skipped(failed)
			return processor.Skip(ctx, failed, err)
		},
		Checkpoints: progress.CheckpointerOptions{Interval: 50 * time.Millisecond, MinBackoff: 50 * time.Millisecond, MaxBackoff: 100 * time.Millisecond},
	})
	handler := func(ctx context.Context, p *processor.Partition) error {
		o.opened(p.PartitionID())
		err := batches(ctx, p)
		o.closed(p.PartitionID(), err)
		return err
	}
	yes := true
	o.running, err = processor.New(o.client, o.store, handler, &processor.Options{
		// The script waits for one expiration. Run gives a request a quarter of it, and a renewal
		// that takes longer would end a tenure.
		UpdateInterval: 100 * time.Millisecond, PartitionExpirationDuration: 20 * time.Second,
		MinBackoff: 200 * time.Millisecond, MaxBackoff: time.Second,
		StartPositions: azeventhubs.StartPositions{
			Default:      azeventhubs.StartPosition{Earliest: &yes},
			PerPartition: map[string]azeventhubs.StartPosition{"3": {Latest: &yes}},
		},
		Logger: slog.New(slog.DiscardHandler),
		Hooks:  processor.JoinHooks(otel.Hooks(options), o.hooks()),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.result <- o.running.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = o.client.Close(context.Background())
		wire.CloseIdleConnections()
	})
	return o
}

// poisonous is why a poison event fails.
type poisonous struct{}

func (poisonous) Error() string     { return "the event cannot be handled" }
func (poisonous) ErrorType() string { return "poison" }

// handle handles a batch.
func (o *scriptedOwner) handle(_ context.Context, b *processor.Batch) error {
	begun := time.Now()
	blocked, poison := o.called(b)
	if blocked != nil {
		<-blocked
	}
	done, kind, err := len(b.Events), "", error(nil)
	for i, e := range b.Events {
		if e.SequenceNumber == poison {
			done, kind, err = i, "poison", &processor.PartialError{Done: i, Err: poisonous{}}
			break
		}
	}
	o.returned(b, done, time.Since(begun), kind)
	return err
}

// block makes the handler wait in a partition until the function that it returns is
// called.
func (o *scriptedOwner) block(partition string) (unblock func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	block := make(chan struct{})
	o.of(partition).block = block
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.of(partition).block = nil
		close(block)
	}
}

// spoil makes an event one that the handler cannot handle.
func (o *scriptedOwner) spoil(partition string, sequenceNumber int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(partition).poison = sequenceNumber
}
