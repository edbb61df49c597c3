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

// The promise. Several stores take a partition from each other, again and again, and each reads it in tenures. A tenure
// lasts from a claim that the store wins, on another ETag than that of its own last win, to the next such claim. In a tenure
// a handler
//
//   - starts when the handlers of the store's earlier tenures have ended and GetCheckpoint or ListCheckpoints has returned
//     the checkpoint;
//   - continues from there with increasing positions, which may be sent concurrently and out of order;
//   - may continue after the partition was lost, for any time and whatever its store reads, as long as the store does not
//     read in a new tenure.
//
// An operator rewinds the partition at any moment. An owner that receives ErrRewound relinquishes the partition.
//
// Then, whatever is lost, delayed and applied late:
//
//   - No position is stored in an earlier generation than the stored one or, within a generation, behind the stored one.
//   - A handler's positions are stored in the generation in which it started, and in no other.
//   - An acknowledged position, or a later one, stays stored until a rewind.
//   - A position that is refused as stale is behind the stored one. A handler is refused for its generation only if there was
//     a later one.
//   - A read returns what was written, and nothing behind what had been acknowledged when it began.
//
// "The handlers of earlier tenures have ended" is the documented limit of UpdateCheckpoint. Without it, a position of a late
// handler may be stored in a generation in which it did not start: see TestAHandlerThatOverlapsWithTheNextTenureMayUndoARewind.

var checkpointsFlag = flag.String("checkpoints", "", "the config of the one history that TestOneCheckpointHistory plays and prints")

// consumer is a store with its handlers of one partition.
type consumer struct {
	config
	name     string
	client   client
	random   *rand.Rand
	pace     time.Duration
	monitor  *checkpointMonitor
	lastWin  string
	handlers []*handler  // that have not been ended
	begun    int         // how many there were
	rewound  atomic.Bool // whether one received ErrRewound
}

// handler is the reader of one tenure.
type handler struct {
	end  context.CancelFunc
	done chan struct{}
}

func (c *consumer) chance(p float64) bool { return c.random.Float64() < p }

func (c *consumer) run(ctx context.Context) {
	for range c.Steps {
		time.Sleep(time.Duration(c.random.Int64N(10 * int64(c.pace))))
		// The first read of a tenure is the one that its handler starts from. If that read failed, none takes its place.
		if c.chance(0.3) && (c.lastWin == "" || len(c.handlers) > 0) {
			c.look(ctx)
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

// claim claims, renews or relinquishes, and begins a tenure if the win is one.
func (c *consumer) claim(ctx context.Context, etag, as string) {
	winners, err := c.client.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf(as, "0", etag)}, nil)
	c.monitor.claimed(c.name, as, etag, winners, err)
	if err != nil || len(winners) == 0 {
		return // a running handler continues
	}
	renewal := etag != "" && etag == c.lastWin
	c.lastWin = string(*winners[0].ETag)
	if as == "" {
		c.lastWin = ""
		if !renewal && !c.Overlaps {
			c.endHandlers() // this win is a tenure without a handler
		}
		return
	}
	if renewal && len(c.handlers) > 0 {
		return
	}
	// The previous handler may still write, and for a while from here.
	time.Sleep(time.Duration(c.random.Int64N(3 * int64(c.pace))))
	if !c.Overlaps {
		c.endHandlers()
	}
	if from, ok := c.look(ctx); ok {
		c.begin(from)
	}
}

// rewind moves the partition to random positions, as an operator who owns nothing.
func (c *consumer) rewind(ctx context.Context) {
	for n := range c.Rewinds {
		time.Sleep(time.Duration(c.random.Int64N(40 * int64(c.pace))))
		to := checkpointBy(fmt.Sprint(c.name, "/", n), c.random.Int64N(2*c.monitor.furthest().position+2))
		err := c.client.UpdateCheckpoint(ctx, to, &checkpointstore.UpdateCheckpointOptions{Rewind: true})
		c.monitor.rewound(to, err)
	}
}

// look reads the checkpoint in one of the two ways.
func (c *consumer) look(ctx context.Context) (from checkpointstore.Checkpoint, ok bool) {
	acked := c.monitor.furthest()
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
	c.monitor.looked(c.name, from, acked)
	return from, true
}

// register names a handler that starts from a checkpoint.
func (c *consumer) register(from checkpointstore.Checkpoint) (id string) {
	c.begun++
	c.rewound.Store(false)
	id = fmt.Sprint(c.name, ".", c.begun)
	c.monitor.began(id, from)
	return id
}

// update stores a handler's position, and notes a rewind.
func (c *consumer) update(handler string, position int64) error {
	err := c.client.UpdateCheckpoint(context.Background(), checkpointBy(handler, position), nil)
	if errors.Is(err, checkpointstore.ErrRewound) {
		c.rewound.Store(true)
	}
	c.monitor.updated(handler, position, err)
	return err
}

// begin starts a handler from a checkpoint. Its loop runs until the context ends.
func (c *consumer) begin(from checkpointstore.Checkpoint) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{end: cancel, done: make(chan struct{})}
	c.handlers = append(c.handlers, h)
	id, random := c.register(from), rand.New(rand.NewPCG(c.random.Uint64(), 3))
	loop := c.updateEach
	if c.Coalesced {
		loop = c.updateCoalesced
	}
	go func() {
		defer close(h.done)
		loop(ctx, id, *from.SequenceNumber, random)
	}()
}

