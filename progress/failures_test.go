package progress_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/progress"
)

// The tests of this file have the names of failures that other projects had.

// Orleans (dotnet/orleans#4884) and Dapr: what was handled since the last write
// was handled again after an orderly stop.
func TestNoFlushAtShutdown(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		begin(t, tracker, 1).Done()
		begin(t, tracker, 2).Done()
		begin(t, tracker, 3)
		require.Empty(t, s.log())
		tracker.Close()
		require.NoError(t, c.Close(ended())) // the consumer was told to stop by this context
		require.Equal(t, []entry{{0, 2}}, s.log())
	})
}

// Orleans (dotnet/orleans#6581): with a few events now and then, the count that
// causes a write was never reached, and Dapr wrote at multiples of its count only.
func TestNothingWrittenAtLowTraffic(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		for minute := range int64(10) {
			time.Sleep(time.Minute - 5*time.Second)
			begin(t, tracker, minute).Done()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			require.Equal(t, minute, s.last())
			require.Zero(t, c.Stats().Unwritten)
		}
		require.Len(t, s.log(), 10)
	})
}

// Orleans (dotnet/orleans#10096): an update that came too soon, or that the
// storage throttled, was dropped, and nothing brought it back.
func TestAThrottledUpdateDiscarded(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		c.Update(at(1), 100)
		synctest.Wait()
		c.Update(at(2), 1) // at once after a write: too soon, and the last of the stream
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 2, s.last())

		s.replies(errThrottled, errThrottled, errThrottled)
		c.Update(at(3), 100)
		time.Sleep(time.Minute)
		require.EqualValues(t, 3, s.last())
		require.Zero(t, c.Stats().Unwritten)
		require.EqualValues(t, 3, c.Stats().Failed)
	})
}

// Dapr (dapr/components-contrib#4561) and reactor-kafka#304: one event that is
// never done stops the partition, nobody sees why, and nothing but a restart
// helps.
func TestAPoisonEventThatStallsForEver(t *testing.T) {
	const window = 50
	// stalled is a partition whose event 10 is never done.
	stalled := func(t *testing.T, c *progress.Checkpointer) *progress.Tracker {
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c, MaxEvents: window})
		for i := range int64(10 + window) {
			p := begin(t, tracker, i)
			if i != 10 {
				p.Done()
			}
		}
		return tracker
	}

	t.Run("it is visible", func(t *testing.T) {
		checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
			tracker := stalled(t, c)
			waits(t, tracker, context.Background(), 100, 0, func() {
				time.Sleep(time.Hour)
				stats := tracker.Stats()
				require.Equal(t, progress.TrackerStats{
					Begun: 10 + window, Prefix: 10, InFlight: window, Undone: 1,
					Oldest: at(10), OldestAge: time.Hour, Waiting: 1,
				}, stats)
				require.Equal(t, []entry{{5 * time.Second, 9}}, s.log()) // nothing past it
				tracker.Close()
			})
		})
	})
	t.Run("a supervisor abandons it", func(t *testing.T) {
		checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
			tracker := stalled(t, c)
			_, err := waits(t, tracker, context.Background(), 100, 0, func() {
				time.Sleep(time.Hour)
				event, position, age, ok := tracker.Oldest()
				require.True(t, ok)
				require.Equal(t, at(10), position)
				require.Equal(t, time.Hour, age)
				event.Skip()
			})
			require.NoError(t, err)
			require.EqualValues(t, 1, tracker.Stats().Skipped)
			require.NoError(t, c.Flush(ended()))
			require.EqualValues(t, 10+window-1, s.last())
		})
	})
	t.Run("the partition is given up before it", func(t *testing.T) {
		checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
			tracker := stalled(t, c)
			_, err := waits(t, tracker, context.Background(), 100, 0, tracker.Close)
			require.ErrorIs(t, err, progress.ErrClosed)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			require.ErrorIs(t, tracker.Drain(ctx), context.DeadlineExceeded)
			require.NoError(t, c.Close(ended()))
			require.EqualValues(t, 9, s.last())
		})
	})
}

// Dapr (dapr/components-contrib#4562): what a handler completed after the
// consumer's context had ended did not count.
func TestACompletionAfterCancelThatIsLost(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		ctx, cancel := context.WithCancel(context.Background())
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		p, err := tracker.Begin(ctx, at(1), 0)
		require.NoError(t, err)
		cancel()
		tracker.Close()
		time.AfterFunc(3*time.Second, p.Done)
		wait, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		require.NoError(t, tracker.Drain(wait))
		require.NoError(t, c.Close(ctx))
		require.Equal(t, []entry{{3 * time.Second, 1}}, s.log())
	})
}
