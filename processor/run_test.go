package processor

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// fakeProcessor hands out what tests send it, until it is told or made to end.
type fakeProcessor struct {
	clients chan *fakeClient
	end     chan error // makes Run return
	ended   chan struct{}
	journal *journal
	running context.Context
	started chan struct{}
}

// handlers are what an adapter finds in the context of a call.
func (p *fakeProcessor) handlers() *handlers {
	<-p.started
	return p.running.Value(handlersKey{}).(*handlers)
}

func (p *fakeProcessor) Run(ctx context.Context) error {
	p.running = ctx
	close(p.started)
	defer close(p.ended)
	defer p.journal.add("processor ended")
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.end:
		return err
	}
}

func (p *fakeProcessor) NextPartitionClient(ctx context.Context) partitionClient {
	select {
	case c := <-p.clients:
		return c
	case <-p.ended:
	case <-ctx.Done():
	}
	return nil
}

// fakeClient has no events; it notes what is done with it.
type fakeClient struct {
	id      string
	journal *journal
	update  func(ctx context.Context) error
	closed  atomic.Int32
}

func (c *fakeClient) PartitionID() string { return c.id }

func (c *fakeClient) ReceiveEvents(ctx context.Context, _ int, _ *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (c *fakeClient) UpdateCheckpoint(ctx context.Context, _ *azeventhubs.ReceivedEventData, _ *azeventhubs.UpdateCheckpointOptions) error {
	c.journal.add("checkpoint")
	if c.update == nil {
		return ctx.Err()
	}
	return c.update(ctx)
}

func (c *fakeClient) Close(context.Context) error {
	c.closed.Add(1)
	c.journal.add("closed")
	return nil
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string{}, j.lines...)
}

// harness runs Run with Processors that tests control.
type harness struct {
	t          *testing.T
	journal    journal
	logs       logs
	processors chan *fakeProcessor // as they are made
	fail       atomic.Pointer[error]
	cancel     context.CancelFunc
	result     chan error
}

type handle = func(context.Context, Partition) error

func start(t *testing.T, options RunOptions, handle handle) *harness {
	h := &harness{t: t, processors: make(chan *fakeProcessor, 100), result: make(chan error, 1)}
	options.HandlePartition = handle
	options.NewProcessor = func(context.Context) (*azeventhubs.Processor, error) { return nil, nil }
	options.Logger = slog.New(&h.logs)
	if options.MinBackoff == 0 {
		options.MinBackoff, options.MaxBackoff = time.Millisecond, time.Millisecond
	}
	r, err := newRunner(&options)
	require.NoError(t, err)
	r.newSource = func(context.Context) (source, error) {
		if err := h.fail.Swap(nil); err != nil {
			return nil, *err
		}
		p := &fakeProcessor{clients: make(chan *fakeClient), end: make(chan error), ended: make(chan struct{}), started: make(chan struct{}), journal: &h.journal}
		h.processors <- p
		return p, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	go func() { h.result <- r.run(ctx) }()
	t.Cleanup(cancel)
	return h
}

func (h *harness) client(id string) *fakeClient { return &fakeClient{id: id, journal: &h.journal} }

// stop ends Run and returns its result.
func (h *harness) stop() error {
	h.cancel()
	return <-h.result
}

// untilDone is a handler that returns when it is told to.
func untilDone(ctx context.Context, _ Partition) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestRunOptions(t *testing.T) {
	require.ErrorContains(t, Run(t.Context(), nil), "need NewProcessor and HandlePartition")
	ok := RunOptions{
		NewProcessor:    func(context.Context) (*azeventhubs.Processor, error) { return nil, nil },
		HandlePartition: untilDone,
	}
	negative := ok
	negative.ShutdownTimeout = -1
	require.ErrorContains(t, Run(t.Context(), &negative), "ShutdownTimeout is negative")
	r, err := newRunner(&ok)
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, r.ShutdownTimeout)
	_, err = r.newSource(t.Context())
	require.ErrorContains(t, err, "no Processor and no error")

	ok.GiveUp = func(error) bool { return true }
	require.ErrorContains(t, Run(t.Context(), &ok), "processor: NewProcessor: it returned no Processor")
}

