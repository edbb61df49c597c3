package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/stretchr/testify/require"
)

// compare runs the official store beside ours where the outcome differs.
func compare() bool { return os.Getenv("E2E_COMPARE") != "" }

// testStopInRenewal: a Processor that is told to stop in the middle of a round,
// as some of its renewals are stored and none is answered, relinquishes all
// partitions all the same.
func testStopInRenewal(t *testing.T, figures *report) {
	for _, v := range []struct {
		name     string
		claims   int
		official bool
	}{{"16 claims at once", 16, false}, {"one claim at a time", 1, false}, {"official store", 0, true}} {
		if v.official && !compare() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			w := newWorld(t, 16, 20)
			w.look(v.official)
			a, b := w.config(0), w.config(1)
			a.Claims, a.Official, b.Official = v.claims, v.official, v.official
			f := newFaults()
			f.latency = 100 * time.Millisecond
			var armed atomic.Bool
			var renewed atomic.Int64
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			f.sent = func(r request) {
				if armed.Load() && r.claim() && renewed.Add(1) == int64(len(w.hub.partitions)/2) {
					stop()
				}
			}
			ended := w.plain(ctx, a, f)
			w.settled(a.Name)
			armed.Store(true)
			require.NoError(t, <-ended)
			left := w.of(a.Name)
			if !v.official {
				require.Empty(t, left, "all relinquished")
			}
			stopped := time.Now()
			w.start(b, newFaults())
			took := w.settled(b.Name)
			w.complete()
			figures.add("stop in a renewal", fmt.Sprintf("%s, 16 partitions, 100 ms per request, expiry %v", v.name, a.Expiry),
				fmt.Sprintf("%d of 16 not relinquished, all taken over after %s (%s with the other's start)", len(left), seconds(took), seconds(time.Since(stopped))))
		})
	}
}

// plain runs a Processor without processor.Run, as told by ctx alone.
func (w *world) plain(ctx context.Context, c config, f *faults) <-chan error {
	w.t.Helper()
	client, err := c.client()
	require.NoError(w.t, err)
	store, err := c.store(f, logger(c.Name))
	require.NoError(w.t, err)
	p, err := azeventhubs.NewProcessor(client, store, c.options())
	require.NoError(w.t, err)
	ended := make(chan error, 1)
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		for {
			partition := p.NextPartitionClient(context.Background())
			if partition == nil {
				return
			}
			go func() {
				defer func() { _ = partition.Close(context.Background()) }()
				_ = c.handle(ctx, partition, w.ledger)
			}()
		}
	}()
	go func() {
		err := p.Run(ctx)
		<-handled
		_ = client.Close(context.Background())
		ended <- err
	}()
	return ended
}

// testStorageGone: no Processor ends, events go on, nobody steals afterwards.
func testStorageGone(t *testing.T, figures *report) {
	for _, official := range []bool{false, true} {
		if official && !compare() {
			continue
		}
		t.Run(storeName(official), func(t *testing.T) {
			w := newWorld(t, 8, 20)
			w.look(official)
			f := newFaults()
			a, b := w.config(0), w.config(1)
			a.Official, b.Official = official, official
			owners := []*owner{w.start(a, f), w.start(b, f)}
			w.settled(a.Name, b.Name)
			w.hub.rate(10)
			seen := w.watch()
			outage := a.Expiry + max(a.Expiry/2, 12*time.Second) // 18 s and, with the default times, 90 s
			f.gone.Store(true)
			time.Sleep(outage / 2)
			middle := time.Now()
			time.Sleep(outage / 2)
			during := w.ledger.handlersSince(middle)
			f.gone.Store(false)
			if !official {
				require.Len(t, during, len(w.hub.partitions), "events go on")
			}
			time.Sleep(a.Expiry) // in which a wave of stealing would come
			w.settled(a.Name, b.Name)
			w.hub.rate(0)
			w.complete()
			seen.stop()
			changes, back := seen.result()
			processors := owners[0].Processors.Load() + owners[1].Processors.Load()
			if !official {
				require.EqualValues(t, 2, processors, "no Processor ended")
				require.Zero(t, changes, "nobody stole")
				require.Empty(t, back)
			}
			_, duplicates, _ := w.ledger.count()
			figures.add("storage gone", fmt.Sprintf("%s, %v, expiry %v, 2 owners, 8 partitions", storeName(official), outage, a.Expiry),
				fmt.Sprintf("%d of 8 partitions read in the outage, %d Processors ended, %d ownership changes, %d duplicates", len(during), processors-2, changes, duplicates))
		})
	}
}

func storeName(official bool) string {
	if official {
		return "official store"
	}
	return "this store"
}

// testDeletedBlobs: the ownerships are all there again after two rounds.
func testDeletedBlobs(t *testing.T, figures *report) {
	for _, greedy := range []bool{false, true} {
		for _, all := range []bool{false, true} {
			name := map[bool]string{false: "one blob", true: "all blobs"}[all] + ", " + strategy(greedy)
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 8, 20)
				c := w.config(0)
				c.Greedy = greedy
				f := newFaults()
				o := w.start(c, f)
				w.settled(c.Name)
				for _, id := range w.hub.partitions {
					if all || id == "0" {
						_, err := w.client.NewBlobClient(w.blob("ownership", id)).Delete(t.Context(), nil)
						require.NoError(t, err)
					}
				}
				lists := f.lists.Load() // one round may be on its way; two more end before the third list after it
				eventually(t, "two rounds", func() bool { return f.lists.Load() >= lists+3 })
				require.Len(t, w.owners(), len(w.hub.partitions))
				w.hub.appendAll(5)
				w.complete()
				require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
				_, duplicates, _ := w.ledger.count()
				figures.add("deleted blobs", name, fmt.Sprintf("all owned after two rounds, %d duplicates", duplicates))
			})
		}
	}
}

