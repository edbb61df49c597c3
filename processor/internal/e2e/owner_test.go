package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
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
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor"
)

// config is all that one owner is made of, also in a process of its own.
type config struct {
	Name      string
	Hub       string // connection string
	Storage   string // connection string
	Container string
	Before    map[string]int64 // where to begin without a checkpoint: after this
	Greedy    bool
	Interval  time.Duration
	Expiry    time.Duration
	Claims    int           // at once; zero is the store's default
	Every     int           // events between two checkpoints; zero is each batch
	Work      time.Duration // between the last event and its checkpoint, in slices
	Loop      loop
	Verbatim  bool          // names as they are typed, as the official store writes them
	Clock     time.Duration // how far this owner's clock is ahead, compared with the store's

	inProcess
}

// inProcess is what only an owner in this process can have.
type inProcess struct {
	Processors *atomic.Int64                                            `json:"-"` // counts how many were made
	Handler    func(context.Context, config, partition, recorder) error `json:"-"` // in place of config.handle
	Tune       func(*processor.Options)                                 `json:"-"`
	Store      *checkpointstore.BlobCheckpointStore                     `json:"-"` // in place of one of its own
	Adapter    azeventhubs.CheckpointStore                              `json:"-"` // in place of one of its own
	Once       bool                                                     `json:"-"` // the first error of a Processor ends the owner
	Returned   func(error)                                              `json:"-"` // Run has, the client is still open
	Journal    *journal                                                 `json:"-"`
}

const slice = 50 * time.Millisecond

const consumerGroup = azeventhubs.DefaultConsumerGroup // "$Default": the spelling matters

// store makes the store that an azeventhubs Processor gets. The transport may be nil.
func (c config) store(transport policy.Transporter, logger *slog.Logger) (azeventhubs.CheckpointStore, error) {
	if c.Adapter != nil {
		return c.Adapter, nil
	}
	if c.Loop == official {
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
	return processor.Adapt(store, &processor.AdaptOptions{
		UpdateInterval: c.Interval, PartitionExpirationDuration: c.Expiry, Logger: logger,
	}), nil
}

func (c config) blobStore(transport policy.Transporter, logger *slog.Logger) (*checkpointstore.BlobCheckpointStore, error) {
	if c.Store != nil {
		return c.Store, nil
	}
	naming := checkpointstore.BlobNamingLowerCase
	if c.Verbatim {
		naming = checkpointstore.BlobNamingVerbatim
	}
	return checkpointstore.NewBlobCheckpointStoreFromConnectionString(c.Storage, c.Container, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions:  container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}},
		BlobNaming:     naming,
		MaxConcurrency: c.Claims,
		Timeout:        patience, // and Run's own bound is tighter
		Logger:         logger,
	})
}

func (c config) start() azeventhubs.StartPositions {
	start := make(map[string]azeventhubs.StartPosition)
	for id, sequence := range c.Before {
		start[id] = azeventhubs.StartPosition{SequenceNumber: &sequence}
	}
	return azeventhubs.StartPositions{PerPartition: start}
}

// options are those of an azeventhubs Processor.
func (c config) options() *azeventhubs.ProcessorOptions {
	strategy := azeventhubs.ProcessorStrategyBalanced
	if c.Greedy {
		strategy = azeventhubs.ProcessorStrategyGreedy
	}
	return &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy:       strategy,
		UpdateInterval:              c.Interval,
		PartitionExpirationDuration: c.Expiry,
		StartPositions:              c.start(),
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
	if c.Loop != run {
		return c.runProcessors(ctx, client, book, transport, logger)
	}
	store, err := c.blobStore(transport, logger)
	if err != nil {
		return err
	}
	if c.Processors != nil {
		c.Processors.Add(1)
	}
	handler := func(ctx context.Context, p *processor.Partition) error { return c.runHandler(ctx, p, book) }
	options := &processor.Options{
		UpdateInterval:              c.Interval,
		PartitionExpirationDuration: c.Expiry,
		StartPositions:              c.start(),
		MinBackoff:                  c.Interval,
		Logger:                      logger,
	}
	if c.Tune != nil {
		c.Tune(options)
	}
	p, err := processor.New(client, store, handler, options)
	if err != nil {
		return err
	}
	err = p.Run(ctx)
	if c.Returned != nil {
		c.Returned(err)
	}
	return err
}

