package processor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// batch is a batch that the handler of a batched test got.
type batch struct {
	first, last int64
	attempt     int
	at          time.Duration // since the test began
}

// batched is a partition whose handler notes its batches.
type batched struct {
	*processortest.Partition
	handle func(ctx context.Context, b *processor.Batch) error // may be nil

	mu      sync.Mutex
	begun   time.Time
	batches []batch
	done    map[int64]int // how often each event was done or put aside
}

// inBatches runs a test on a partition, in fake time.
func inBatches(t *testing.T, options *processor.BatchOptions, handle func(ctx context.Context, b *processor.Batch) error, test func(t *testing.T, p *batched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &batched{handle: handle, done: make(map[int64]int)}
		p.Partition = processortest.Start(t, processor.Batches(p.serve, options), &processor.Options{UpdateInterval: time.Second})
		p.AwaitReading()
		p.begun = time.Now()
		test(t, p)
	})
}

func (p *batched) serve(ctx context.Context, b *processor.Batch) error {
	p.mu.Lock()
	last := len(b.Events) - 1
	p.batches = append(p.batches, batch{b.Events[0].SequenceNumber, b.Events[last].SequenceNumber, b.Attempt, time.Since(p.begun)})
	p.mu.Unlock()
	if p.handle != nil {
		return p.handle(ctx, b)
	}
	return nil
}

// got are the batches so far.
func (p *batched) got() []batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.batches)
}

// ranges are the first and last events of the batches so far.
func (p *batched) ranges() [][2]int64 {
	list := [][2]int64{}
	for _, b := range p.got() {
		list = append(list, [2]int64{b.first, b.last})
	}
	return list
}

func (p *batched) sendMany(n int) { p.Send(slices.Repeat([]string{"event"}, n)...) }

var errHandling = errors.New("cannot be handled")

// atSequence fails batches that have an event.
func atSequence(n int64, err error) func(ctx context.Context, b *processor.Batch) error {
	return func(_ context.Context, b *processor.Batch) error {
		if b.Events[0].SequenceNumber <= n && n <= b.Events[len(b.Events)-1].SequenceNumber {
			return err
		}
		return nil
	}
}

func TestBatchIsHandedOverWhenItHasMaxEvents(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		p.sendMany(250)
		pass(100 * time.Millisecond)
		require.Equal(t, [][2]int64{{0, 99}, {100, 199}}, p.ranges())
		pass(time.Second)
		require.Equal(t, [][2]int64{{0, 99}, {100, 199}, {200, 249}}, p.ranges())
	})
}

func TestBatchIsHandedOverWhenItHasMaxBytes(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxBytes: 10}, nil, func(t *testing.T, p *batched) {
		p.Send("four", "four", "four", strings.Repeat("x", 100), "1", "four", "fiveE")
		pass(100 * time.Millisecond)
		all := [][2]int64{{0, 1}, {2, 2}, {3, 3}, {4, 6}}
		require.Equal(t, all, p.ranges(), "the last one has 10 bytes; the event that is too large is alone")
		p.Send("1")
		pass(100 * time.Millisecond)
		require.Equal(t, all, p.ranges(), "what was handed over does not count for the next one")
	})
}

func TestBatchIsHandedOverMaxWaitAfterItsFirstEvent(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxWait: 3 * time.Second}, nil, func(t *testing.T, p *batched) {
		p.Send("one")
		pass(2 * time.Second)
		p.Send("two")
		pass(time.Second - time.Millisecond)
		require.Empty(t, p.got())
		pass(time.Millisecond)
		require.Equal(t, []batch{{0, 1, 1, 3 * time.Second}}, p.got())
	})
}

func TestBatchWithoutWaitIsWhatIsThere(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxWait: -1}, nil, func(t *testing.T, p *batched) {
		p.Send("one")
		synctest.Wait()
		require.Equal(t, []batch{{0, 0, 1, 0}}, p.got())
	})
}

func TestBatchGrowsWhileTheHandlerIsBusy(t *testing.T) {
	slow := func(context.Context, *processor.Batch) error { time.Sleep(time.Minute); return nil }
	inBatches(t, nil, slow, func(t *testing.T, p *batched) {
		p.Send("one")
		pass(2 * time.Second)
		for range 50 {
			p.Send("more")
			pass(time.Second)
		}
		pass(time.Minute)
		require.Equal(t, [][2]int64{{0, 0}, {1, 50}}, p.ranges())
	})
}

