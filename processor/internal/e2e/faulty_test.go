package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// testStopInRenewal: a Processor that is told to stop in the middle of a round,
// as some of its renewals are stored and none is answered, relinquishes all
// partitions all the same.
func testStopInRenewal(t *testing.T, figures *report) {
	for _, v := range []struct {
		name   string
		claims int
		loop   loop
	}{
		{"Run, 16 claims at once", 16, run}, {"Run, one claim at a time", 1, run},
		{"Adapt, 16 claims at once", 16, adapted}, {"Adapt, one claim at a time", 1, adapted},
		{"official store", 0, official},
	} {
		if v.loop == official && !compare() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			w := newWorld(t, 16, 20)
			w.look(v.loop == official)
			a, b := w.expiring(0, brief), w.expiring(1, brief)
			a.Claims, a.Loop, b.Loop = v.claims, v.loop, v.loop
			a.Greedy = true
			f := newNetwork()
			f.Inject(faults.Latency(50*time.Millisecond, 50*time.Millisecond)) // there and back
			var armed atomic.Bool
			var renewed atomic.Int64
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			f.Inject(faults.RunAfter(func() {
				if armed.Load() && renewed.Add(1) == int64(len(w.hub.partitions)/2) {
					stop()
				}
			}).On(writeOwnership))
			ended := w.plain(ctx, a, f)
			w.settled(a.Name)
			armed.Store(true)
			require.NoError(t, <-ended)
			left := w.of(a.Name)
			if v.loop != official {
				require.Empty(t, left, "all relinquished")
			}
			stopped := time.Now()
			w.start(b, newNetwork())
			took := w.settled(b.Name)
			w.complete()
			figures.add("stop in a renewal", fmt.Sprintf("%s, 16 partitions, 100 ms per request, expiry %v", v.name, a.Expiry),
				fmt.Sprintf("%d of 16 not relinquished, all taken over after %s (%s with the other's start)", len(left), seconds(took), seconds(time.Since(stopped))))
		})
	}
}

// plain runs an owner that ends as soon as ctx does, a Processor before its handlers.
func (w *world) plain(ctx context.Context, c config, f *network) <-chan error {
	w.t.Helper()
	if c.Loop == run {
		ended := make(chan error, 1)
		go func() { ended <- c.run(ctx, w.ledger, f, logger(c.Name)) }()
		return ended
	}
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
	eachLoop(t, func(t *testing.T, v variant) {
		w := newWorld(t, 8, 20)
		w.look(v.loop == official)
		f := newNetwork()
		a, b := w.expiring(0, lasting).as(v), w.expiring(1, lasting).as(v)
		owners := []*owner{w.start(a, f), w.start(b, f)}
		w.settled(a.Name, b.Name)
		w.hub.rate(10)
		seen := w.watch()
		outage := a.Expiry + max(a.Expiry/2, 12*time.Second) // 32 s, to compare 18 s and, with the default times, 90 s
		restore := f.Inject(faults.RefuseConnection())
		time.Sleep(outage / 2)
		middle := time.Now()
		time.Sleep(outage / 2)
		if v.loop != official {
			eventually(t, "events go on", func() bool { return len(w.ledger.handlersSince(middle)) == len(w.hub.partitions) })
		}
		during := w.ledger.handlersSince(middle)
		restore()
		time.Sleep(a.Expiry) // in which a wave of stealing would come
		w.settled(a.Name, b.Name)
		w.hub.rate(0)
		w.complete()
		seen.stop()
		changes, back := seen.result()
		processors := owners[0].Processors.Load() + owners[1].Processors.Load()
		if v.loop != official {
			require.EqualValues(t, 2, processors, "no Processor ended")
			require.Zero(t, changes, "nobody stole")
			require.Empty(t, back)
		}
		_, duplicates, _ := w.ledger.count()
		figures.add("storage gone", fmt.Sprintf("%s, %v, expiry %v, 2 owners, 8 partitions", v.name, outage, a.Expiry),
			fmt.Sprintf("%d of 8 partitions read in the outage, %d Processors ended, %d ownership changes, %d duplicates", len(during), processors-2, changes, duplicates))
	})
}

// testDroppedResponses: every partition stays owned by who won it, and the fleet
// is balanced. At most two answers in a row are lost, so that the store's retries
// find out how each write ended: a renewal of which nothing is known ends the
// tenure, by design.
func testDroppedResponses(t *testing.T, figures *report) {
	eachLoop(t, func(t *testing.T, v variant) {
		w := newWorld(t, 32, 20)
		w.look(v.loop == official)
		var names []string
		for i := range 4 {
			c := w.config(i).as(v)
			c.Expiry = lasting // so that there are renewals in the five seconds below
			f := newNetwork()  // of its own, which sees the tries of one request in a row
			f.Inject(faults.LoseResponse().On(sometimes(0.25, 2)))
			w.start(c, f)
			names = append(names, c.Name)
		}
		variant := v.name + ", 1 in 4, at most 2 in a row, 4 owners, 32 partitions"
		if v.loop == official {
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

// sometimes matches requests with a chance, but not more often in a row than most
// of those with the same method and address.
func sometimes(chance float64, most int) faults.Matcher {
	var mu sync.Mutex
	row := make(map[string]int)
	return func(req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		request := req.Method + " " + req.URL.String()
		if row[request] == most || rand.Float64() >= chance {
			row[request] = 0
			return false
		}
		row[request]++
		return true
	}
}

// testCheckpointsNotListed: a partition whose checkpoint cannot be listed when it
// is claimed is read in the end.
func testCheckpointsNotListed(t *testing.T, figures *report) {
	eachLoop(t, func(t *testing.T, v variant) {
		w := newWorld(t, 8, 20)
		w.look(v.loop == official)
		var failed atomic.Int64
		const most = 50 // more than one ListCheckpoints sends: 4 tries, of 4 tries of the store, for 2 spellings
		f := newNetwork()
		f.Inject(faults.Busy(0).On(func(req *http.Request) bool {
			return listCheckpoints(req) && failed.Add(1) <= most
		}))
		c := w.config(0).as(v)
		o := w.start(c, f)
		if v.loop == official {
			time.Sleep(20 * time.Second)
			unread := 0
			for _, id := range w.hub.partitions {
				if w.ledger.missing(id, w.hub.before[id], w.hub.last(id)) > 0 {
					unread++
				}
			}
			figures.add("checkpoints not listed", v.name, fmt.Sprintf("%d of 8 partitions owned, %d unread after 20 s", len(w.owners()), unread))
			return
		}
		start := time.Now()
		w.complete()
		require.Greater(t, failed.Load(), int64(most))
		if v.loop == adapted {
			require.Greater(t, o.Processors.Load(), int64(1), "the Processor that left partitions unread ended")
		}
		figures.add("checkpoints not listed", fmt.Sprintf("%s, the first %d requests fail", v.name, most),
			fmt.Sprintf("all partitions read after %s, with Processor number %d", seconds(time.Since(start)), o.Processors.Load()))
	})
}
