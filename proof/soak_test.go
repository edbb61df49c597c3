package proof

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

var soakFlag = flag.Duration("soak", 8*time.Second, "how long TestSoak runs")

const (
	soakOwners     = 64
	soakPartitions = 1024
	fairShare      = soakPartitions / soakOwners
)

// TestSoak lets 64 owners share 1024 partitions under faults. The heap does not grow, no goroutine stays, and when the
// faults end each partition is owned by one owner and no acknowledged checkpoint is lost.
//
// It takes the real time of the flag, in which as much virtual time passes as the machine can do.
func TestSoak(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	var begun, over atomic.Bool
	var heap []uint64
	var watching sync.WaitGroup
	watching.Go(func() {
		defer over.Store(true)
		for !begun.Load() {
			time.Sleep(time.Millisecond)
		}
		for range 24 { // what is alive
			time.Sleep(*soakFlag / 24)
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap = append(heap, m.HeapAlloc)
		}
	})
	synctest.Test(t, func(t *testing.T) { soak(t, &begun, &over) })
	watching.Wait()
	t.Logf("live heap in MiB: %v", inMiB(heap))
	require.False(t, grows(heap), "the heap grows")
	goleak.VerifyNone(t, ignore)
}

func soak(t *testing.T, begun, over *atomic.Bool) {
	service := fakeblob.New()
	service.SetRecording(false)
	for i := range soakPartitions { // so that the service's own memory does not grow
		service.Put(checkpointPrefix+strconv.Itoa(i), map[string]string{"sequencenumber": "0", "offset": ""})
	}
	w := onFake(service)
	var acked [soakPartitions]atomic.Int64
	var counts soakCounts
	tenants := make([]*tenant, soakOwners)
	for i := range tenants {
		tenants[i] = &tenant{
			id: fmt.Sprint("owner-", i), client: newSoakClient(t, w, uint64(i), begun), random: rand.New(rand.NewPCG(uint64(i), 5)),
			acked: &acked, held: make(map[string]string), at: make(map[string]int64), counts: &counts,
		}
	}
	var all sync.WaitGroup
	for _, n := range tenants {
		all.Go(func() { n.meetAll(context.Background()) })
	}
	all.Wait()
	begun.Store(true)

	began := time.Now()
	for _, n := range tenants {
		all.Go(func() {
			for i := 0; i < 3 || !over.Load(); i++ {
				n.round(context.Background(), i%4 == 0)
				time.Sleep(time.Duration(n.random.Int64N(int64(10 * w.pace))))
			}
		})
	}
	all.Wait()
	took := time.Since(began)

	struck := make(map[string]int)
	for _, n := range tenants {
		n.client.faults.Heal()
		n.client.faults.Drain()
		for name, times := range n.client.faults.Struck() {
			struck[name] += times
		}
	}
	t.Logf("%v of virtual time, %d requests; claims won %d, lost %d, unknown %d; checkpoints stored %d, stale %d, failed %d; struck: %v",
		took, service.Requests(), counts.won.Load(), counts.lost.Load(), counts.unknown.Load(),
		counts.stored.Load(), counts.stale.Load(), counts.failed.Load(), struck)
	require.Greater(t, counts.stored.Load(), int64(soakPartitions/4))
	require.Greater(t, counts.unknown.Load(), int64(soakOwners))
	requireNothingLost(t, tenants, w, &acked)
}

// newSoakClient is a store that meets every kind of fault, each now and then. Until it has begun, it is told that it is
// late, and the service hears nothing of it.
func newSoakClient(t *testing.T, w world, seed uint64, begun *atomic.Bool) client {
	rules := everything().rules(w.pace)
	for i := range rules {
		if rules[i].Chance < 1 {
			rules[i].Chance /= 8
		}
	}
	transport := faults.New(w.wire, seed, rules...)
	store, err := w.newStore(transportFunc(func(req *http.Request) (*http.Response, error) {
		if begun.Load() {
			return transport.Do(req)
		}
		if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
			trace.GetConn(req.URL.Host)
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return &http.Response{
			StatusCode: http.StatusPreconditionFailed, Header: http.Header{"X-Ms-Error-Code": {"ConditionNotMet"}},
			Body: http.NoBody, Request: req,
		}, nil
	}), w.options())
	require.NoError(t, err)
	return client{store, transport}
}

// requireNothingLost lets the owners share what is left, without faults, and counts.
func requireNothingLost(t *testing.T, tenants []*tenant, w world, acked *[soakPartitions]atomic.Int64) {
	t.Helper()
	ctx := context.Background()
	for _, n := range tenants {
		n.settled = true
		n.round(ctx, true)
	}
	plain := w.plain(t)
	list, err := plain.ListOwnership(ctx, namespace, eventHub, group, nil)
	require.NoError(t, err)
	require.Len(t, list, soakPartitions)
	by := make(map[string][]checkpointstore.Ownership)
	for _, o := range list {
		by[o.OwnerID] = append(by[o.OwnerID], o)
	}
	owned := 0
	for _, n := range tenants {
		won, err := n.client.ClaimOwnership(ctx, by[n.id], nil)
		require.NoError(t, err)
		require.Len(t, won, len(by[n.id]), "an owner can renew what it owns")
		for p := range n.held {
			require.True(t, slices.ContainsFunc(won, func(o checkpointstore.Ownership) bool { return o.PartitionID == p }),
				"%s takes itself for the owner of %s", n.id, p)
		}
		owned += len(won)
	}
	require.Equal(t, soakPartitions, owned, "each partition is owned by one of the owners")

	stored, err := plain.ListCheckpoints(ctx, namespace, eventHub, group, nil)
	require.NoError(t, err)
	require.NotEmpty(t, stored)
	found := make(map[string]int64)
	for _, c := range stored {
		found[c.PartitionID] = *c.SequenceNumber
	}
	for i := range acked {
		require.GreaterOrEqual(t, found[strconv.Itoa(i)], acked[i].Load(), "partition %d", i)
	}
}

// grows compares the least of the last third of the samples with the least of the second: the first one is the start,
// and all of them hold what is on its way just then.
func grows(samples []uint64) bool {
	third := len(samples) / 3
	before, after := slices.Min(samples[third:2*third]), slices.Min(samples[2*third:])
	return after > before+before/8+2<<20
}

func inMiB(samples []uint64) []string {
	text := make([]string, len(samples))
	for i, s := range samples {
		text[i] = fmt.Sprintf("%.1f", float64(s)/(1<<20))
	}
	return text
}

func TestTheCheckFindsAHeapThatGrows(t *testing.T) {
	flat := []uint64{9 << 20, 25 << 20, 40 << 20, 26 << 20, 50 << 20, 25 << 20, 44 << 20, 27 << 20, 28 << 20}
	require.False(t, grows(flat))
	leak := slices.Clone(flat)
	for i := range leak {
		leak[i] += uint64(i) * 3 << 20
	}
	require.True(t, grows(leak))
}
