//go:build unix

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testPausedOwner: an owner is stopped by SIGSTOP for longer than the expiry, while
// its handlers are busy, and goes on when the stream is idle: the handlers with
// what they were at, the Processor with winning back its share. No checkpoint
// goes back, and the last one equals the last event.
func testPausedOwner(t *testing.T, figures *report) {
	both(t, func(t *testing.T, v variant) { pausedOwner(t, figures, v) })
}

func pausedOwner(t *testing.T, figures *report, v variant) {
	w := newWorld(t, 8, 20)
	a, b := w.expiring(0, brief).as(v), w.expiring(1, brief).as(v)
	a.Work = 2 * time.Second // between an event and its checkpoint, where it is stopped most likely
	first := w.spawn(a)
	w.settled(a.Name)
	seen := w.watch()
	w.hub.rate(20)
	time.Sleep(3 * time.Second)
	require.NoError(t, first.Process.Signal(syscall.SIGSTOP))
	paused := time.Now()
	w.start(b, newNetwork())
	took := w.settled(b.Name)
	time.Sleep(time.Second)
	w.hub.rate(0)
	eventually(t, "the other one is done", func() bool {
		at := w.checkpoints()
		for _, id := range w.hub.partitions {
			if at[id] != w.hub.last(id) {
				return false
			}
		}
		return true
	})
	require.Greater(t, time.Since(paused), a.Expiry)

	require.NoError(t, first.Process.Signal(syscall.SIGCONT))
	w.settled(a.Name, b.Name)
	w.complete()
	seen.stop()
	_, back := seen.result()
	require.Empty(t, back, "no checkpoint goes back")
	_, duplicates, stale := w.ledger.count()
	figures.add("paused owner", fmt.Sprintf("%s, 8 partitions, expiry %v, idle when it goes on", v.name, a.Expiry),
		fmt.Sprintf("all taken over after %s, %d late checkpoints refused, none went back, %d duplicates", seconds(took), stale, duplicates))
}
