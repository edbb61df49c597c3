package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/processor"
)

// testDeniedLink: a partition that cannot be read is warned of with the reason, is
// seen in the status, is released, and is read when it can be read again.
func testDeniedLink(t *testing.T, _ *report) {
	for _, condition := range []emulator.Condition{emulator.UnauthorizedAccess, emulator.NotFound, emulator.ResourceLimitExceeded} {
		for _, later := range []bool{false, true} {
			name := map[bool]string{false: "from the start, ", true: "while it is read, "}[later] + string(condition)
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 2, 20)
				e := w.onEmulator()
				a := w.config(0)
				a.Tune = func(o *processor.Options) { o.MaxBackoff = a.Interval }
				if !later {
					require.NoError(t, e.Deny(emulator.Partition("0"), condition))
				}
				o := w.start(a, newFaults())
				if later {
					w.complete()
					require.NoError(t, e.Deny(emulator.Partition("0"), condition))
					_, err := e.Steal("0")
					require.NoError(t, err)
				}
				eventually(t, "the reason in the status", func() bool {
					s := o.status()["0"]
					return s.LastError != nil && strings.Contains(s.LastError.Error(), string(condition)) && !s.Reading
				})
				eventually(t, "the release", func() bool { return w.owners()["0"] == "" && w.owners()["1"] == a.Name })
				require.Contains(t, strings.Join(o.Journal.warned(), "\n"), string(condition))
				w.hub.append("1", 5)
				eventually(t, "the other partition", func() bool { return w.checkpoints()["1"] == w.hub.last("1") })
				require.NoError(t, e.Allow(emulator.Partition("0")))
				w.hub.append("0", 5)
				w.complete()
				o.finish(t)
			})
		}
	}
}

// testTakenLink: whose link is taken by somebody who did not claim the partition
// reads on.
func testTakenLink(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	e := w.onEmulator()
	a := w.config(0)
	var mu sync.Mutex
	var causes []error
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		err := c.handle(ctx, p, book)
		mu.Lock()
		defer mu.Unlock()
		causes = append(causes, context.Cause(ctx))
		return err
	}
	w.start(a, newFaults())
	w.complete()
	readers, err := e.Steal("2")
	require.NoError(t, err)
	require.Equal(t, 1, readers)
	w.hub.appendAll(5)
	w.complete()
	require.Len(t, w.of(a.Name), 4)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, causes, 1)
	require.ErrorIs(t, causes[0], processor.ErrPartitionLost)
}

// testDroppedConnections: connections that end are opened again, and nobody loses a
// partition by it.
func testDroppedConnections(t *testing.T, _ *report) {
	w := newWorld(t, 8, 20)
	e := w.onEmulator()
	a, b := w.config(0), w.config(1)
	w.start(a, newFaults())
	w.start(b, newFaults())
	w.settled(a.Name, b.Name)
	seen := w.watch()
	_, err := e.DropConnections()
	require.NoError(t, err)
	w.hub.appendAll(5)
	w.complete()
	seen.stop()
	changes, back := seen.result()
	require.Zero(t, changes)
	require.Empty(t, back)
}
