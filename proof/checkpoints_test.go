package proof

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// The promise. Several stores take a partition from each other, again and again, and each reads it in tenures: from a
// claim that it wins, on another ETag than that of its own last win, to the next one. In a tenure a handler
//
//   - begins when the handlers of the store's earlier tenures have ended and GetCheckpoint or ListCheckpoints has shown
//     where the partition stands;
//   - goes on from there, with ever higher positions, which may be sent at once and out of order;
//   - may go on after the partition was lost, for any time and whatever its store looks at, as long as that does not look
//     in a new tenure.
//
// Somebody else rewinds the partition at any moment. An owner that is told so gives the partition up.
//
// Then, whatever is lost, delayed and applied late: a position is never stored in an earlier generation than the stored
// one, nor, within a generation, behind the stored one. A handler's positions are stored in the generation in which it
// began, and in no other. What was acknowledged stays stored, or what is further on, until somebody rewinds. What is stale
// is behind what is stored. A look finds what was written, and nothing behind what had been acknowledged when it began.
// A handler is refused for its generation only if there was a later one.
//
// "The handlers of earlier tenures have ended" is the documented limit of UpdateCheckpoint: without it a late handler's
// position may be stored in a generation in which it did not begin, which a test here holds against the checks.

var checkpointsFlag = flag.String("checkpoints", "", "the config of the one history that TestOneCheckpointHistory plays and prints")

// consumer is a store with the handlers of one partition.
type consumer struct {
	config
	name     string
	client   client
	random   *rand.Rand
	pace     time.Duration
	watch    *watch
	lastWin  string
	handlers []*handler  // those that have not been ended
	begun    int         // how many there were
	rewound  atomic.Bool // one was told that somebody rewound the partition
}

// handler is the reader of one tenure.
type handler struct {
	end  context.CancelFunc
	done chan struct{}
}

func (c *consumer) chance(p float64) bool { return c.random.Float64() < p }

func (c *consumer) run(ctx context.Context) {
	for range c.steps {
		time.Sleep(time.Duration(c.random.Int64N(10 * int64(c.pace))))
		if c.chance(0.3) {
			c.look(ctx) // for another reason, in a tenure that has had its look, or after it
		}
		r, err := c.client.GetOwnership(ctx, namespace, eventHub, group, "0", nil)
		if err != nil && !errors.Is(err, checkpointstore.ErrNotFound) {
			continue
		}
		etag := ""
		if r.ETag != nil {
			etag = string(*r.ETag)
		}
		switch mine := r.OwnerID == c.name; {
		case mine && (c.rewound.Swap(false) || c.chance(0.2)):
			c.claim(ctx, etag, "")
		case mine, c.chance(0.5):
			c.claim(ctx, etag, c.name)
		}
	}
	c.endHandlers()
}

// claim claims, renews or relinquishes, and begins the tenure that a win may bring.
func (c *consumer) claim(ctx context.Context, etag, as string) {
	winners, err := c.client.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf(as, "0", etag)}, nil)
	c.watch.claimed(c.name, as, etag, winners, err)
	if err != nil || len(winners) == 0 {
		return // a handler that there is goes on
	}
	renewal := etag != "" && etag == c.lastWin
	c.lastWin = string(*winners[0].ETag)
	if as == "" {
		c.lastWin = ""
		if !renewal && !c.overlaps {
			c.endHandlers() // a tenure, by the rule, though nobody reads in it
		}
		return
	}
	if renewal && len(c.handlers) > 0 {
		return
	}
	// The handler of before may write until here, and a while on.
	time.Sleep(time.Duration(c.random.Int64N(3 * int64(c.pace))))
	if !c.overlaps {
		c.endHandlers()
	}
	if from, ok := c.look(ctx); ok && c.coalesced {
		c.beginCoalesced(from)
	} else if ok {
		c.begin(from)
	}
}

