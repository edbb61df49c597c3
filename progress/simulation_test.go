package progress_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/progress"
)

// A load is what TestDuplicatesAfterACrashAtAnyMoment puts on each partition. The
// time is that of a bubble.
type load struct {
	partitions   int
	perTick      int // events that come every tick
	tick, length time.Duration
	handling     time.Duration // the longest that an event takes to be done
	latency      time.Duration // the longest that a write takes
	failing      float64       // how many writes fail
	slow         float64       // how many take a hundred times as long
	checkpointer progress.CheckpointerOptions
	window       int
}

// outcome is what became of all partitions.
type outcome struct {
	mu         sync.Mutex
	events     uint64
	writes     uint64
	duplicates int64 // the most that a crash would have caused, at any of the moments looked at
	held       int   // how often an event waited to be begun
}

// crashable is a store that counts, is slow, and fails.
type crashable struct {
	checkpointstore.CheckpointStore
	load
	r *rand.Rand

	mu     sync.Mutex
	stored int64 // the position that the next owner starts after
}

func (s *crashable) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, o *checkpointstore.UpdateCheckpointOptions) error {
	s.mu.Lock()
	latency := time.Duration(s.r.Int64N(int64(s.latency)))
	fails, slow := s.r.Float64() < s.failing, s.r.Float64() < s.slow
	applied := s.r.Float64() // at which part of the latency it takes effect
	s.mu.Unlock()
	if slow {
		latency *= 100
	}
	if err := sleep(ctx, time.Duration(applied*float64(latency))); err != nil {
		return err
	}
	if fails {
		return errors.Join(sleep(ctx, time.Duration((1-applied)*float64(latency))), errThrottled)
	}
	err := s.CheckpointStore.UpdateCheckpoint(ctx, c, o)
	if err == nil {
		s.mu.Lock()
		s.stored = *c.SequenceNumber
		s.mu.Unlock()
	}
	return errors.Join(err, sleep(ctx, time.Duration((1-applied)*float64(latency))))
}

func (s *crashable) position() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

// crash is one moment at which a process may end, as seen by its partition.
type crash struct {
	begun, stored int64         // sequence numbers, the first event being 0
	inFlight      int64         // events begun and not in the prefix when the last one was begun
	oldest        time.Duration // for how long the first event after the stored position has been in the prefix; 0 if it is not
}

// duplicates are what the next owner would handle again.
func (c crash) duplicates() int64 { return c.begun - c.stored }

// simulate puts the load on one partition, and calls look at each moment.
func (l load) simulate(t *testing.T, id int, total *outcome, look func(crash)) {
	r := rand.New(rand.NewPCG(uint64(id), 5))
	store := &crashable{CheckpointStore: memstore.New(), load: l, r: rand.New(rand.NewPCG(uint64(id), 6)), stored: -1}
	o := l.checkpointer
	var writes uint64
	o.OnWrite = func(w progress.Write) { writes++ }
	write := progress.ToStore(store, checkpointstore.Checkpoint{
		FullyQualifiedNamespace: "ns.example", EventHubName: "hub", ConsumerGroup: "group", PartitionID: fmt.Sprint(id),
	})
	c := progress.NewCheckpointer(write, &o)
	tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c, MaxEvents: l.window})

	due := make(map[int64][]progress.Pending) // by the tick in which they are done
	var entered []time.Duration               // when each event entered the prefix
	start := time.Now()
	next, atLastBegin, held := int64(0), int64(0), 0
	moment := func() {
		for n := int64(tracker.Stats().Prefix); int64(len(entered)) < n; {
			entered = append(entered, time.Since(start))
		}
		now := crash{begun: next - 1, stored: store.position(), inFlight: atLastBegin}
		if first := now.stored + 1; first < int64(len(entered)) {
			now.oldest = time.Since(start) - entered[first]
		}
		look(now)
		total.mu.Lock()
		total.duplicates = max(total.duplicates, now.duplicates())
		total.mu.Unlock()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for tick := int64(0); time.Since(start) < l.length; tick++ {
		time.Sleep(l.tick)
		ready := due[tick]
		delete(due, tick)
		r.Shuffle(len(ready), func(i, j int) { ready[i], ready[j] = ready[j], ready[i] })
		for i, p := range ready {
			p.Done()
			if i%8 == 0 {
				moment()
			}
		}
		for range l.perTick {
			p, err := tracker.Begin(ended, at(next), 100)
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
				held++ // to be tried in the next tick
				break
			}
			next++
			atLastBegin = int64(tracker.Stats().InFlight)
			at := tick + 1 + r.Int64N(int64(l.handling/l.tick))
			due[at] = append(due[at], p)
		}
		moment()
	}
	moment()

	// The process crashes. What it leaves is what the next owner starts with.
	stored := store.position()
	list, err := store.ListCheckpoints(context.Background(), "ns.example", "hub", "group", nil)
	require.NoError(t, err)
	if stored >= 0 {
		require.Equal(t, stored, *list[0].SequenceNumber)
	}
	c.CloseLost(context.Background()) // only so that its goroutine ends
	<-c.Stopped()
	total.mu.Lock()
	defer total.mu.Unlock()
	total.events += uint64(next)
	total.writes += writes
	total.held += held
}