// bubble is a subtest whose clock stands still while anything runs.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestRun(t *testing.T) {
	bubble(t, "each partition gets a handler of its own", func(t *testing.T) {
		started := make(chan string)
		h := start(t, RunOptions{}, func(ctx context.Context, p Partition) error {
			started <- p.PartitionID()
			return untilDone(ctx, p)
		})
		p := <-h.processors
		p.clients <- h.client("0")
		require.Equal(t, "0", <-started)
		p.clients <- h.client("1")
		require.Equal(t, "1", <-started)
		require.NoError(t, h.stop())
	})
	bubble(t, "the next Processor is started when one has ended", func(t *testing.T) {
		h := start(t, RunOptions{}, untilDone)
		p := <-h.processors
		p.clients <- h.client("0")
		p.end <- errBusy
		next := <-h.processors
		next.clients <- h.client("0")
		require.Contains(t, h.logs.all(), "ERROR the Processor ended; the next one is started")
		require.NoError(t, h.stop())
	})
	bubble(t, "and when none could be made", func(t *testing.T) {
		h := start(t, RunOptions{}, untilDone)
		err := errors.New("no such host")
		p := <-h.processors
		h.fail.Store(&err)
		p.end <- errBusy
		<-h.processors
		require.NoError(t, h.stop())
	})
	bubble(t, "after a while", func(t *testing.T) {
		h := start(t, RunOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour}, untilDone)
		(<-h.processors).end <- errBusy
		synctest.Wait()
		require.Contains(t, h.logs.all(), "ERROR the Processor ended; the next one is started")
		require.Empty(t, h.processors)
		time.Sleep(time.Hour)
		<-h.processors
		require.NoError(t, h.stop())
	})
	bubble(t, "not after an error to give up on", func(t *testing.T) {
		h := start(t, RunOptions{GiveUp: Lasting}, untilDone)
		(<-h.processors).end <- errBusy
		(<-h.processors).end <- errDenied
		require.ErrorIs(t, <-h.result, checkpointstore.ErrNotAuthorized)
	})
	bubble(t, "handlers of a Processor that ended return before the next one starts", func(t *testing.T) {
		var h *harness
		in := make(chan struct{})
		h = start(t, RunOptions{}, func(ctx context.Context, _ Partition) error {
			close(in)
			<-ctx.Done()
			h.journal.add("handler returned")
			return nil
		})
		p := <-h.processors
		p.clients <- h.client("0")
		<-in
		p.end <- errBusy
		<-h.processors
		require.Contains(t, h.journal.all(), "handler returned")
		require.NoError(t, h.stop())
	})
}