// pause waits for a random time, and reports whether the context is still valid.
func (c *consumer) pause(ctx context.Context, random *rand.Rand) bool {
	select {
	case <-time.After(time.Duration(random.Int64N(10 * int64(c.pace)))):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// updateEach stores each position.
func (c *consumer) updateEach(ctx context.Context, id string, position int64, random *rand.Rand) {
	var updates sync.WaitGroup
	defer updates.Wait()
	for c.pause(ctx, random) {
		for range 1 + random.IntN(2) {
			position += 1 + random.Int64N(5)
			at, delay := position, time.Duration(random.Int64N(int64(c.pace)))
			updates.Go(func() {
				time.Sleep(delay)
				_ = c.update(id, at)
			})
		}
	}
}

// endHandlers ends the handlers and waits for their updates.
func (c *consumer) endHandlers() {
	for _, h := range c.handlers {
		h.end()
		<-h.done
	}
	c.handlers = nil
}

// consume lets the consumers of a config run.
func consume(t *testing.T, c config) (*checkpointMonitor, string) {
	t.Helper()
	var m *checkpointMonitor
	var wire string
	synctest.Test(t, func(t *testing.T) {
		service := fakeblob.New()
		b := onFake(service)
		m = &checkpointMonitor{service: service, results: make(map[string]int), basis: make(map[string]string), refused: make(map[string]int64)}
		b.transport = observeWrites(service, m.observe)
		consumers := make([]*consumer, c.Owners+1) // the last one only rewinds
		var all sync.WaitGroup
		for i := range consumers {
			seed := c.Seed*1000 + uint64(i)
			consumers[i] = &consumer{
				config: c, name: fmt.Sprint("owner-", i), pace: b.pace, monitor: m,
				client: b.newClient(t, seed, c.Faults, c.Store), random: rand.New(rand.NewPCG(seed, 1)),
			}
			if i == c.Owners {
				consumers[i].name = "operator"
				all.Go(func() { consumers[i].rewind(context.Background()) })
				continue
			}
			all.Go(func() { consumers[i].run(context.Background()) })
		}
		all.Wait()
		for _, c := range consumers {
			c.client.end(make(map[string]int))
		}
		last := consumer{config: c, name: "at last", monitor: m, random: rand.New(rand.NewPCG(1, 1)), client: client{b.plain(t), nil}}
		_, ok := last.look(context.Background())
		require.True(t, ok)
		wire = service.Transcript()
		m.check()
	})
	return m, wire
}

// checkpointVerdict is the outcome of a history of checkpoints.
type checkpointVerdict struct {
	config
	*checkpointMonitor
	wire string
}

func (v checkpointVerdict) report() string {
	return fmt.Sprintf("%s\nCalls:\n  %s\nRequests:\n%s\nAgain: go test -run TestOneCheckpointHistory -v -checkpoints '%s'\n",
		strings.Join(v.broken, "\n"), strings.Join(v.calls, "\n  "), v.wire, replayable(v.config))
}

// broken returns a report on the shrunk history that breaks the promise, if one of the configs does.
func broken(t *testing.T, configs iter.Seq[config]) (report string, results map[string]int) {
	t.Helper()
	play := func(c config) (checkpointVerdict, bool) {
		m, wire := consume(t, c)
		return checkpointVerdict{c, m, wire}, len(m.broken) > 0
	}
	results = make(map[string]int)
	for c := range configs {
		v, isBroken := play(c)
		addCounts(results, v.results)
		if isBroken {
			return shrink(c, v, 1<<20, config.smaller, play).report(), results
		}
	}
	return "", results
}

func TestOneCheckpointHistory(t *testing.T) {
	m, wire := consume(t, replayed[config](t, "checkpoints", *checkpointsFlag))
	t.Log(wire)
	require.Empty(t, m.broken)
}

// eightOwners is the usual case.
func eightOwners() config {
	return config{Owners: 8, Partitions: 1, Steps: 8, Rewinds: 3, Faults: allFaults()}
}

// anyFaults yields a config under n seeds, each with one of the sets of faults.
func anyFaults(n uint64, c config) iter.Seq[config] {
	return func(yield func(config) bool) {
		for c := range seeds(n, c) {
			c.Faults = faultSet(rand.New(rand.NewPCG(c.Seed, 4)).IntN(faultSets()))
			if !yield(c) {
				return
			}
		}
	}
}

func TestNoOwnerMovesACheckpointBack(t *testing.T) {
	for name, c := range map[string]struct {
		coalesced bool
		histories uint64
		happens   []string
	}{
		"each position": {false, fewer(400), []string{"stored", "stale", "unknown", "refused for its generation", "rewound", "stored after a rewind"}},
		"coalesced":     {true, fewer(200), []string{"stored", "stale", "unknown", "flushed"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := eightOwners()
			config.Coalesced = c.coalesced
			report, results := broken(t, anyFaults(c.histories, config))
			require.Empty(t, report)
			t.Logf("%d histories of 8 owners, updates: %v", c.histories, results)
			for _, what := range c.happens {
				require.Greater(t, results[what], int(c.histories), what)
			}
		})
	}
}

func TestNoOwnerMovesACheckpointBackUnderAnyKindOfFault(t *testing.T) {
	for i := range faultKinds() {
		c := eightOwners()
		c.Faults = 1 << i
		report, _ := broken(t, seeds(fewer(20), c))
		require.Empty(t, report, c.Faults)
	}
}

func TestTheCheckFindsBrokenCheckpoints(t *testing.T) {
	skipUnderRace(t)
	for name, c := range map[string]struct {
		change func(*config)
		broken string
	}{
		"unfenced":                {func(c *config) { c.Store = unfenced }, "went back"},
		"unfenced, and coalesced": {func(c *config) { c.Store, c.Coalesced, c.Rewinds = unfenced, true, 0 }, "went back"},
		"forgetful":               {func(c *config) { c.Store = forgetful }, "generation"},
		"relabelling":             {func(c *config) { c.Store = relabelling }, "generation"},
	} {
		t.Run(name, func(t *testing.T) {
			config := eightOwners()
			c.change(&config)
			report, _ := broken(t, seeds(20, config))
			require.Contains(t, report, c.broken)
			t.Log(report)
		})
	}
}

// The documented limit: when its store has read in a new tenure, it cannot tell a handler of an earlier tenure from one of
// this tenure. That handler's position is ahead of the stored one, but may be from before a rewind.
func TestAHandlerThatOverlapsWithTheNextTenureMayUndoARewind(t *testing.T) {
	skipUnderRace(t)
	c := eightOwners()
	c.Overlaps = true
	report, _ := broken(t, seeds(200, c))
	require.Contains(t, report, "started in generation")
	require.NotContains(t, report, "went back")
	t.Log(report)
}