// runProcessors runs one azeventhubs Processor after the other.
func (c config) runProcessors(ctx context.Context, client *azeventhubs.ConsumerClient, book recorder, transport policy.Transporter, logger *slog.Logger) error {
	store, err := c.store(transport, logger)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if c.Processors != nil {
			c.Processors.Add(1)
		}
		p, err := azeventhubs.NewProcessor(client, store, c.options())
		if err != nil {
			return err
		}
		if err := c.runProcessor(ctx, p, book); err != nil {
			if c.Once {
				return err
			}
			logger.Warn("the Processor ended", "error", err)
			select {
			case <-time.After(c.Interval):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// runProcessor runs a Processor and its handlers, which end before it does if ctx is
// done.
func (c config) runProcessor(ctx context.Context, p *azeventhubs.Processor, book recorder) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	handling, endHandlers := context.WithCancel(ctx)
	defer endHandlers()
	go func() {
		defer endHandlers()
		ended <- p.Run(running)
	}()
	var handlers sync.WaitGroup
	for {
		client := p.NextPartitionClient(handling)
		if client == nil {
			break
		}
		handlers.Go(func() {
			_ = c.runHandler(handling, client, book)
			if handling.Err() == nil { // or the Processor, which still renews, would open it again
				_ = client.Close(context.WithoutCancel(ctx))
			}
		})
	}
	handlers.Wait()
	stop()
	return <-ended
}

// partition is what a handler reads.
type partition interface {
	PartitionID() string
	ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error)
	UpdateCheckpoint(ctx context.Context, event *azeventhubs.ReceivedEventData, options *azeventhubs.UpdateCheckpointOptions) error
}

// runHandler calls the handler.
func (c config) runHandler(ctx context.Context, p partition, book recorder) error {
	if c.Handler != nil {
		return c.Handler(ctx, c, p, book)
	}
	return c.handle(ctx, p, book)
}

// handle handles events and stores checkpoints, the last one when it is told to
// stop. A checkpoint that fails in passing is made up for by the next.
func (c config) handle(ctx context.Context, p partition, book recorder) error {
	var open *azeventhubs.ReceivedEventData
	n := 0
	checkpoint := func() error {
		if open == nil {
			return nil
		}
		for range c.Work / slice { // a process that is paused has the rest before it when it goes on
			time.Sleep(slice)
		}
		err := p.UpdateCheckpoint(context.WithoutCancel(ctx), open, nil)
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
	network *network
	stop    context.CancelFunc
	done    chan struct{}
	err     error
}

// start starts an owner in this process. It stops with the test at the latest.
func (w *world) start(c config, f *network) *owner {
	w.t.Helper()
	c.Processors = new(atomic.Int64)
	c.Journal = &journal{next: logger(c.Name).Handler()}
	if c.Clock != 0 {
		f.Inject(faults.SkewClock(-c.Clock)) // for an owner that is ahead, the service's times are in the past
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &owner{config: c, network: f, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		defer f.close()
		o.err = c.run(ctx, w.ledger, f, slog.New(c.Journal))
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

// journal keeps warnings and errors.
type journal struct {
	next slog.Handler

	mu       sync.Mutex
	warnings []string
	all      []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }

func (j *journal) Handle(ctx context.Context, r slog.Record) error { return j.add(ctx, nil, r) }

func (j *journal) add(ctx context.Context, attrs []slog.Attr, r slog.Record) error {
	text := r.Message
	for _, a := range attrs {
		text += " " + a.String()
	}
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	j.mu.Lock()
	j.all = append(j.all, text)
	if r.Level >= slog.LevelWarn && !strings.Contains(r.Message, "right for an emulator only") {
		j.warnings = append(j.warnings, text)
	}
	j.mu.Unlock()
	if !j.next.Enabled(ctx, r.Level) {
		return nil
	}
	r = r.Clone()
	r.AddAttrs(attrs...)
	return j.next.Handle(ctx, r)
}

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler { return &attributed{j, attrs} }
func (j *journal) WithGroup(string) slog.Handler            { return j }

// attributed is a journal with attributes.
type attributed struct {
	*journal
	attrs []slog.Attr
}

func (a *attributed) Handle(ctx context.Context, r slog.Record) error { return a.add(ctx, a.attrs, r) }
func (a *attributed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &attributed{a.journal, append(slices.Clone(a.attrs), attrs...)}
}

// warned are the warnings and errors so far, logged all of the records.
func (j *journal) warned() []string { return j.read(&j.warnings) }
func (j *journal) logged() []string { return j.read(&j.all) }

func (j *journal) read(lines *[]string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(*lines)
}

// logger is silent unless E2E_LOG is set.
func logger(name string) *slog.Logger {
	if os.Getenv("E2E_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("owner", name)
}

func ownerName(i int) string { return fmt.Sprintf("owner-%c", 'a'+i) }