func TestRunHandlers(t *testing.T) {
	lostError := &azeventhubs.Error{Code: azeventhubs.ErrorCodeOwnershipLost}
	boom := errors.New("boom")
	for _, c := range []struct {
		name   string
		handle handle
		log    string
	}{
		{"that returns an error", func(context.Context, Partition) error { return boom }, "WARN partition given up, its handler failed"},
		{"that panics", func(context.Context, Partition) error { panic("boom") }, "ERROR a handler panicked"},
		{"that ends its goroutine", func(context.Context, Partition) error { runtime.Goexit(); return nil }, "WARN partition given up, its handler failed"},
		{"that returns", func(context.Context, Partition) error { return nil }, "INFO partition given up by its handler"},
		{"whose partition was lost", func(context.Context, Partition) error { return lostError }, "INFO partition lost to another consumer"},
		{"whose checkpoint is stale", func(context.Context, Partition) error {
			return &checkpointstore.Error{Kind: checkpointstore.ErrStaleCheckpoint}
		}, "INFO partition lost to another consumer"},
	} {
		bubble(t, "a handler "+c.name+" gives its partition up and gets it again", func(t *testing.T) {
			calls := make(chan struct{}, 10)
			h := start(t, RunOptions{}, func(ctx context.Context, p Partition) error {
				calls <- struct{}{}
				return c.handle(ctx, p)
			})
			p := <-h.processors
			for range 2 {
				client := h.client("0")
				p.clients <- client
				<-calls
				synctest.Wait()
				require.EqualValues(t, 1, client.closed.Load())
			}
			require.Contains(t, h.logs.all(), c.log)
			require.NoError(t, h.stop())
		})
	}
	bubble(t, "a panic is reported with its stack", func(t *testing.T) {
		h := start(t, RunOptions{}, func(context.Context, Partition) error { panicHere(); return nil })
		client := h.client("0")
		(<-h.processors).clients <- client
		synctest.Wait()
		require.EqualValues(t, 1, client.closed.Load())
		require.NoError(t, h.stop())
		require.Contains(t, strings.Join(h.logs.attrs, "\n"), "panicHere")
	})
	bubble(t, "a handler whose partition was lost is told to return, also while it waits to start", func(t *testing.T) {
		calls, fail := make(chan struct{}), make(chan struct{})
		h := start(t, RunOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour}, func(ctx context.Context, _ Partition) error {
			calls <- struct{}{}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-fail:
				return boom
			}
		})
		p := <-h.processors
		closed := func(client *fakeClient) {
			synctest.Wait()
			require.EqualValues(t, 1, client.closed.Load())
			require.False(t, p.handlers().end("0"))
		}
		first, second, third := h.client("0"), h.client("0"), h.client("0")
		p.clients <- first
		<-calls
		require.False(t, p.handlers().end("1"))
		require.True(t, p.handlers().end("0"))
		closed(first)
		require.Contains(t, h.logs.all(), "INFO partition lost to another consumer")

		p.clients <- second
		<-calls
		fail <- struct{}{}
		closed(second)
		p.clients <- third // has to wait for an hour
		synctest.Wait()
		require.True(t, p.handlers().end("0"))
		closed(third)
		require.NoError(t, h.stop())
	})
	bubble(t, "one at a time for each partition, whatever the Processor does", func(t *testing.T) {
		var in, most atomic.Int32
		goOn := make(chan struct{})
		h := start(t, RunOptions{}, func(context.Context, Partition) error {
			most.Store(max(most.Load(), in.Add(1)))
			defer in.Add(-1)
			<-goOn
			return nil
		})
		p := <-h.processors
		for range 3 {
			p.clients <- h.client("0")
		}
		for range 3 {
			goOn <- struct{}{}
		}
		require.EqualValues(t, 1, most.Load())
		require.NoError(t, h.stop())
	})
}

func panicHere() { panic("here") }

