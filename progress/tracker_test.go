package progress_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/progress"
)

func at(sequenceNumber int64) progress.Position {
	return progress.Position{SequenceNumber: sequenceNumber}
}

func begin(t testing.TB, tracker *progress.Tracker, sequenceNumber int64) progress.Pending {
	t.Helper()
	p, err := tracker.Begin(context.Background(), at(sequenceNumber), 0)
	require.NoError(t, err)
	return p
}

func TestThePositionHasAllItsParts(t *testing.T) {
	tracker := progress.NewTracker(nil)
	position := progress.Position{SequenceNumber: 7, Offset: "700", EnqueuedTime: time.Unix(1, 0)}
	p, err := tracker.Begin(context.Background(), position, 0)
	require.NoError(t, err)
	p.Done()
	got, ok := tracker.Position()
	require.True(t, ok)
	require.Equal(t, position, got)
}

func TestAPositionThatWasNotDeliveredInOrderNamesTheLastOne(t *testing.T) {
	tracker := progress.NewTracker(nil)
	begin(t, tracker, 10)
	_, err := tracker.Begin(context.Background(), at(9), 0)
	require.ErrorIs(t, err, progress.ErrOutOfOrder)
	require.ErrorContains(t, err, "10 was begun before")
}

func TestTheZeroPendingIsNoEvent(t *testing.T) {
	var p progress.Pending
	p.Done()
	p.Skip()
}

// waits checks that Begin waits until let is called, and returns its result.
func waits(t *testing.T, tracker *progress.Tracker, ctx context.Context, sequenceNumber int64, size int, let func()) (progress.Pending, error) {
	t.Helper()
	type result struct {
		p   progress.Pending
		err error
	}
	results := make(chan result, 1)
	go func() {
		p, err := tracker.Begin(ctx, at(sequenceNumber), size)
		results <- result{p, err}
	}()
	synctest.Wait()
	require.Empty(t, results)
	require.Equal(t, 1, tracker.Stats().Waiting)
	let()
	synctest.Wait()
	require.Len(t, results, 1)
	require.Zero(t, tracker.Stats().Waiting)
	r := <-results
	return r.p, r.err
}

func TestBeginWaitsWhileTheWindowIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: 3})
		a, b, c := begin(t, tracker, 1), begin(t, tracker, 2), begin(t, tracker, 3)
		b.Done() // not the head: the window stays full
		c.Done()
		d, err := waits(t, tracker, context.Background(), 4, 0, a.Done)
		require.NoError(t, err)
		begin(t, tracker, 5)
		begin(t, tracker, 6)

		ctx, cancel := context.WithCancel(context.Background())
		_, err = waits(t, tracker, ctx, 7, 0, cancel)
		require.ErrorIs(t, err, context.Canceled)
		_, err = waits(t, tracker, context.Background(), 7, 0, d.Skip)
		require.NoError(t, err) // the position that was not begun can be begun later
		_, err = waits(t, tracker, context.Background(), 8, 0, tracker.Close)
		require.ErrorIs(t, err, progress.ErrClosed)
	})
}

func TestBeginWaitsWhileTooManyBytesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.NewTracker(&progress.TrackerOptions{MaxBytes: 100})
		sized := func(n int64, size int) progress.Pending {
			p, err := tracker.Begin(context.Background(), at(n), size)
			require.NoError(t, err)
			return p
		}
		sized(1, 60)
		b := sized(2, 40)
		require.EqualValues(t, 100, tracker.Stats().Bytes)
		begin(t, tracker, 3)                                             // has none
		sized(4, -1)                                                     // counts as none
		_, err := waits(t, tracker, context.Background(), 5, 40, b.Done) // the bytes of b, though it is not the head
		require.NoError(t, err)
		require.EqualValues(t, 100, tracker.Stats().Bytes)
	})
}

func TestAnEventLargerThanTheBoundIsBegunAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.NewTracker(&progress.TrackerOptions{MaxBytes: 100})
		a := begin(t, tracker, 1)
		b, err := waits(t, tracker, context.Background(), 2, 500, a.Done)
		require.NoError(t, err)
		_, err = waits(t, tracker, context.Background(), 3, 1, b.Done)
		require.NoError(t, err)
	})
}

func TestNegativeBoundsAreNone(t *testing.T) {
	tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: -1, MaxBytes: -1})
	for i := range int64(2 * progress.DefaultMaxEvents) {
		_, err := tracker.Begin(context.Background(), at(i), progress.DefaultMaxBytes)
		require.NoError(t, err)
	}
}

func TestDefaultBounds(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	tracker := progress.NewTracker(nil)
	for i := range int64(progress.DefaultMaxEvents) {
		begin(t, tracker, i)
	}
	_, err := tracker.Begin(ended, at(progress.DefaultMaxEvents), 0)
	require.ErrorIs(t, err, context.Canceled)

	tracker = progress.NewTracker(nil)
	_, err = tracker.Begin(ended, at(1), progress.DefaultMaxBytes)
	require.NoError(t, err)
	_, err = tracker.Begin(ended, at(2), 1)
	require.ErrorIs(t, err, context.Canceled)
}

