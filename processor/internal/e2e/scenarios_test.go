package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestScenarios is the table of ../../README.md. What must hold is asserted; how
// fast it was is only reported.
func TestScenarios(t *testing.T) {
	figures := new(report)
	t.Cleanup(func() { figures.print(t) })
	for _, s := range []scenario{
		{"balance", testBalance},
		{"graceful stop", testGracefulStop},
		{"stop in a renewal", testStopInRenewal},
		{"paused owner", testPausedOwner},
		{"killed owner", testKilledOwner},
		{"storage gone", testStorageGone},
		{"deleted blobs", testDeletedBlobs},
		{"dropped responses", testDroppedResponses},
		{"moved over", testMovedOver},
		{"checkpoints not listed", testCheckpointsNotListed},
		{"shared adapter", testSharedAdapter},
		{"hang at stop", testHangAtStop},
		{"quiet handover", testQuietHandover},
		{"dropped connections", testDroppedConnections},
		{"rewound", testRewound},
		{"reset while read", testResetWhileRead},
		{"slow reset", testSlowReset},
		{"reset while stopped", testResetWhileStopped},
		{"reset refused", testResetRefused},
		{"reset under others", testResetUnderOthers},
		{"release of a dead owner", testReleaseOfDeadOwner},
		{"mixed group", testMixedGroup},
		{"wrong clocks", testWrongClocks},
		{"permanent errors", testPermanentErrors},
		{"errors later", testErrorsLater},
	} {
		t.Run(s.name, func(t *testing.T) {
			parallel(t)
			s.run(t, figures)
		})
	}
}

// scenario is a row of the table.
type scenario struct {
	name string
	run  func(*testing.T, *report)
}

