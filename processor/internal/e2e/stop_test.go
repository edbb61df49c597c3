package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
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