// Every call that waits comes back: it begins its event, or is told that a later
// position went first.
func TestNoWakeUpIsLostBetweenSeveralWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 20
		tracker := progress.NewTracker(&progress.TrackerOptions{MaxEvents: 1})
		p := begin(t, tracker, 0)
		var all sync.WaitGroup
		for i := range int64(waiters) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%4)*time.Second+time.Second)
			all.Go(func() {
				defer cancel()
				p, err := tracker.Begin(ctx, at(i+1), 0)
				if err == nil {
					p.Done()
				}
			})
		}
		synctest.Wait()
		require.Equal(t, waiters, tracker.Stats().Waiting)
		time.Sleep(1500 * time.Millisecond) // some gave up
		p.Done()
		start := time.Now()
		all.Wait()
		require.Zero(t, time.Since(start)) // in the bubble's time: none waited for its deadline
		require.Zero(t, tracker.Stats().InFlight)
	})
}

func TestTheAgeOfTheOldestEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.NewTracker(nil)
		_, _, _, ok := tracker.Oldest()
		require.False(t, ok)
		a := begin(t, tracker, 1)
		time.Sleep(time.Second)
		b := begin(t, tracker, 2)
		time.Sleep(time.Second)
		b.Done()

		_, position, age, ok := tracker.Oldest()
		require.True(t, ok)
		require.EqualValues(t, 1, position.SequenceNumber)
		require.Equal(t, 2*time.Second, age)
		s := tracker.Stats()
		require.Equal(t, progress.TrackerStats{Begun: 2, InFlight: 2, Undone: 1, Oldest: at(1), OldestAge: 2 * time.Second}, s)

		c := begin(t, tracker, 3)
		a.Done()
		require.Zero(t, tracker.Stats().OldestAge)
		require.EqualValues(t, 3, tracker.Stats().Oldest.SequenceNumber)
		c.Done()
		require.Equal(t, progress.TrackerStats{Begun: 3, Prefix: 3}, tracker.Stats())
	})
}

func TestDrainWaitsForEventsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.NewTracker(nil)
		require.NoError(t, tracker.Drain(context.Background()))
		a, b := begin(t, tracker, 1), begin(t, tracker, 2)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, tracker.Drain(ctx), context.DeadlineExceeded)
		time.AfterFunc(time.Second, b.Done)
		time.AfterFunc(2*time.Second, a.Done)
		tracker.Close()
		start := time.Now()
		var two sync.WaitGroup
		two.Go(func() { require.NoError(t, tracker.Drain(context.Background())) })
		require.NoError(t, tracker.Drain(context.Background()))
		two.Wait()
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// recorder is told positions, and checks their order.
type recorder struct {
	t      testing.TB
	last   int64
	events int
	wait   chan struct{}
	err    error
}

func (r *recorder) Update(p progress.Position, events int) {
	require.Greater(r.t, p.SequenceNumber, r.last)
	r.last = p.SequenceNumber
	r.events += events
}

func (r *recorder) Admit() (<-chan struct{}, error) { return r.wait, r.err }

func TestTheRecorderIsToldEachAdvanceInOrder(t *testing.T) {
	r := &recorder{t: t, last: -1}
	tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: r, MaxEvents: 64})
	const events, workers = 20_000, 8
	work := make(chan progress.Pending, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for p := range work {
				if rand.N(4) == 0 {
					runtime.Gosched()
				}
				p.Done()
				p.Done()
			}
		})
	}
	for i := range int64(events) {
		work <- begin(t, tracker, 2*i)
	}
	require.Zero(t, goroutines()) // none for an event
	close(work)
	all.Wait()
	require.NoError(t, tracker.Drain(context.Background()))
	require.EqualValues(t, 2*(events-1), r.last)
	require.Equal(t, events, r.events)
}

func TestTheRecorderHoldsEventsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{t: t, wait: make(chan struct{})}
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: r})
		ctx, cancel := context.WithCancel(context.Background())
		_, err := waits(t, tracker, ctx, 1, 0, cancel)
		require.ErrorIs(t, err, context.Canceled)
		_, err = waits(t, tracker, context.Background(), 1, 0, func() {
			wait := r.wait
			r.wait = nil
			close(wait)
		})
		require.NoError(t, err)

		r.wait = make(chan struct{})
		_, err = waits(t, tracker, context.Background(), 2, 0, tracker.Close)
		require.ErrorIs(t, err, progress.ErrClosed)

		r.err = context.DeadlineExceeded
		_, err = tracker.Begin(context.Background(), at(2), 0)
		require.ErrorIs(t, err, r.err)
	})
}

func TestBeginAndDoneAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself: the run without it checks this")
	}
	tracker := progress.NewTracker(nil)
	window := make([]progress.Pending, 100)
	next := int64(0)
	round := func() {
		for i := range window {
			window[i], _ = tracker.Begin(context.Background(), progress.Position{SequenceNumber: next, Offset: "4711"}, 100)
			next++
		}
		for i := range window {
			window[(i*37)%len(window)].Done() // out of order
		}
	}
	round()
	require.Zero(t, testing.AllocsPerRun(100, round))
	require.EqualValues(t, next, tracker.Stats().Prefix)
}