// parallel lets a test run beside others, except on the service: its one hub and
// consumer group are all tests'.
func parallel(t *testing.T) {
	if !onService() {
		t.Parallel()
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// testBalance: every event is handled, each partition ends with one owner, and
// checkpoints equal the last event.
func testBalance(t *testing.T, figures *report) {
	for _, owners := range []int{1, 2, 4} {
		for _, partitions := range []int{8, 32} {
			for _, v := range variants {
				name := fmt.Sprintf("%d owners, %2d partitions, %s", owners, partitions, v.name)
				t.Run(name, func(t *testing.T) {
					w := newWorld(t, partitions, 20)
					if n := len(w.hub.partitions); n != partitions {
						t.Skipf("the hub at EVENTHUB_CONNECTION_STRING has %d partitions, this needs %d", n, partitions)
					}
					f := newNetwork()
					var names []string
					for i := range owners {
						c := w.config(i).as(v)
						w.start(c, f)
						names = append(names, c.Name)
					}
					took := w.settled(names...)
					requests := f.requests.Load()
					before, rounds := f.requests.Load(), f.lists.Load()
					time.Sleep(2 * time.Second) // to count the requests of
					perRound := float64(f.requests.Load()-before) / float64(f.lists.Load()-rounds)

					w.readByOwners()
					since := time.Now()
					w.hub.appendAll(5)
					w.complete()
					for id, who := range w.ledger.handlersSince(since) {
						require.Len(t, who, 1, "partition %s", id)
						require.Equal(t, w.owners()[id], who[0])
					}
					_, duplicates, _ := w.ledger.count()
					figures.add("balance", name, fmt.Sprintf("balanced after %s; %d requests until settled, then %.1f for each owner's round, which makes %.0f a minute for all of them at the default interval; %d duplicates",
						seconds(took), requests, perRound, perRound*float64(owners)*60/10.5, duplicates))
				})
			}
		}
	}
}

// testGracefulStop: the partitions of one of two move without waiting for the
// expiry, no event is lost, and duplicates are at most those after the last
// checkpoint.
func testGracefulStop(t *testing.T, figures *report) {
	both(t, func(t *testing.T, v variant) { gracefulStop(t, figures, v) })
}

func gracefulStop(t *testing.T, figures *report, v variant) {
	w := newWorld(t, 8, 20)
	a, b := w.config(0).as(v), w.config(1).as(v)
	a.Every, b.Every = 30, 30 // so that the last ones are stored in the shutdown
	first, second := w.start(a, newNetwork()), w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	w.hub.rate(20)
	time.Sleep(time.Second)
	moving := w.of(a.Name)
	_, before, _ := w.ledger.count()

	stopped := time.Now()
	first.finish(t)
	ended := time.Since(stopped)
	require.Empty(t, w.of(a.Name), "relinquished when Run returned")
	took := w.taken(b.Name, stopped, moving)
	w.resumed(a.Name, b.Name, stopped, moving)
	w.hub.rate(0)
	w.settled(b.Name)
	w.handled()
	second.finish(t) // which stores the checkpoints that are open
	w.complete()
	_, duplicates, stale := w.ledger.count()
	figures.add("graceful stop", fmt.Sprintf("%s, one of two, %d of %d partitions, expiry %v", v.name, len(moving), len(w.hub.partitions), a.Expiry),
		fmt.Sprintf("stopped after %s, all read by the other after %s, %d duplicates, %d stale checkpoints", seconds(ended), seconds(took), duplicates-before, stale))
}

// taken waits until an owner has read each of the partitions, and returns how
// long that took.
func (w *world) taken(by string, since time.Time, partitions []string) time.Duration {
	w.t.Helper()
	var took time.Duration
	eventually(w.t, "the other one reads them", func() bool {
		first := w.ledger.firstSince(by, since)
		took = 0
		for _, id := range partitions {
			e, read := first[id]
			if !read {
				return false
			}
			took = max(took, e.at.Sub(since))
		}
		return true
	})
	return took
}

// of are the partitions of an owner.
func (w *world) of(owner string) []string {
	ids := []string{}
	for id, o := range w.owners() {
		if o == owner {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// resumed asserts that what the successor handled first lies after the last
// checkpoint of who had the partition before, with nothing left out.
func (w *world) resumed(from, to string, since time.Time, partitions []string) {
	w.t.Helper()
	last, first := w.ledger.lastCheckpoints(from), w.ledger.firstSince(to, since)
	for _, id := range partitions {
		if _, ok := last[id]; ok {
			require.Greater(w.t, first[id].sequence, last[id], "partition %s: nothing is handled twice that was checkpointed", id)
		}
	}
}

// testKilledOwner: its partitions are taken over after the expiry, and go on from
// its checkpoints.
func testKilledOwner(t *testing.T, figures *report) {
	both(t, func(t *testing.T, v variant) { killedOwner(t, figures, v) })
}

func killedOwner(t *testing.T, figures *report, v variant) {
	w := newWorld(t, 8, 20)
	a, b := w.expiring(0, brief).as(v), w.expiring(1, brief).as(v)
	a.Every = 7
	first := w.spawn(a)
	w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	w.hub.rate(20)
	time.Sleep(2 * time.Second)
	moving := w.of(a.Name)
	_, before, _ := w.ledger.count()
	first.kill(t)
	killed := time.Now()
	took := w.taken(b.Name, killed, moving)
	w.resumed(a.Name, b.Name, killed, moving)
	w.hub.rate(0)
	w.complete()
	_, duplicates, _ := w.ledger.count()
	figures.add("killed owner", fmt.Sprintf("%s, one of two, %d of %d partitions, expiry %v", v.name, len(moving), len(w.hub.partitions), a.Expiry),
		fmt.Sprintf("all read by the other after %s, %d duplicates (a checkpoint every 7 events)", seconds(took), duplicates-before))
}

// testMovedOver: a consumer group "$Default" of the official store, in the same
// container.
func testMovedOver(t *testing.T, figures *report) {
	both(t, func(t *testing.T, v variant) { movedOver(t, figures, v) })
}

func movedOver(t *testing.T, figures *report, v variant) {
	w := newWorld(t, 8, 100)
	old := w.config(0)
	old.Loop, old.Every = official, 40
	first := w.start(old, newNetwork())
	eventually(t, "the official store has checkpoints", func() bool { return len(w.ledger.lastCheckpoints(old.Name)) == len(w.hub.partitions) })
	first.finish(t)
	was := w.checkpoints()
	require.Len(t, was, len(w.hub.partitions))

	moved := time.Now()
	w.hub.appendAll(10)
	next := w.config(1).as(v)
	w.start(next, newNetwork())
	w.complete()
	w.resumed(old.Name, next.Name, moved, w.hub.partitions)
	for id, e := range w.ledger.firstSince(next.Name, moved) {
		require.Equal(t, was[id]+1, e.sequence)
	}
	_, duplicates, _ := w.ledger.count()
	figures.add("moved over", v.name+", $Default, 8 partitions, official store to this one", fmt.Sprintf("resumed after each checkpoint, %d duplicates", duplicates))
}
