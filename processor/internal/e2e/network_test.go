package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testBadNetwork: the fleet balances, and takes over what was released, as
// without faults; how much longer that takes is reported.
func testBadNetwork(t *testing.T, figures *report) {
	const runs = 2
	totals := make(map[string]*times)
	var mu sync.Mutex
	t.Cleanup(func() { // after the parallel runs
		good, bad := totals["without faults"], totals["with faults"]
		if t.Failed() || good == nil || bad == nil {
			return
		}
		figures.add("bad network", fmt.Sprintf("5 to 15 ms, 5 %% dropped, 3 %% reset, 3 %% busy; 4 owners, 32 partitions, balanced, interval 1 s, means of %d", runs),
			fmt.Sprintf("balance %s in %.1f rounds, fault-free %s in %.1f (times %.1f); take-over of one's 8 partitions %s in %.1f rounds, fault-free %s in %.1f (times %.1f)",
				seconds(bad.balance/runs), bad.balanceRounds/runs, seconds(good.balance/runs), good.balanceRounds/runs, bad.balance.Seconds()/good.balance.Seconds(),
				seconds(bad.takeOver/runs), bad.takeOverRounds/runs, seconds(good.takeOver/runs), good.takeOverRounds/runs, bad.takeOver.Seconds()/good.takeOver.Seconds()))
	})
	t.Run("with faults, Adapt", func(t *testing.T) {
		parallel(t)
		balanceAndTakeOver(t, badNetwork(), variant{"", adapted, false})
	})
	for _, name := range []string{"without faults", "with faults"} {
		for i := range runs {
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) {
				parallel(t)
				f := newNetwork()
				if name == "with faults" {
					f = badNetwork()
				}
				m := balanceAndTakeOver(t, f, variants[0])
				mu.Lock()
				defer mu.Unlock()
				if totals[name] == nil {
					totals[name] = new(times)
				}
				totals[name].add(m)
			})
		}
	}
}

// times are what a fleet took, in time and in rounds of each owner.
type times struct {
	balance, takeOver             time.Duration
	balanceRounds, takeOverRounds float64
}

func (t *times) add(m times) {
	t.balance += m.balance
	t.takeOver += m.takeOver
	t.balanceRounds += m.balanceRounds
	t.takeOverRounds += m.takeOverRounds
}

func badNetwork() *network {
	f := newNetwork()
	f.latency, f.jitter, f.drop, f.reset, f.busy = 5*time.Millisecond, 10*time.Millisecond, 0.05, 0.03, 0.03
	return f
}

func balanceAndTakeOver(t *testing.T, f *network, v variant) (m times) {
	w := newWorld(t, 32, 20)
	var owners []*owner
	var names []string
	for i := range 4 {
		c := w.config(i).as(v)
		c.Interval, c.Expiry = time.Second, 20*time.Second
		o := w.start(c, f)
		owners, names = append(owners, o), append(names, o.Name)
	}
	lists := f.lists.Load
	m.balance = w.settled(names...)
	m.balanceRounds = m.balance.Seconds() * float64(lists()) / 4 / (m.balance + quiet).Seconds()

	stopped, before := time.Now(), lists()
	owners[0].finish(t)
	require.Empty(t, w.of(names[0]), "relinquished")
	w.settled(names[1:]...)
	m.takeOver = time.Since(stopped) - quiet
	m.takeOverRounds = m.takeOver.Seconds() * float64(lists()-before) / 3 / (m.takeOver + quiet).Seconds()
	w.hub.appendAll(5)
	w.complete()
	for _, o := range owners {
		if v.loop == adapted {
			continue // a failed list of checkpoints ends a Processor
		}
		require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
	}
	return m
}
