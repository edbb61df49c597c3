package processor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

func TestReadyWhenEveryOwnedPartitionIsRead(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.hub.Hang(true)
		a := f.start("a", func(s *settings) { // whose first claim is of one partition, and its second one of the other
			s.owner.store.claim = func(context.Context) error { time.Sleep(time.Second); return nil }
		})
		require.NoError(t, a.Healthy().Live)
		require.ErrorContains(t, a.Healthy().Ready, "the first round is not over")
		f.hub.Hang(false)
		for a.Healthy().Ready != nil {
			require.NoError(t, a.Healthy().Live)
			pass(10 * time.Millisecond)
		}
		require.Len(t, f.hub.Readers(), 2, "not as long as only the first partition is read")

		denied := errors.New("denied")
		f.hub.Deny("1", denied)
		pass(time.Second / 4)
		require.ErrorIs(t, a.Healthy().Ready, denied)
		require.NoError(t, a.Healthy().Live, "a restart does not help")
		f.hub.Deny("1", nil)
		pass(2 * roundTime)
		require.NoError(t, a.Healthy().Ready)
	})
}

func TestOwnerWithoutPartitionsIsReady(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		b := f.start("b")
		pass(2 * roundTime)
		f.requireBalanced(1, "a", "b")
		require.NoError(t, a.Healthy().Ready)
		require.NoError(t, b.Healthy().Ready)
	})
}

func TestOutageIsNotReadyAndStaysLive(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		down := errors.New("down")
		began := time.Now()
		a.store.set(func(s *faultyStore) { s.list = failing(down) })
		pass(time.Hour)
		require.ErrorIs(t, a.Healthy().Ready, down)
		require.NoError(t, a.Healthy().Live)
		require.ErrorIs(t, a.Status().StoreError, down)
		require.Less(t, a.Status().StoreErrorSince.Sub(began), 2*roundTime)
		a.store.set(func(s *faultyStore) { s.list = nil })
		pass(2 * roundTime)
		require.NoError(t, a.Healthy().Ready)
		require.Zero(t, a.Status().StoreErrorSince)
	})
}

func TestStopIsNotReadyAndAfterRunNotLive(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, _ *processor.Partition) error {
				<-ctx.Done()
				time.Sleep(10 * time.Second)
				return nil
			}
		})
		pass(opening)
		a.stop()
		pass(time.Second)
		require.NoError(t, a.Healthy().Live)
		require.ErrorContains(t, a.Healthy().Ready, "stopping")
		require.NoError(t, a.finish())
		require.ErrorContains(t, a.Healthy().Live, "has returned")
		require.ErrorContains(t, a.Healthy().Ready, "has returned")
	})
}

// A store that ignores its context holds up the rounds for ever.
func TestRoundsThatHangAreNotLive(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.start("a")
		pass(opening)
		end := make(chan struct{})
		a.store.set(func(s *faultyStore) { s.list = func(context.Context) error { <-end; return nil } })
		pass(2 * time.Minute)
		require.NoError(t, a.Healthy().Live)
		pass(2 * time.Minute)
		require.ErrorContains(t, a.Healthy().Live, "no round has begun")
		close(end)
		pass(roundTime)
		require.NoError(t, a.Healthy().Live)
	})
}

func TestStatusTellsWhereEachPartitionStands(t *testing.T) {
	inBatches(t, nil, func(context.Context, *processor.Batch) error { time.Sleep(3 * time.Second); return nil }, func(t *testing.T, p *batched) {
		began := time.Now()
		p.sendMany(150)
		pass(2 * time.Second)
		s := p.Processor.Status().Partitions[0]
		require.True(t, s.Reading)
		require.False(t, s.OwnedSince.After(s.ReadingSince))
		require.False(t, s.ReadingSince.After(began))
		require.EqualValues(t, 149, *s.LastSequenceNumber)
		require.EqualValues(t, 0, *s.OldestSequenceNumber)
		require.Equal(t, 150, s.Pending)
		require.Equal(t, 2*time.Second, s.OldestPending)
		require.Nil(t, s.CheckpointSequenceNumber)
		require.Zero(t, s.CheckpointedAt)
		pass(2 * time.Second)
		s = p.Processor.Status().Partitions[0]
		require.Equal(t, 50, s.Pending)
		require.EqualValues(t, 100, *s.OldestSequenceNumber)
		require.Equal(t, 100, s.Unwritten)
		pass(time.Minute)
		s = p.Processor.Status().Partitions[0]
		require.EqualValues(t, 149, *s.CheckpointSequenceNumber)
		require.Equal(t, 18*time.Second, s.CheckpointedAt.Sub(began))
		require.True(t, began.Equal(*s.CheckpointEnqueuedTime))
		require.Zero(t, s.Pending)
		require.Nil(t, s.OldestSequenceNumber)
		require.Zero(t, s.OldestPending)
		require.Zero(t, s.Unwritten)

		p.Hub.Deny("0", errors.New("denied"))
		pass(20 * time.Millisecond)
		s = p.Processor.Status().Partitions[0]
		require.ErrorContains(t, s.LastError, "denied")
		require.False(t, s.Reading)
		require.Zero(t, s.ReadingSince)
	})
}

// A new owner knows the position that it begins after, but not when that was written.
func TestStatusOfANewOwnerHasTheStoredCheckpoint(t *testing.T) {
	inBatches(t, nil, func(context.Context, *processor.Batch) error { return nil }, func(t *testing.T, p *batched) {
		p.sendMany(10)
		p.AwaitCheckpoint(9)
		p.Lose()
		p.GiveBack()
		p.AwaitReading()
		s := p.Processor.Status().Partitions[0]
		require.EqualValues(t, 9, *s.CheckpointSequenceNumber)
		require.Nil(t, s.CheckpointEnqueuedTime)
		require.Zero(t, s.CheckpointedAt)
	})
}
