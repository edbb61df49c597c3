package e2e

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor"
)

// onEmulator skips a test that needs the emulator's commands on the service.
func (w *world) onEmulator() *emulator.Emulator {
	w.t.Helper()
	if w.hub.emulator == nil {
		w.t.Skip("needs the emulator: left out as " + hubVariable + " is set")
	}
	return w.hub.emulator
}

// rounds waits until an owner has begun and ended n rounds from now on.
func (f *network) rounds(t *testing.T, n int64) {
	t.Helper()
	from := f.lists.Load()
	eventually(t, "rounds", func() bool { return f.lists.Load() > from+n })
}

// testEndOfAnother: owners that share a process and a store do not share their
// ends.
func testEndOfAnother(t *testing.T, _ *report) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			w := newWorld(t, 8, 20)
			a, b := w.config(0).as(v), w.config(1).as(v)
			f := newNetwork()
			store, err := a.blobStore(f, logger("both"))
			require.NoError(t, err)
			var mu sync.Mutex
			ended := make(map[string]error)
			handler := func(ctx context.Context, c config, p partition, book recorder) error {
				err := c.handle(ctx, p, book)
				mu.Lock()
				defer mu.Unlock()
				if c.Name == b.Name {
					ended[p.PartitionID()] = err
				}
				return err
			}
			a.Store, b.Store, b.Handler = store, store, handler
			first := w.start(a, newNetwork())
			w.settled(a.Name)
			second := w.start(b, newNetwork())
			w.settled(a.Name, b.Name)
			mu.Lock()
			clear(ended) // of when greedy owners took from each other
			mu.Unlock()
			first.finish(t)
			w.settled(b.Name)
			w.hub.appendAll(5)
			w.complete()
			mu.Lock()
			require.Empty(t, ended, "no handler of the other one ended")
			mu.Unlock()
			require.EqualValues(t, 1, second.Processors.Load())
			second.finish(t)
			f.close()
		})
	}
}

// testStopUnderBacklog: a handler receives nothing more when it was told to stop,
// though there is plenty, and its partition is released after it has returned.
func testStopUnderBacklog(t *testing.T, _ *report) {
	w := newWorld(t, 2, 2000)
	a := w.config(0)
	busy, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var after atomic.Int64
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		for n := 0; ; n++ {
			stopped := ctx.Err() != nil
			events, err := p.ReceiveEvents(ctx, 1, nil)
			if err != nil {
				return err
			}
			if stopped {
				after.Add(int64(len(events)))
			}
			book.handled(c.Name, p.PartitionID(), events[0].SequenceNumber)
			if p.PartitionID() == "0" && n == 50 {
				once.Do(func() { close(busy) })
				<-release
			}
			if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
				return err
			}
			book.checkpointed(c.Name, p.PartitionID(), events[0].SequenceNumber)
		}
	}
	o := w.start(a, newNetwork())
	<-busy
	o.stop()
	eventually(t, "the release of the partition whose handler has returned", func() bool { return w.owners()["1"] == "" })
	require.Equal(t, a.Name, w.owners()["0"], "not released while its handler is busy")
	require.ErrorIs(t, o.status()["0"].Ending, processor.ErrStopping)
	close(release)
	o.finish(t)
	require.Zero(t, after.Load(), "nothing is received after the stop")
	require.Empty(t, w.owners())
	at := w.checkpoints()
	for id, last := range w.ledger.lastCheckpoints(a.Name) {
		require.Equal(t, last, at[id])
	}
	require.EqualValues(t, 1050, at["0"], "the event that it was busy with")
	require.Empty(t, o.Journal.warned())
}

// testStuckHandler: Run names the partition of a handler that does not return, and
// does not release it.
func testStuckHandler(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	a := w.config(0)
	release := make(chan struct{})
	ended := make(chan struct{})
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		err := c.handle(ctx, p, book)
		if p.PartitionID() == "3" {
			defer close(ended)
			<-release
		}
		return err
	}
	a.Tune = func(o *processor.Options) { o.ShutdownTimeout = 500 * time.Millisecond }
	o := w.start(a, newNetwork())
	w.complete()
	o.stop()
	<-o.done
	require.ErrorContains(t, o.err, "partitions 3 ")
	require.Equal(t, map[string]string{"3": a.Name}, w.owners())
	close(release)
	<-ended
}

