package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// network is what lies between stores and their container: the faults that a test
// injects, and a count of the requests.
type network struct {
	*faults.Transport
	client *http.Client

	// won, if it is set, is told of each claim that took effect.
	won func(partition, owner string)

	mu    sync.Mutex
	begun int64     // rounds
	last  time.Time // when a request about ownerships began or ended

	writes   atomic.Int64 // of ownerships, that took effect
	requests atomic.Int64
	answered atomic.Int64
	lists    atomic.Int64 // of ownerships, answered: one a round
}

var _ policy.Transporter = (*network)(nil)

// The requests that tests ask for.
var (
	aboutOwnerships = faults.NameHas("/ownership/")
	listOwnerships  = faults.All(faults.OpIs(faults.ListBlobs), aboutOwnerships)
	writeOwnership  = faults.All(faults.OpIs(faults.PutBlob, faults.SetMetadata), aboutOwnerships)

	aboutCheckpoints = faults.NameHas("/checkpoint/")
	listCheckpoints  = faults.All(faults.OpIs(faults.ListBlobs), aboutCheckpoints)
	writeCheckpoint  = faults.All(faults.OpIs(faults.PutBlob, faults.SetMetadata), aboutCheckpoints)
)

func newNetwork() *network {
	n := &network{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	n.Transport = faults.New(faults.TransportFunc(n.arrive), rand.Uint64())
	return n
}

// Do counts what the store sees of a request.
func (n *network) Do(req *http.Request) (*http.Response, error) {
	n.requests.Add(1)
	if aboutOwnerships(req) {
		n.note(listOwnerships(req))
		defer n.note(false)
	}
	resp, err := n.Transport.Do(req)
	if err != nil {
		return nil, err
	}
	if listOwnerships(req) && resp.StatusCode < 300 {
		n.lists.Add(1)
	}
	n.answered.Add(1) // after the others are counted
	return resp, nil
}

// arrive counts what the container sees of a request.
func (n *network) arrive(req *http.Request) (*http.Response, error) {
	resp, err := n.client.Do(req)
	if err == nil && writeOwnership(req) && resp.StatusCode < 300 {
		n.writes.Add(1)
		if n.won != nil {
			n.won(path.Base(req.URL.Path), ownerOf(req.Header))
		}
	}
	return resp, err
}

// pause is the least time between two rounds, at an interval of a second; within a
// round, requests about ownerships follow each other at a tenth of that.
const pause = 600 * time.Millisecond

// round is how many rounds the owner has begun. It counts lists that come a while
// after all earlier requests about ownerships, and is meant for intervals of a second
// or more.
func (n *network) round() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.begun
}

// note counts rounds.
func (n *network) note(list bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if list && time.Since(n.last) > pause {
		n.begun++
	}
	n.last = time.Now()
}

// close closes the connections that are kept.
func (n *network) close() { n.client.CloseIdleConnections() }

// ownerOf is the owner id of a claim. Names of metadata are sent as they are, so Get
// does not find them.
func ownerOf(h http.Header) string {
	for name, values := range h {
		if strings.EqualFold(name, "x-ms-meta-ownerid") {
			return values[0]
		}
	}
	return ""
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
	f.Inject(faults.Latency(2500*time.Microsecond, 7500*time.Microsecond)) // there and back
	f.Inject(faults.LoseRequest().WithChance(0.03))
	f.Inject(faults.Busy(0).WithChance(0.03))
	f.Inject(faults.LoseResponse().WithChance(0.05))
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