func TestBatchesComeOneAfterTheOtherInOrder(t *testing.T) {
	var running, most int
	handle := func(context.Context, *processor.Batch) error {
		running++
		most = max(most, running)
		time.Sleep(100 * time.Millisecond)
		running--
		return nil
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, handle, func(t *testing.T, p *batched) {
		p.sendMany(1000)
		pass(time.Minute)
		require.Equal(t, 1, most)
		next := int64(0)
		for _, b := range p.got() {
			require.Equal(t, next, b.first)
			next = b.last + 1
		}
		require.EqualValues(t, 1000, next)
		require.EqualValues(t, 999, p.Checkpoint())
	})
}

func TestEventsOfAKeyKeepTheirOrderInConcurrentBatches(t *testing.T) {
	var mu sync.Mutex
	var running, most int
	byKey := make(map[string][]int64)
	handle := func(_ context.Context, b *processor.Batch) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(time.Duration(b.Events[0].SequenceNumber%7) * 100 * time.Millisecond)
		if b.Attempt == 1 && b.Events[0].SequenceNumber%3 == 0 {
			mu.Lock()
			running--
			mu.Unlock()
			return errHandling
		}
		mu.Lock()
		defer mu.Unlock()
		running--
		for _, e := range b.Events {
			if e.PartitionKey != nil {
				byKey[*e.PartitionKey] = append(byKey[*e.PartitionKey], e.SequenceNumber)
			}
		}
		return nil
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 5, Concurrency: 4}, handle, func(t *testing.T, p *batched) {
		keys := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
		for range 40 {
			for _, key := range keys {
				p.Hub.SendKeyed("0", key, "event")
			}
			p.Send("without a key")
		}
		// How long that takes depends on how many keys share a lane: up to minutes.
		p.await(t, func() bool { return p.Checkpoint() == 40*11-1 })
		require.Greater(t, most, 1)
		require.LessOrEqual(t, most, 4)
		require.Len(t, byKey, len(keys))
		for key, numbers := range byKey {
			require.Len(t, numbers, 40, key)
			require.IsIncreasing(t, numbers, key)
		}
	})
}

func TestEventsWithoutAKeySpreadOverConcurrentBatches(t *testing.T) {
	var running, most int
	var mu sync.Mutex
	handle := func(context.Context, *processor.Batch) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10, Concurrency: 4}, handle, func(t *testing.T, p *batched) {
		p.sendMany(80)
		pass(2*time.Second + 100*time.Millisecond)
		require.Len(t, p.got(), 8, "two for each, all full: %v", p.ranges())
		require.Equal(t, 4, most)
	})
}

func TestEventsDoNotQueueBehindABusyHandlerWhileOthersAreIdle(t *testing.T) {
	slow := func(context.Context, *processor.Batch) error { time.Sleep(10 * time.Second); return nil }
	inBatches(t, &processor.BatchOptions{Concurrency: 4}, slow, func(t *testing.T, p *batched) {
		for range 4 {
			p.Send("without a key")
			pass(2 * time.Second)
		}
		require.Len(t, p.got(), 4)
		for i, b := range p.got() {
			require.Equal(t, time.Duration(2*i+1)*time.Second, b.at)
		}
	})
}

func TestCheckpointIsStoredEveryIntervalAndNotForEveryEvent(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		for range 590 { // most of a minute at 1,000 events a second
			p.sendMany(100)
			pass(100 * time.Millisecond)
		}
		require.Len(t, p.Checkpoints(), 3)
		require.IsIncreasing(t, p.Checkpoints())
	})
}

func TestCheckpointIsStoredAfterThatManyEvents(t *testing.T) {
	options := &processor.BatchOptions{}
	options.Checkpoints.Events = 500
	slow := func(context.Context, *processor.Batch) error { time.Sleep(time.Millisecond); return nil }
	inBatches(t, options, slow, func(t *testing.T, p *batched) {
		p.sendMany(2000)
		pass(time.Second)
		require.Equal(t, []int64{499, 999, 1499, 1999}, p.Checkpoints())
	})
}

