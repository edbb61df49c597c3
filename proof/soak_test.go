package proof

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
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

// TestSoak lets 64 owners share 1,024 partitions under faults, or an eighth of each with the race detector. The heap does not
// grow and no goroutine is left. When the faults end, each partition has one owner and no acknowledged checkpoint is lost.
//
// It takes the real time of the flag, and covers as much virtual time as the machine manages in it.
func TestSoak(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	s := &soak{owners: 64, partitions: 1024}
	if raceEnabled {
		s.owners, s.partitions = 8, 128
	}
	s.acked = make([]atomic.Int64, s.partitions)
	var clock sync.WaitGroup
	clock.Go(func() { // outside of the bubble, where time is real
		for !s.begun.Load() {
			time.Sleep(time.Millisecond)
		}
		for range soakParts {
			time.Sleep(*soakFlag / soakParts)
			s.over.Add(1)
		}
	})
	synctest.Test(t, s.run)
	clock.Wait()
	t.Logf("live heap at rest, in bytes: %d", s.heap)
	require.False(t, grows(s.heap), "the heap grows")
	goleak.VerifyNone(t, ignore)
}

// soakParts is how often the owners rest, so that the heap is what is kept and not what is in progress.
const soakParts = 6

// soak is what the owners share.
type soak struct {
	owners, partitions                         int
	begun                                      atomic.Bool
	over                                       atomic.Int64   // parts whose time is over
	heap                                       []uint64       // after each part
	acked                                      []atomic.Int64 // the highest acknowledged position, by partition
	won, lost, unknown, stored, failed, rounds atomic.Int64
}