// blob is the name of a record's blob.
func (w *world) blob(kind, partition string) string {
	return strings.ToLower(w.namespace+"/"+w.hubName+"/"+consumerGroup) + "/" + kind + "/" + partition
}

// testDroppedResponses: every partition stays owned by who won it, and the fleet
// is balanced.
func testDroppedResponses(t *testing.T, figures *report) {
	for _, official := range []bool{false, true} {
		if official && !compare() {
			continue
		}
		t.Run(storeName(official), func(t *testing.T) {
			w := newWorld(t, 32, 20)
			w.look(official)
			f := newFaults()
			f.drop = 0.25
			var names []string
			for i := range 4 {
				c := w.config(i)
				c.Expiry, c.Official = 20*time.Second, official
				w.start(c, f)
				names = append(names, c.Name)
			}
			variant := storeName(official) + ", 1 in 4, 4 owners, 32 partitions"
			if official {
				start := time.Now()
				for !w.balanced(names...) && time.Since(start) < 90*time.Second {
					time.Sleep(100 * time.Millisecond)
				}
				figures.add("dropped responses", variant, fmt.Sprintf("after %s: balanced %v, shares %v", seconds(time.Since(start)), w.balanced(names...), shares(w.owners())))
				return
			}
			took := w.settled(names...)
			seen := w.watch()
			time.Sleep(5 * time.Second)
			seen.stop()
			changes, _ := seen.result()
			require.Zero(t, changes, "stays owned by who won it")
			require.True(t, w.balanced(names...))
			w.hub.appendAll(5)
			w.complete()
			_, duplicates, _ := w.ledger.count()
			figures.add("dropped responses", variant, fmt.Sprintf("balanced after %s, then %d ownership changes in 5 s, %d duplicates", seconds(took), changes, duplicates))
		})
	}
}

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
	for _, name := range []string{"without faults", "with faults"} {
		for i := range runs {
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) {
				parallel(t)
				f := newFaults()
				if name == "with faults" {
					f.latency, f.jitter, f.drop, f.reset, f.busy = 5*time.Millisecond, 10*time.Millisecond, 0.05, 0.03, 0.03
				}
				m := balanceAndTakeOver(t, f)
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

func balanceAndTakeOver(t *testing.T, f *faults) (m times) {
	w := newWorld(t, 32, 20)
	var owners []*owner
	var names []string
	for i := range 4 {
		c := w.config(i)
		c.Greedy, c.Interval, c.Expiry = false, time.Second, 20*time.Second
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
		require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
	}
	return m
}

// testForeignBlobs: nothing stops.
func testForeignBlobs(t *testing.T, figures *report) {
	for _, greedy := range []bool{false, true} {
		t.Run(strategy(greedy), func(t *testing.T) {
			w := newWorld(t, 8, 20)
			for _, kind := range []string{"ownership", "checkpoint"} {
				w.upload(w.blob(kind, "readme.txt"), nil)
				w.upload(w.blob(kind, "0/deeper"), nil)
			}
			broken := "no offset"
			w.upload(w.blob("checkpoint", "0"), map[string]*string{"offset": &broken})
			a, b := w.config(0), w.config(1)
			a.Greedy, b.Greedy = greedy, greedy
			owners := []*owner{w.start(a, newFaults()), w.start(b, newFaults())}
			w.settled(a.Name, b.Name)
			w.complete()
			for _, o := range owners {
				require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
			}
			figures.add("foreign blobs", strategy(greedy)+", one of each kind, and a checkpoint without a position", "balanced, every event handled, no Processor ended")
		})
	}
}

func (w *world) upload(name string, metadata map[string]*string) {
	w.t.Helper()
	_, err := w.client.NewBlockBlobClient(name).Upload(context.Background(), streaming.NopCloser(bytes.NewReader([]byte("text"))),
		&blockblob.UploadOptions{Metadata: metadata})
	require.NoError(w.t, err)
}

// testCheckpointsNotListed: a partition whose checkpoint cannot be listed when it
// is claimed is read in the end.
func testCheckpointsNotListed(t *testing.T, figures *report) {
	for _, official := range []bool{false, true} {
		if official && !compare() {
			continue
		}
		t.Run(storeName(official), func(t *testing.T) {
			w := newWorld(t, 8, 20)
			w.look(official)
			var failed atomic.Int64
			const most = 50 // more than one ListCheckpoints sends: 4 tries, of 4 tries of the store, for 2 spellings
			f := newFaults()
			f.fail = func(r request) bool { return r.list && r.checkpoint() && failed.Add(1) <= most }
			c := w.config(0)
			c.Official = official
			o := w.start(c, f)
			if official {
				time.Sleep(20 * time.Second)
				unread := 0
				for _, id := range w.hub.partitions {
					if w.ledger.missing(id, w.hub.before[id], w.hub.last(id)) > 0 {
						unread++
					}
				}
				figures.add("checkpoints not listed", storeName(official), fmt.Sprintf("%d of 8 partitions owned, %d unread after 20 s", len(w.owners()), unread))
				return
			}
			start := time.Now()
			w.complete()
			require.Greater(t, failed.Load(), int64(most))
			require.Greater(t, o.Processors.Load(), int64(1), "the Processor that left partitions unread ended")
			figures.add("checkpoints not listed", fmt.Sprintf("%s, the first %d requests fail", storeName(official), most),
				fmt.Sprintf("all partitions read after %s, with Processor number %d", seconds(time.Since(start)), o.Processors.Load()))
		})
	}
}