func TestFailedBatchIsTriedAgainWithBackoffBeforeLaterEvents(t *testing.T) {
	options := &processor.BatchOptions{MaxEvents: 10, MinBackoff: time.Second, MaxBackoff: 4 * time.Second, MaxAttempts: -1}
	failures := 5
	fail := func(_ context.Context, b *processor.Batch) error {
		if b.Events[0].SequenceNumber == 10 && failures > 0 {
			failures--
			return errHandling
		}
		return nil
	}
	inBatches(t, options, fail, func(t *testing.T, p *batched) {
		p.sendMany(30)
		pass(30 * time.Second)
		got := p.got()
		require.Len(t, got, 8)
		for i, b := range got[1:7] {
			require.EqualValues(t, 10, b.first)
			require.Equal(t, i+1, b.attempt)
			if i > 0 {
				delay, longest := b.at-got[i].at, min(time.Second<<(i-1), 4*time.Second)
				require.LessOrEqual(t, delay, longest)
				require.GreaterOrEqual(t, delay, longest/2)
			}
		}
		require.EqualValues(t, 20, got[7].first)
		require.EqualValues(t, 29, p.Checkpoint())
	})
}

func TestPartialResultDoesTheFirstEvents(t *testing.T) {
	poison := true
	partial := func(_ context.Context, b *processor.Batch) error {
		for i, e := range b.Events {
			if e.SequenceNumber == 4 && poison {
				return &processor.PartialError{Done: i, Err: errHandling}
			}
		}
		return nil
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, partial, func(t *testing.T, p *batched) {
		p.sendMany(10)
		pass(100 * time.Millisecond)
		require.Equal(t, [][2]int64{{0, 9}}, p.ranges())
		pass(time.Second)
		require.Equal(t, [][2]int64{{0, 9}, {4, 9}}, p.ranges())
		require.Equal(t, 2, p.got()[1].attempt, "of the event that failed")
		require.NoError(t, p.Stop())
		require.EqualValues(t, 3, p.Checkpoint())
	})
}

func TestAttemptsCountForTheEventThatFails(t *testing.T) {
	one := func(_ context.Context, b *processor.Batch) error {
		if len(b.Events) == 1 || b.Attempt > 2 {
			return nil
		}
		return &processor.PartialError{Done: b.Attempt - 1, Err: errHandling} // each event fails once
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10, MaxAttempts: 3, OnExhausted: func(context.Context, *processor.Batch, error) error {
		return processor.Fatal(errHandling)
	}}, one, func(t *testing.T, p *batched) {
		p.sendMany(10)
		p.AwaitCheckpoint(9)
		for i, b := range p.got() {
			require.LessOrEqual(t, b.attempt, 2, "of batch %d", i)
		}
	})
}

func TestPartialResultWithoutAnErrorIsNoFailure(t *testing.T) {
	three := func(_ context.Context, b *processor.Batch) error {
		return &processor.PartialError{Done: min(3, len(b.Events))}
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10, MaxAttempts: 1}, three, func(t *testing.T, p *batched) {
		p.sendMany(10)
		synctest.Wait()
		require.Equal(t, []batch{{0, 9, 1, 0}, {3, 9, 1, 0}, {6, 9, 1, 0}, {9, 9, 1, 0}}, p.got(), "at once")
		p.AwaitCheckpoint(9)
	})
}

// A result that does nothing, or more than there is, is a failure of the whole batch.
func TestPartialResultWithoutProgressIsAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		result processor.PartialError
		reason string
	}{
		"none":                {processor.PartialError{}, "0 events"},
		"negative":            {processor.PartialError{Done: -1}, "of 10 events"},
		"more than there are": {processor.PartialError{Done: 11}, "of 10 events"},
	} {
		t.Run(name, func(t *testing.T) {
			options := &processor.BatchOptions{MaxEvents: 10, MaxAttempts: 3, OnExhausted: func(_ context.Context, _ *processor.Batch, err error) error {
				return processor.Fatal(err)
			}}
			inBatches(t, options, func(context.Context, *processor.Batch) error { return &c.result }, func(t *testing.T, p *batched) {
				p.sendMany(10)
				require.ErrorContains(t, p.Await(), c.reason)
				require.Len(t, p.got(), 3)
				require.EqualValues(t, -1, p.Checkpoint())
			})
		})
	}
}