func (l load) run(t *testing.T, look func(crash) error) *outcome {
	t.Helper()
	total := &outcome{}
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var broken []error
		for id := range l.partitions {
			all.Go(func() {
				l.simulate(t, id, total, func(c crash) {
					if err := look(c); err != nil {
						mu.Lock()
						defer mu.Unlock()
						broken = append(broken, err)
					}
				})
			})
		}
		all.Wait()
		require.Empty(t, broken[:min(len(broken), 5)])
	})
	t.Logf("%d events, %d writes, %d events a write, at most %d duplicates, %d times held back",
		total.events, total.writes, total.events/max(total.writes, 1), total.duplicates, total.held)
	return total
}

// usual is 32 partitions with 1,000 events a second each, for a minute.
func usual() load {
	return load{
		partitions: 32, perTick: 10, tick: 10 * time.Millisecond, length: time.Minute,
		handling: 50 * time.Millisecond, latency: 20 * time.Millisecond, window: 4096,
	}
}

// answering checks the bounds that hold while the storage answers: at most Events,
// or what comes within Interval, and what is in flight while an event is handled
// or a write is under way.
func (l load) answering(c crash) error {
	events, interval := l.checkpointer.Events, l.checkpointer.Interval
	if events == 0 {
		events = progress.DefaultEvents
	}
	if interval == 0 {
		interval = progress.DefaultInterval
	}
	within := func(d time.Duration) int64 { return int64(l.perTick) * int64(d/l.tick+1) }
	switch inFlight := within(l.handling) + within(l.latency); {
	case c.duplicates() > int64(events)+inFlight:
		return fmt.Errorf("%d duplicates, more than Events, %d, and what is in flight, %d: %+v", c.duplicates(), events, inFlight, c)
	case c.duplicates() > within(interval)+inFlight:
		return fmt.Errorf("%d duplicates, more than came within Interval, %v: %+v", c.duplicates(), interval, c)
	case c.oldest > interval+l.latency+l.tick:
		return fmt.Errorf("an event is not stored %v after it was done: %+v", c.oldest, c)
	}
	return nil
}

// A write for every event would be 1,920,000 of them.
func TestAHundredTimesFewerWritesThanEvents(t *testing.T) {
	for name, o := range map[string]progress.CheckpointerOptions{
		"defaults":                   {},
		"1000 events":                {Events: 1000},
		"1 second":                   {Interval: time.Second},
		"200 events, the least kept": {Events: 200, MaxUnwritten: 400},
	} {
		t.Run(name, func(t *testing.T) {
			l := usual()
			l.checkpointer = o
			if testing.Short() || raceEnabled {
				l.partitions = 4
				t.Log("4 partitions instead of 32: for all of them run it without -short and -race")
			}
			total := l.run(t, l.answering)
			require.EqualValues(t, l.partitions*60*1000, total.events)
			require.GreaterOrEqual(t, total.events, 100*total.writes)
			require.Positive(t, total.writes)
		})
	}
}

// The storage fails and hangs as it likes. With MaxUnwritten, the next owner never
// handles more again than that and what was in flight.
func TestDuplicatesAreBoundedWhateverTheStorageDoes(t *testing.T) {
	for name, change := range map[string]func(*load){
		"held at each write":     func(l *load) { l.checkpointer.MaxUnwritten = 100 },
		"overlapping the writes": func(l *load) { l.checkpointer.MaxUnwritten = 200 },
		"failing":                func(l *load) { l.checkpointer.MaxUnwritten, l.failing = 200, 0.5 },
		"hanging":                func(l *load) { l.checkpointer.MaxUnwritten, l.slow = 200, 0.5 },
		"both, small window":     func(l *load) { l.checkpointer.MaxUnwritten, l.slow, l.failing, l.window = 200, 0.3, 0.3, 20 },
	} {
		t.Run(name, func(t *testing.T) {
			l := usual()
			l.partitions, l.length = 8, 20*time.Second
			l.checkpointer = progress.CheckpointerOptions{Events: 100, WriteTimeout: time.Second, MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second}
			change(&l)
			total := l.run(t, func(c crash) error {
				if most := int64(l.checkpointer.MaxUnwritten); c.duplicates() > most+c.inFlight || c.inFlight > int64(l.window) {
					return fmt.Errorf("%d duplicates: more than MaxUnwritten and what was in flight: %+v", c.duplicates(), c)
				}
				return nil
			})
			require.Positive(t, total.writes)
			if l.failing+l.slow > 0 {
				require.Greater(t, total.held, 100)
				require.Greater(t, total.duplicates, int64(l.checkpointer.MaxUnwritten)) // the bound is nearly reached
			}
		})
	}
}

// The check of the bounds finds a checkpointer that does not keep them: one that
// was given larger options than the check, or that never writes.
func TestTheSimulationFindsABrokenBound(t *testing.T) {
	stated := usual()
	stated.checkpointer = progress.CheckpointerOptions{Events: 1000, Interval: time.Second}
	for name, o := range map[string]progress.CheckpointerOptions{
		"Events":   {Events: 1100, Interval: time.Hour},
		"Interval": {Interval: 1100 * time.Millisecond},
		"no write": {Events: math.MaxInt32, Interval: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			l := stated
			l.partitions, l.length, l.checkpointer = 1, 5*time.Second, o
			broken := 0
			l.run(t, func(c crash) error {
				if stated.answering(c) != nil {
					broken++
				}
				return nil
			})
			require.Positive(t, broken)
		})
	}
}
