package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// RunOptions are the options of [Run]. NewProcessor and HandlePartition are
// required.
type RunOptions struct {
	// NewProcessor makes the first Processor, and the next one when one has
	// ended: a Processor cannot be started twice. What it makes them of, a
	// ConsumerClient and an adapted store, may be the same each time; then the
	// next Processor has the owner id of the last one and finds its partitions.
	// Its error counts as a Processor that ended at once.
	NewProcessor func(ctx context.Context) (*azeventhubs.Processor, error)

	// HandlePartition reads one partition until ctx is done or it has an error,
	// which ReceiveEvents gives it when another consumer took the partition. It
	// runs in a goroutine of its own, at most one for each partition.
	//
	// When it returns, with an error or without, the partition is given up, and
	// handed out again when it is next claimed; after an error or a panic not
	// before a time that grows with each one in a row.
	HandlePartition func(ctx context.Context, partition Partition) error

	// ShutdownTimeout is how long the handlers have to return after their context
	// is done. Zero is 30 seconds.
	ShutdownTimeout time.Duration

	// CheckpointTimeout is how long a checkpoint may take that is made, or still
	// on its way, after the handler's context is done. Zero is 10 seconds.
	CheckpointTimeout time.Duration

	// MinBackoff and MaxBackoff bound the time between the end of a Processor and
	// the start of the next one, and between the failure of a partition's handler
	// and its next start. It doubles each time, of which a random part, up to
	// half, is taken off. Zero is 1 second and 1 minute.
	MinBackoff, MaxBackoff time.Duration

	// ResetAfter is how long a Processor, or a handler, has to run to be taken
	// for healthy, so that the time to the next start is MinBackoff again. Zero
	// is 5 minutes.
	ResetAfter time.Duration

	// GiveUp is asked about the error with which a Processor ended; if it returns
	// true, Run returns that error. [Lasting] fits. Nil never gives up.
	GiveUp func(err error) bool

	// Logger gets starts and ends of Processors and partitions, failures of
	// handlers as warnings, and panics with their stack as errors. Nil is silent.
	Logger *slog.Logger
}

// Run creates a Processor and hands each partition that it claims to a handler,
// until ctx is done. Then it returns nil, or an error if a handler did not return
// within ShutdownTimeout.
//
// A Processor that ends by itself is not an error; the next one is started after
// a time that grows with each one in a row. That a handler returns an error or
// panics ends that partition's handler and nothing else. That another consumer
// took a partition is expected: it is neither counted as a failure nor waited
// for.
//
// # Shutdown
//
// When ctx is done, in this order: no more handlers are started; the handlers'
// contexts are done, while the Processor still renews their partitions; the
// handlers return, the checkpoints that they make meanwhile having time of their
// own (CheckpointTimeout); the partition clients are closed; the partitions are
// relinquished, which takes up to a minute if the storage does not answer. So
// nobody else reads a partition before its last checkpoint here is stored.
//
// # With a store from Adapt
//
// Two things hold only with a store from [Adapt]. The handlers of a Processor
// that ended by itself return before their partitions are relinquished. And a
// partition that was lost is not claimed again before the handler that read it
// until then has been told to return, and has: a checkpoint of that handler, of
// a process that was paused for example, would otherwise count as one of the new
// owner, and could go back behind those that others stored in between.
//
// # Errors
//
// A required option that is missing, or a negative time: at once. What GiveUp
// accepts. Handlers that did not return in time: the only goroutines that are
// left when Run returns are theirs.
func Run(ctx context.Context, options *RunOptions) error {
	r, err := newRunner(options)
	if err != nil {
		return err
	}
	return r.run(ctx)
}

// runner is one call of Run.
type runner struct {
	RunOptions
	newSource func(ctx context.Context) (source, error)
	turns     turnstiles
}

func newRunner(options *RunOptions) (*runner, error) {
	var o RunOptions
	if options != nil {
		o = *options
	}
	if o.NewProcessor == nil || o.HandlePartition == nil {
		return nil, errors.New("processor: RunOptions need NewProcessor and HandlePartition")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"ShutdownTimeout", &o.ShutdownTimeout, 30 * time.Second},
		{"CheckpointTimeout", &o.CheckpointTimeout, 10 * time.Second},
		{"MinBackoff", &o.MinBackoff, time.Second},
		{"MaxBackoff", &o.MaxBackoff, time.Minute},
		{"ResetAfter", &o.ResetAfter, 5 * time.Minute},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("processor: RunOptions.%s is negative: %v", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &runner{RunOptions: o}
	r.newSource = func(ctx context.Context) (source, error) { return newSource(ctx, o.NewProcessor) }
	return r, nil
}

// run starts one Processor after the other.
func (r *runner) run(ctx context.Context) error {
	wait := r.backoff()
	for {
		started := time.Now()
		err := r.runOne(ctx)
		switch {
		case ctx.Err() != nil:
			r.Logger.Info("stopped")
			return r.stuck()
		case err != nil && r.GiveUp != nil && r.GiveUp(err):
			return errors.Join(err, r.stuck())
		}
		delay := wait.next(time.Since(started))
		r.Logger.Error("the Processor ended; the next one is started", "error", err, "in", delay)
		if !sleep(ctx, delay) {
			return r.stuck()
		}
	}
}

// runOne runs one Processor and its handlers to the end of both.
func (r *runner) runOne(ctx context.Context) error {
	p, err := r.newSource(ctx)
	if err != nil {
		return fmt.Errorf("processor: NewProcessor: %w", err)
	}
	h := newHandlers(ctx, r.ShutdownTimeout, &r.turns)
	running, stopProcessor := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), handlersKey{}, h))
	defer stopProcessor()
	accepting, stopAccepting := context.WithCancel(ctx)
	defer stopAccepting()

	ended := make(chan error, 1)
	go func() {
		defer stopAccepting()
		ended <- p.Run(running)
	}()
	r.Logger.Info("processor started")
	for {
		client := p.NextPartitionClient(accepting)
		if client == nil {
			break
		}
		h.start(client.PartitionID(), func(ctx context.Context) { r.serve(ctx, h.ctx, client) })
	}

	// Either ctx is done, or the Processor has ended. It renews what the
	// handlers still work on until they have returned.
	h.stop(context.WithoutCancel(ctx))
	stopProcessor()
	err = <-ended
	// Its clients are closed now, which also ends handlers that only they hold.
	h.linger(r.CheckpointTimeout)
	return err
}

func (r *runner) backoff() *backoff {
	return &backoff{min: r.MinBackoff, max: r.MaxBackoff, resetAfter: r.ResetAfter}
}

// stuck is the error of handlers that have not returned.
func (r *runner) stuck() error {
	ids := r.turns.taken()
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return fmt.Errorf("processor: the handlers of partitions %s did not return within %v", strings.Join(ids, ", "), r.ShutdownTimeout)
}