func TestEventsAreDeadLetteredWhenTheirAttemptsAreUsedUp(t *testing.T) {
	var letters []int64
	attempts := 0
	options := &processor.BatchOptions{MaxEvents: 10, MaxAttempts: 3, OnExhausted: func(_ context.Context, failed *processor.Batch, err error) error {
		if attempts++; attempts < 4 {
			return errors.New("the queue is full")
		}
		require.Equal(t, 3, failed.Attempt)
		require.ErrorIs(t, err, errHandling)
		for _, e := range failed.Events {
			letters = append(letters, e.SequenceNumber)
		}
		return nil
	}}
	inBatches(t, options, atSequence(15, errHandling), func(t *testing.T, p *batched) {
		p.sendMany(30)
		pass(3 * time.Second)
		require.Zero(t, len(letters))
		require.Equal(t, [][2]int64{{0, 9}, {10, 19}, {10, 19}, {10, 19}}, p.ranges(), "nothing passes events that are not done")
		pass(30 * time.Second)
		require.Equal(t, 4, attempts, "it is asked until it succeeds")
		require.Equal(t, []int64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, letters)
		require.EqualValues(t, 29, p.Checkpoint())
	})
}

func TestPartialResultPutsOneEventAside(t *testing.T) {
	var letters []int64
	options := &processor.BatchOptions{MaxEvents: 10, MaxAttempts: 2, OnExhausted: func(_ context.Context, failed *processor.Batch, _ error) error {
		for _, e := range failed.Events {
			letters = append(letters, e.SequenceNumber)
		}
		return nil
	}}
	oddFail := func(_ context.Context, b *processor.Batch) error {
		for i, e := range b.Events {
			if e.SequenceNumber%4 == 3 {
				return &processor.PartialError{Done: i, Err: errHandling}
			}
		}
		return nil
	}
	inBatches(t, options, oddFail, func(t *testing.T, p *batched) {
		p.sendMany(10)
		p.AwaitCheckpoint(9)
		require.Equal(t, []int64{3, 7}, letters)
		require.Equal(t, [][2]int64{{0, 9}, {3, 9}, {4, 9}, {7, 9}, {8, 9}}, p.ranges())
	})
}

func TestPartitionIsRelinquishedWhenAttemptsAreUsedUp(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, atSequence(15, errHandling), func(t *testing.T, p *batched) {
		p.sendMany(30)
		pass(30 * time.Second)
		require.Len(t, p.got(), 1+processor.DefaultMaxAttempts)
		require.Empty(t, p.Processor.Status().Partitions, "given up")
		require.Empty(t, p.Hub.Readers())
		require.EqualValues(t, 9, p.Checkpoint(), "what was done is stored first")
		pass(2 * time.Minute)
		require.Greater(t, len(p.got()), 1+processor.DefaultMaxAttempts, "nobody else took it: it is tried again")
		require.Equal(t, batch{10, 19, 1, p.got()[6].at}, p.got()[6])
		require.EqualValues(t, 9, p.Checkpoint())
	})
}

func TestFatalEndsRunBehindWhatIsDone(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, atSequence(15, processor.Fatal(errHandling)), func(t *testing.T, p *batched) {
		p.sendMany(30)
		require.ErrorIs(t, p.Await(), errHandling)
		require.Equal(t, [][2]int64{{0, 9}, {10, 19}}, p.ranges(), "it is not tried again")
		require.EqualValues(t, 9, p.Checkpoint())
	})
}

func TestPanicOfABatchIsAFailure(t *testing.T) {
	panics := func(_ context.Context, b *processor.Batch) error {
		if b.Attempt < 3 {
			panic("of the handler")
		}
		return nil
	}
	inBatches(t, nil, panics, func(t *testing.T, p *batched) {
		p.Send("one")
		p.AwaitCheckpoint(0)
		require.Len(t, p.got(), 3)
	})
}

func TestReceivingStopsWhenTooMuchIsInFlight(t *testing.T) {
	for name, options := range map[string]*processor.BatchOptions{
		"events": {MaxEvents: 10, MaxInFlight: 40},
		"bytes":  {MaxEvents: 10, MaxBytes: 50, MaxInFlightBytes: 200},
	} {
		t.Run(name, func(t *testing.T) {
			var release chan struct{}
			stalled := func(context.Context, *processor.Batch) error { <-release; return nil }
			inBatches(t, options, stalled, func(t *testing.T, p *batched) {
				release = make(chan struct{})
				p.sendMany(1000) // of 5 bytes
				pass(time.Hour)
				require.Equal(t, 40, p.Processor.Status().Partitions[0].Pending)
				close(release)
				p.AwaitCheckpoint(999)
			})
		})
	}
}