// rewind moves the partition to some position, as somebody who owns nothing.
func (c *consumer) rewind(ctx context.Context) {
	for n := range c.rewinds {
		time.Sleep(time.Duration(c.random.Int64N(40 * int64(c.pace))))
		to := checkpointBy(fmt.Sprint(c.name, "/", n), c.random.Int64N(2*c.watch.furthestAcked()+2))
		err := c.client.UpdateCheckpoint(ctx, to, &checkpointstore.UpdateCheckpointOptions{Rewind: true})
		c.watch.rewound(to, err)
	}
}

// look finds out where the partition stands.
func (c *consumer) look(ctx context.Context) (from checkpointstore.Checkpoint, ok bool) {
	acked := c.watch.mark()
	from = checkpointBy("", 0)
	if c.chance(0.5) {
		one, err := c.client.GetCheckpoint(ctx, namespace, eventHub, group, "0", nil)
		if err != nil && !errors.Is(err, checkpointstore.ErrNotFound) {
			return from, false
		}
		if err == nil {
			from = one
		}
	} else {
		all, err := c.client.ListCheckpoints(ctx, namespace, eventHub, group, nil)
		if err != nil {
			return from, false
		}
		if len(all) > 0 {
			from = all[0]
		}
	}
	c.watch.looked(c.name, from, acked)
	return from, true
}

// register names the handler that begins behind a position.
func (c *consumer) register(from checkpointstore.Checkpoint) (id string) {
	c.begun++
	c.rewound.Store(false)
	id = fmt.Sprint(c.name, ".", c.begun)
	c.watch.began(id, from)
	return id
}

// update stores a handler's position, and takes note if the partition was rewound.
func (c *consumer) update(handler string, position int64) error {
	err := c.client.UpdateCheckpoint(context.Background(), checkpointBy(handler, position), nil)
	if errors.Is(err, checkpointstore.ErrRewound) {
		c.rewound.Store(true)
	}
	c.watch.updated(handler, position, err)
	return err
}

// begin starts a handler behind a position.
func (c *consumer) begin(from checkpointstore.Checkpoint) {
	id := c.register(from)
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{end: cancel, done: make(chan struct{})}
	c.handlers = append(c.handlers, h)
	random := rand.New(rand.NewPCG(c.random.Uint64(), 3))
	go func() {
		defer close(h.done)
		var updates sync.WaitGroup
		defer updates.Wait()
		for position := *from.SequenceNumber; ; {
			select {
			case <-time.After(time.Duration(random.Int64N(10 * int64(c.pace)))):
			case <-ctx.Done():
				return
			}
			for range 1 + random.IntN(2) {
				position += 1 + random.Int64N(5)
				at, behind := position, time.Duration(random.Int64N(int64(c.pace)))
				updates.Go(func() {
					time.Sleep(behind)
					_ = c.update(id, at)
				})
			}
		}
	}()
}

// endHandlers ends the handlers and waits for their updates.
func (c *consumer) endHandlers() {
	for _, h := range c.handlers {
		h.end()
		<-h.done
	}
	c.handlers = nil
}

// consume lets consumers do what the config says.
func consume(t *testing.T, c config) (*watch, string) {
	t.Helper()
	var seen *watch
	var wire string
	synctest.Test(t, func(t *testing.T) {
		service := fakeblob.New()
		w := onFake(service)
		seen = &watch{service: service, results: make(map[string]int), basis: make(map[string]string), refused: make(map[string]int64)}
		consumers := make([]*consumer, c.owners+1) // the last one only rewinds
		var all sync.WaitGroup
		for i := range consumers {
			seed := c.seed*1000 + uint64(i)
			consumers[i] = &consumer{
				config: c, name: fmt.Sprint("owner-", i), pace: w.pace, watch: seen,
				client: w.newClient(t, seed, c.faults, c.store), random: rand.New(rand.NewPCG(seed, 1)),
			}
			if i == c.owners {
				consumers[i].name = "operator"
				all.Go(func() { consumers[i].rewind(context.Background()) })
				continue
			}
			all.Go(func() { consumers[i].run(context.Background()) })
		}
		all.Wait()
		for _, c := range consumers {
			c.client.faults.Heal()
			c.client.faults.Drain()
		}
		last := consumer{config: c, name: "at last", watch: seen, random: rand.New(rand.NewPCG(1, 1))}
		last.client.BlobCheckpointStore = w.plain(t)
		_, ok := last.look(context.Background())
		require.True(t, ok)
		wire = service.Transcript()
		seen.check(wire)
	})
	return seen, wire
}