func (s *soak) run(t *testing.T) {
	service := fakeblob.New()
	service.SetRecording(false)
	for i := range s.partitions { // all blobs exist, so that the memory of the service does not grow
		service.Put(ownershipPrefix+strconv.Itoa(i), map[string]string{"ownerid": ""})
		service.Put(checkpointPrefix+strconv.Itoa(i), map[string]string{"sequencenumber": "0", "offset": ""})
	}
	b := onFake(service)
	owners := make([]*soakOwner, s.owners)
	for i := range owners {
		owners[i] = &soakOwner{
			soak: s, id: fmt.Sprint("owner-", i), client: s.newClient(t, b, uint64(i)), random: rand.New(rand.NewPCG(uint64(i), 5)),
		}
		owners[i].touchAll(t)
	}
	s.begun.Store(true)
	began := time.Now()
	for part := range int64(soakParts) {
		var all sync.WaitGroup
		for _, o := range owners {
			all.Go(func() {
				for again := true; again; again = s.over.Load() <= part {
					o.round(context.Background(), o.random.IntN(4) == 0)
					time.Sleep(time.Duration(o.random.Int64N(int64(10 * b.pace))))
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour) // requests that were given up end
		s.heap = append(s.heap, liveHeap())
	}
	took := time.Since(began)

	struck := make(map[string]int)
	for _, o := range owners {
		o.client.end(struck)
	}
	t.Logf("%v of virtual time, %d rounds, %d requests; claims won %d, lost %d, unknown %d; checkpoints stored %d, refused or failed %d; faults: %v",
		took, s.rounds.Load(), service.Requests(), s.won.Load(), s.lost.Load(), s.unknown.Load(), s.stored.Load(), s.failed.Load(), struck)
	require.Greater(t, s.stored.Load(), int64(s.partitions/4))
	require.NotZero(t, s.unknown.Load())
	s.requireNothingLost(t, owners, b.plain(t))
}

// newClient returns a store that meets every kind of fault now and then, once the soak has begun.
func (s *soak) newClient(t *testing.T, b backend, seed uint64) client {
	rules := allFaults().rules(b.pace)
	for i := range rules {
		if rules[i].Chance < 1 {
			rules[i].Chance /= 8
		}
	}
	transport := faults.New(b.transport, seed, rules...)
	store, err := b.newStore(transportFunc(func(req *http.Request) (*http.Response, error) {
		if s.begun.Load() {
			return transport.Do(req)
		}
		return b.transport.Do(req)
	}), b.options())
	require.NoError(t, err)
	return client{store, transport}
}

// requireNothingLost lets the owners share the rest without faults, and compares what is stored with what they know.
func (s *soak) requireNothingLost(t *testing.T, owners []*soakOwner, plain *checkpointstore.BlobCheckpointStore) {
	t.Helper()
	ctx := context.Background()
	for _, o := range owners {
		o.settled = true
		o.round(ctx, true)
	}
	list, err := plain.ListOwnership(ctx, namespace, eventHub, group, nil)
	require.NoError(t, err)
	by := make(map[string][]checkpointstore.Ownership)
	for _, r := range list {
		by[r.OwnerID] = append(by[r.OwnerID], r)
	}
	owned := 0
	for _, o := range owners {
		won, err := o.client.ClaimOwnership(ctx, by[o.id], nil)
		require.NoError(t, err)
		require.Len(t, won, len(by[o.id]), "an owner can renew what it owns")
		for _, r := range o.held {
			require.True(t, slices.ContainsFunc(won, func(w checkpointstore.Ownership) bool { return w.PartitionID == r.PartitionID }),
				"%s was told that it owns %s", o.id, r.PartitionID)
		}
		owned += len(won)
	}
	require.Equal(t, s.partitions, owned, "each partition has one of the owners")

	stored, err := plain.ListCheckpoints(ctx, namespace, eventHub, group, nil)
	require.NoError(t, err)
	require.Len(t, stored, s.partitions)
	for _, c := range stored {
		require.GreaterOrEqual(t, *c.SequenceNumber, s.acked[number(c.PartitionID)].Load(), "partition %s", c.PartitionID)
	}
}

// soakOwner balances, renews, and stores checkpoints of what it owns.
type soakOwner struct {
	*soak
	id        string
	client    client
	random    *rand.Rand
	held      []checkpointstore.Ownership // what its last claim won
	positions map[string]int64            // what it stored last, of what it held in every round since
	settled   bool                        // it relinquishes and steals nothing
}

// touchAll makes the store keep all that it keeps of each partition, so that its memory does not grow with the partitions that
// it meets later.
func (o *soakOwner) touchAll(t *testing.T) {
	var asked []checkpointstore.Ownership
	for i := range o.partitions {
		asked = append(asked, claimOf(o.id, strconv.Itoa(i), "0x0"))
	}
	won, err := o.client.ClaimOwnership(context.Background(), asked, nil)
	require.NoError(t, err)
	require.Empty(t, won)
	_, err = o.client.ListCheckpoints(context.Background(), namespace, eventHub, group, nil)
	require.NoError(t, err)
}

// round balances or renews, and then stores a checkpoint for each partition that it won.
func (o *soakOwner) round(ctx context.Context, balance bool) {
	o.rounds.Add(1)
	asked := o.held
	if balance || len(asked) == 0 {
		list, err := o.client.ListOwnership(ctx, namespace, eventHub, group, nil)
		if err != nil {
			return
		}
		asked = o.choose(list)
	}
	won, err := o.client.ClaimOwnership(ctx, asked, nil)
	var failed checkpointstore.PartitionErrors
	if errs := new(checkpointstore.PartitionErrors); errors.As(err, &errs) {
		failed = *errs
	}
	o.won.Add(int64(len(won)))
	o.unknown.Add(int64(len(failed.Errors)))
	o.lost.Add(int64(len(asked) - len(won) - len(failed.Errors)))
	o.held = slices.DeleteFunc(won, func(r checkpointstore.Ownership) bool { return r.OwnerID == "" })

	positions := make(map[string]int64)
	for _, r := range o.held {
		position, known := o.positions[r.PartitionID] // it was won in every round since it was read
		if !known {
			if position, known = o.read(ctx, r.PartitionID); !known {
				continue
			}
		}
		positions[r.PartitionID] = position + 1
	}
	o.positions = positions
	var all sync.WaitGroup
	for p, position := range positions {
		all.Go(func() { o.update(ctx, p, position) })
	}
	all.Wait()
}

// read returns the position of a partition in a new tenure.
func (o *soakOwner) read(ctx context.Context, partition string) (int64, bool) {
	c, err := o.client.GetCheckpoint(ctx, namespace, eventHub, group, partition, nil)
	if err != nil {
		return 0, false
	}
	return *c.SequenceNumber, true
}

// choose renews what it owns, relinquishes some of it, and takes others up to its share: those without an owner first.
func (o *soakOwner) choose(list []checkpointstore.Ownership) []checkpointstore.Ownership {
	var asked, free, others []checkpointstore.Ownership
	for _, r := range list {
		before := r.OwnerID
		r.OwnerID = o.id
		switch before {
		case o.id:
			if !o.settled && o.random.IntN(64) == 0 {
				r.OwnerID = ""
			}
			asked = append(asked, r)
		case "":
			free = append(free, r)
		default:
			others = append(others, r)
		}
	}
	want := o.partitions/o.owners - len(asked)
	if !o.settled {
		want += o.random.IntN(5) // more than its share, so that owners compete
		if len(free) == 0 {
			free = others
		}
	}
	o.random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	return append(asked, free[:max(0, min(want, len(free)))]...)
}

// update stores a checkpoint, and notes the highest position that was acknowledged.
func (o *soakOwner) update(ctx context.Context, partition string, position int64) {
	if err := o.client.UpdateCheckpoint(ctx, checkpointAt(partition, position), nil); err != nil {
		o.failed.Add(1)
		return
	}
	o.stored.Add(1)
	acked := &o.acked[number(partition)]
	for old := acked.Load(); position > old && !acked.CompareAndSwap(old, position); old = acked.Load() {
	}
}

// liveHeap is the size of what is reachable.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // a sync.Pool keeps its content for one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// grows compares the sizes after the second part and after the last: the first part is the start. The faults count the requests
// for each blob by owner, which grows until each owner has met each blob.
func grows(heap []uint64) bool {
	return heap[len(heap)-1] > heap[1]+heap[1]/8+2<<20
}

func TestTheCheckFindsAHeapThatGrows(t *testing.T) {
	flat := []uint64{9 << 20, 25 << 20, 24 << 20, 25 << 20, 26 << 20, 27 << 20}
	require.False(t, grows(flat))
	leak := slices.Clone(flat)
	for i := range leak {
		leak[i] += uint64(i) << 20
	}
	require.True(t, grows(leak))
}