func TestEndOfAHandlerStoresWhatIsDoneAndTheNextOneGoesOnAfterIt(t *testing.T) {
	for name, end := range map[string]struct{ begin, over func(p *batched) }{
		"failed link": {
			func(p *batched) { p.Hub.Deny("0", errors.New("detached")); synctest.Wait() },
			func(p *batched) { p.Hub.Deny("0", nil) },
		},
		"lost partition": {(*batched).Lose, (*batched).GiveBack},
	} {
		t.Run(name, func(t *testing.T) {
			inBatches(t, nil, nil, func(t *testing.T, p *batched) {
				p.sendMany(100)
				pass(time.Second)
				end.begin(p)
				require.EqualValues(t, 99, p.Checkpoint())
				end.over(p)
				p.sendMany(100)
				p.AwaitCheckpoint(199)
				require.Equal(t, [][2]int64{{0, 99}, {100, 199}}, p.ranges())
			})
		})
	}
}

func TestLostPartitionIsNotHeldUpByItsLastCheckpoint(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		p.sendMany(100)
		pass(time.Second)
		p.FailCheckpoints(errors.New("throttled"))
		lost := time.Now()
		p.Lose()
		require.Less(t, time.Since(lost), 2*time.Second, "one attempt")
		require.EqualValues(t, -1, p.Checkpoint())
	})
}

func TestStopDoesNotStartWhatIsQueued(t *testing.T) {
	slow := func(ctx context.Context, _ *processor.Batch) error {
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), processor.ErrStopping)
		return ctx.Err()
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, slow, func(t *testing.T, p *batched) {
		p.sendMany(100)
		pass(time.Second)
		require.NoError(t, p.Stop())
		require.Equal(t, [][2]int64{{0, 9}}, p.ranges(), "neither tried again nor the next one")
		require.EqualValues(t, -1, p.Checkpoint())
		require.Empty(t, p.Processor.Status().Partitions)
	})
}

func TestNothingIsPutAsideAfterAStop(t *testing.T) {
	slow := func(ctx context.Context, _ *processor.Batch) error {
		<-ctx.Done()
		return ctx.Err()
	}
	asked := 0
	inBatches(t, &processor.BatchOptions{MaxAttempts: 1, OnExhausted: func(context.Context, *processor.Batch, error) error { asked++; return nil }}, slow, func(t *testing.T, p *batched) {
		p.sendMany(3)
		pass(2 * time.Second)
		require.NoError(t, p.Stop())
		require.Zero(t, asked)
		require.EqualValues(t, -1, p.Checkpoint())
	})
}

func TestWhatWasPutAsideDuringAStopCounts(t *testing.T) {
	fail := func(context.Context, *processor.Batch) error { return &processor.PartialError{Err: errHandling} }
	inBatches(t, &processor.BatchOptions{MaxAttempts: 1, OnExhausted: func(ctx context.Context, _ *processor.Batch, _ error) error {
		<-ctx.Done()
		return nil
	}}, fail, func(t *testing.T, p *batched) {
		p.sendMany(3)
		pass(2 * time.Second)
		require.NoError(t, p.Stop())
		require.EqualValues(t, 0, p.Checkpoint())
		require.Equal(t, [][2]int64{{0, 2}}, p.ranges(), "the others are not handed over any more")
	})
}

func TestLastCheckpointIsTriedAgainIfItFailsAtAStop(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		p.sendMany(100)
		pass(time.Second)
		p.FailCheckpoints(errors.New("throttled"))
		time.AfterFunc(200*time.Millisecond, func() { p.FailCheckpoints(nil) })
		require.NoError(t, p.Stop())
		require.EqualValues(t, 99, p.Checkpoint())
	})
}

func TestStopDoesNotWaitLongForAStoreThatFails(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		p.sendMany(100)
		pass(time.Second)
		p.FailCheckpoints(errors.New("down"))
		stopped := time.Now()
		require.NoError(t, p.Stop())
		require.LessOrEqual(t, time.Since(stopped), 6*time.Second, "a quarter of ShutdownTimeout, and the release")
	})
}

func TestHandlerOfBatchesIsRequired(t *testing.T) {
	require.Nil(t, processor.Batches(nil, nil))
}

func TestBatchesOfOneHandlerServeManyPartitions(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		f.send(300, ids(8)...)
		f.start("a", func(s *settings) {
			s.handler = processor.Batches(func(_ context.Context, b *processor.Batch) error {
				f.note("a", b.PartitionID, b.Events...)
				return nil
			}, nil)
		})
		pass(time.Minute)
		for _, id := range ids(8) {
			require.Len(t, f.seen("a", id), 300)
			require.EqualValues(t, 299, f.checkpoints()[id])
		}
	})
}