// broken tells how the smallest history that breaks the promise does it, if one of the configs does.
func broken(t *testing.T, configs iter.Seq[config]) (report string, results map[string]int) {
	t.Helper()
	results = make(map[string]int)
	for c := range configs {
		seen, _ := consume(t, c)
		for what, n := range seen.results {
			results[what] += n
		}
		if len(seen.broken) == 0 {
			continue
		}
		small := shrink(c, func(c config) bool {
			seen, _ := consume(t, c)
			return len(seen.broken) > 0
		})
		seen, wire := consume(t, small)
		return fmt.Sprintf("%s\nCalls:\n  %s\nRequests:\n%s\nAgain: go test -run TestOneCheckpointHistory -v -checkpoints '%v'\n", strings.Join(seen.broken, "\n"), strings.Join(seen.calls, "\n  "), wire, small), results
	}
	return "", results
}

func TestOneCheckpointHistory(t *testing.T) {
	if *checkpointsFlag == "" {
		t.Skip("plays the history that -checkpoints names: left out without one")
	}
	c, err := parseConfig(*checkpointsFlag)
	require.NoError(t, err)
	seen, wire := consume(t, c)
	t.Log(wire)
	require.Empty(t, seen.broken)
}

// eightWriters is the usual case.
func eightWriters() config {
	return config{owners: 8, partitions: 1, steps: 8, rewinds: 3, faults: everything(), store: whole}
}

func TestNoOwnerMovesACheckpointBack(t *testing.T) {
	n := fewer(400)
	report, results := broken(t, func(yield func(config) bool) {
		for c := range seeds(n, eightWriters()) {
			c.faults = mix(rand.New(rand.NewPCG(c.seed, 4)).IntN(mixes()))
			if !yield(c) {
				return
			}
		}
	})
	require.Empty(t, report)
	t.Logf("%d histories of 8 writers, updates: %v", n, results)
	require.Greater(t, results["stored"], int(n))
	require.Greater(t, results["stale"], int(n))
	require.Greater(t, results["unknown"], int(n))
	require.Greater(t, results["refused for its generation"], int(n))
	require.Greater(t, results["rewound"], int(n))
	require.Greater(t, results["stored after a rewind"], int(n))
}

func TestNoOwnerMovesACheckpointBackUnderAnyKindOfFault(t *testing.T) {
	for i := range kinds() {
		c := eightWriters()
		c.faults = 1 << i
		report, _ := broken(t, seeds(fewer(20), c))
		require.Empty(t, report, c.faults)
	}
}

func TestTheCheckFindsStoresWithoutFencing(t *testing.T) {
	c := eightWriters()
	c.store = unfenced
	report, _ := broken(t, seeds(20, c))
	require.Contains(t, report, "went back")
	t.Log(report)
}

func TestTheCheckFindsStoresThatForgetTheGeneration(t *testing.T) {
	for _, v := range []variant{forgetful, relabelling} {
		c := eightWriters()
		c.store = v
		report, _ := broken(t, seeds(20, c))
		require.Contains(t, report, "generation", v)
		t.Log(report)
	}
}

// The documented limit: when its store has looked in a new tenure, a handler of an earlier one cannot be told from one of
// this tenure. What it stores is ahead, but may have come from before a rewind.
func TestAHandlerThatOverlapsWithTheNextTenureMayUndoARewind(t *testing.T) {
	c := eightWriters()
	c.overlaps = true
	report, _ := broken(t, seeds(200, c))
	require.Contains(t, report, "began in generation")
	require.NotContains(t, report, "went back")
	t.Log(report)
}