func TestRunShutdown(t *testing.T) {
	bubble(t, "handlers, with their checkpoints, then the Processor", func(t *testing.T) {
		var h *harness
		in := make(chan struct{})
		h = start(t, RunOptions{}, func(ctx context.Context, p Partition) error {
			close(in)
			<-ctx.Done()
			time.Sleep(time.Second) // for anything that does not wait
			h.journal.add(errText(p.UpdateCheckpoint(ctx, nil, nil)))
			return ctx.Err()
		})
		p := <-h.processors
		client := h.client("0")
		client.update = func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			return ctx.Err()
		}
		p.clients <- client
		<-in
		require.NoError(t, h.stop())
		require.Equal(t, []string{"checkpoint", "no error", "processor ended"}, h.journal.all(),
			"the client is closed by the Processor, which could open it again until it ends")
	})
	bubble(t, "a checkpoint on its way is finished", func(t *testing.T) {
		in, result := make(chan struct{}), make(chan error, 1)
		h := start(t, RunOptions{}, func(ctx context.Context, p Partition) error {
			err := p.UpdateCheckpoint(ctx, nil, nil)
			result <- err
			return err
		})
		client := h.client("0")
		client.update = func(ctx context.Context) error {
			close(in)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
				return nil
			}
		}
		(<-h.processors).clients <- client
		<-in
		require.NoError(t, h.stop())
		require.NoError(t, <-result)
	})
	bubble(t, "a checkpoint in shutdown has a deadline", func(t *testing.T) {
		result := make(chan error, 1)
		h := start(t, RunOptions{CheckpointTimeout: time.Millisecond}, func(ctx context.Context, p Partition) error {
			err := p.UpdateCheckpoint(ctx, nil, nil)
			result <- err
			return err
		})
		in := make(chan struct{})
		client := h.client("0")
		client.update = func(ctx context.Context) error { close(in); <-ctx.Done(); return context.Cause(ctx) }
		(<-h.processors).clients <- client
		<-in
		require.NoError(t, h.stop())
		require.ErrorIs(t, <-result, context.DeadlineExceeded)
	})
	bubble(t, "a handler that only its client holds is let go", func(t *testing.T) {
		in := make(chan struct{})
		h := start(t, RunOptions{}, func(_ context.Context, p Partition) error {
			close(in)
			_, err := p.ReceiveEvents(context.Background(), 1, nil)
			return err
		})
		(<-h.processors).clients <- h.client("0")
		<-in
		require.NoError(t, h.stop())
	})
	bubble(t, "a handler that does not return in time is an error that names it", func(t *testing.T) {
		in, goOn := make(chan struct{}), make(chan struct{})
		h := start(t, RunOptions{ShutdownTimeout: time.Millisecond, CheckpointTimeout: time.Millisecond}, func(context.Context, Partition) error {
			close(in)
			<-goOn
			return nil
		})
		(<-h.processors).clients <- h.client("7")
		<-in
		require.ErrorContains(t, h.stop(), "the handlers of partitions 7 did not return")
		close(goOn)
	})
	bubble(t, "a handler that outlived its Processor is in the next one's way", func(t *testing.T) {
		turns := new(turnstiles)
		old := turns.of("0", func() *backoff { return &backoff{} })
		require.True(t, old.enter(t.Context()))
		require.True(t, newHandlers(t.Context(), time.Second, turns).end("0"))
		old.leave(0)
		require.False(t, newHandlers(t.Context(), time.Second, turns).end("0"))
	})
	bubble(t, "no handler is started any more", func(t *testing.T) {
		h := newHandlers(t.Context(), time.Second, new(turnstiles))
		h.stop(t.Context())
		h.start("0", func(context.Context) { t.Error("started") })
		h.stop(t.Context())
	})
	bubble(t, "no goroutine is left", func(t *testing.T) { // a bubble that ends with one fails
		h := start(t, RunOptions{}, untilDone)
		p := <-h.processors
		for _, id := range []string{"0", "1", "2"} {
			p.clients <- h.client(id)
		}
		p.end <- errBusy
		<-h.processors
		require.NoError(t, h.stop())
	})
}

func errText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func TestCheckpointContext(t *testing.T) {
	t.Run("ends with the caller's own", func(t *testing.T) {
		own, cancel := context.WithCancel(t.Context())
		ctx, done := withGrace(own, t.Context(), time.Hour)
		defer done()
		require.NoError(t, ctx.Err())
		cancel()
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	})
	t.Run("keeps the caller's values", func(t *testing.T) {
		type key struct{}
		ended, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
		cancel()
		ctx, done := withGrace(ended, ended, time.Hour)
		defer done()
		require.NoError(t, ctx.Err())
		require.Equal(t, 1, ctx.Value(key{}))
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{min: time.Second, max: 10 * time.Second, resetAfter: time.Minute}
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		d := b.next(0)
		require.LessOrEqual(t, d, want*time.Second)
		require.GreaterOrEqual(t, d, want*time.Second/2)
	}
	require.LessOrEqual(t, b.next(time.Minute), time.Second, "healthy in between")
	b.next(0)
	b.reset()
	require.LessOrEqual(t, b.next(0), time.Second)

	s := new(turnstiles)
	in := s.of("0", func() *backoff { return &b })
	require.True(t, in.enter(t.Context()))
	require.Equal(t, []string{"0"}, s.taken())
	in.leave(time.Hour)
	require.Empty(t, s.taken())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, in.enter(ctx), "its time to wait is not over")
	require.Empty(t, s.taken())
}