// testSlowStops: owners that stop claim nothing, and what they release is read by
// others while they are still busy.
func testSlowStops(t *testing.T, _ *report) {
	w := newWorld(t, 8, 20)
	a, b, c := w.config(0), w.config(1), w.config(2)
	release := make(chan struct{})
	busy := make(chan string, 8)
	var first atomic.Bool
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		err := c.handle(ctx, p, book)
		if errors.Is(context.Cause(ctx), processor.ErrStopping) && first.CompareAndSwap(false, true) {
			busy <- p.PartitionID()
			<-release
		}
		return err
	}
	slow, fast := w.start(a, newNetwork()), w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	slow.stop()
	id := <-busy
	fast.finish(t)
	eventually(t, "the release of all but one", func() bool { return len(w.owners()) == 1 })
	require.Equal(t, map[string]string{id: a.Name}, w.owners(), "nothing that the other one released")
	w.start(c, newNetwork())
	w.hub.appendAll(5)
	eventually(t, "the successor", func() bool { return len(w.of(c.Name)) == 7 })
	for _, other := range w.hub.partitions {
		if other != id {
			eventually(t, "the events of partition "+other, func() bool { return w.ledger.missing(other, w.hub.before[other], w.hub.last(other)) == 0 })
		}
	}
	require.Equal(t, a.Name, w.owners()[id], "renewed as long as its handler is busy")
	close(release)
	slow.finish(t)
	w.complete()
	require.Len(t, w.of(c.Name), 8)
}

// testHangAtStop: Run stops while Event Hubs does not answer, and releases all.
func testHangAtStop(t *testing.T, figures *report) {
	for name, backlog := range map[string]int{"idle": 20, "backlog": 5000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 8, backlog)
			e := w.onEmulator()
			a := w.config(0)
			returned := make(chan error, 1)
			a.Returned = func(err error) { returned <- err }
			o := w.start(a, newNetwork())
			w.settled(o.Name)
			require.NoError(t, e.Hang(emulator.Everything))
			defer func() { _ = e.Resume(emulator.Everything) }()
			o.stop()
			stopped := time.Now()
			require.NoError(t, <-returned)
			took := time.Since(stopped)
			require.Empty(t, w.owners())
			require.NoError(t, e.Resume(emulator.Everything)) // the client is closed next
			o.finish(t)
			figures.add("hang at stop", name+", 8 partitions", "stopped and all released after "+seconds(took))
		})
	}
}

// testQuietStop: a start and a stop that go well warn of nothing.
func testQuietStop(t *testing.T, _ *report) {
	w := newWorld(t, 8, 200)
	w.hub.rate(50)
	o := w.start(w.config(0), newNetwork())
	w.settled(o.Name)
	o.finish(t)
	o.quiet(t)
	require.Empty(t, w.owners())
	w.hub.rate(0)
}

// testQuietHandover: partitions that go from owner to owner are no reason to warn.
func testQuietHandover(t *testing.T, _ *report) {
	w := newWorld(t, 8, 200)
	w.hub.rate(50)
	a, b, c := w.start(w.config(0), newNetwork()), w.start(w.config(1), newNetwork()), w.config(2)
	w.settled(a.Name, b.Name)
	third := w.start(c, newNetwork())
	w.settled(a.Name, b.Name, c.Name)
	for _, o := range []*owner{a, b, third} {
		o.finish(t)
		o.quiet(t)
	}
	require.Empty(t, w.owners())
	w.hub.rate(0)
}

// quiet asserts that nothing was logged that looks like a failure.
func (o *owner) quiet(t *testing.T) {
	t.Helper()
	require.Empty(t, o.Journal.warned(), o.Name)
	for _, line := range o.Journal.logged() {
		require.NotContains(t, line, "error=")
		require.NotContains(t, line, "closed by user")
	}
}

// testLateCheckpoint: an update past the deadline of its context says so, and not
// that it was canceled.
func testLateCheckpoint(t *testing.T, _ *report) {
	w := newWorld(t, 1, 20)
	a := w.config(0)
	f := newNetwork()
	f.Inject(faults.HangWithoutApplying().On(writeCheckpoint))
	results := make(chan error, 1)
	a.Handler = func(ctx context.Context, _ config, p partition, _ recorder) error {
		events, err := p.ReceiveEvents(ctx, 1, nil)
		if err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		select {
		case results <- p.UpdateCheckpoint(short, events[0], nil):
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}
	o := w.start(a, f)
	err := <-results
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, context.Canceled)
	o.finish(t)
}

// testSharedAdapter: an adapter that a second Processor is given says so, and
// serves the first one on.
func testSharedAdapter(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	a, b := w.config(0).as(variants[1]), w.config(1).as(variants[1])
	shared, err := a.store(nil, logger("both"))
	require.NoError(t, err)
	a.Adapter = shared
	first := w.start(a, newNetwork())
	w.settled(a.Name)
	b.Adapter = shared
	b.Once = true
	second := w.start(b, newNetwork())
	<-second.done
	require.ErrorContains(t, second.err, "give each Processor an adapter of its own")
	w.hub.appendAll(5)
	w.complete()
	require.Equal(t, map[string]int{a.Name: 4}, shares(w.owners()))
	require.EqualValues(t, 1, first.Processors.Load())
}
