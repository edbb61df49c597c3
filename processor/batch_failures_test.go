package processor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// The tests of this file have the names of failures that other projects had.

// Orleans (dotnet/orleans#4884) and Dapr: what was handled since the last write
// was handled again after an orderly stop.
func TestNoFlushAtShutdown(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		p.sendMany(150)
		pass(2 * time.Second)
		require.Empty(t, p.Checkpoints())
		require.NoError(t, p.Stop())
		require.Equal(t, []int64{149}, p.Checkpoints())
	})
}

// Orleans (dotnet/orleans#6581): with a few events now and then, the count that
// causes a write was never reached.
func TestNothingWrittenAtLowTraffic(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		for minute := range int64(10) {
			p.Send("one")
			pass(processor.DefaultBatchWait + processor.DefaultCheckpointInterval)
			require.Equal(t, minute, p.Checkpoint())
			pass(time.Minute)
		}
		require.Len(t, p.Checkpoints(), 10)
	})
}

// Orleans (dotnet/orleans#10096): an update that the storage throttled was dropped,
// and nothing brought it back.
func TestAThrottledUpdateDiscarded(t *testing.T) {
	inBatches(t, nil, nil, func(t *testing.T, p *batched) {
		throttled := errors.New("throttled")
		p.FailCheckpoints(throttled)
		p.sendMany(150)
		pass(time.Minute)
		status := p.Processor.Status().Partitions[0]
		require.ErrorIs(t, status.CheckpointError, throttled)
		require.Equal(t, 150, status.Unwritten)
		p.FailCheckpoints(nil)
		p.AwaitCheckpoint(149)
		status = p.Processor.Status().Partitions[0]
		require.NoError(t, status.CheckpointError)
		require.Zero(t, status.Unwritten)
	})
}

// Dapr (dapr/components-contrib#4561): one event that is never done stops the
// partition, nobody sees why, and nothing but a restart helps.
func TestAPoisonEventThatStallsForEver(t *testing.T) {
	stalls := func(ctx context.Context, b *processor.Batch) error {
		if b.Events[0].SequenceNumber == 10 {
			<-ctx.Done()
		}
		return ctx.Err()
	}
	t.Run("it is visible", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := processortest.Start(t, processor.Batches(stalls, &processor.BatchOptions{MaxEvents: 10}),
				&processor.Options{UpdateInterval: time.Second, MaxPendingAge: 10 * time.Minute})
			p.AwaitReading()
			p.Send("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")
			pass(10 * time.Minute)
			status := p.Processor.Status().Partitions[0]
			require.EqualValues(t, 10, *status.OldestSequenceNumber)
			require.Equal(t, 2, status.Pending)
			require.Equal(t, 10*time.Minute, status.OldestPending)
			require.EqualValues(t, 9, *status.CheckpointSequenceNumber)
			require.NoError(t, p.Processor.Healthy().Live)
			pass(time.Minute)
			require.ErrorContains(t, p.Processor.Healthy().Live, "sequence number 10 is pending for 11m0s")
		})
	})
	t.Run("one that fails is put aside", func(t *testing.T) {
		inBatches(t, &processor.BatchOptions{OnExhausted: processor.Skip}, func(context.Context, *processor.Batch) error { return errHandling }, func(t *testing.T, p *batched) {
			p.Send("poison")
			p.AwaitCheckpoint(0)
		})
	})
}

// Dapr (dapr/components-contrib#4562): what a handler completed after the
// consumer's context had ended did not count.
func TestACompletionAfterCancelThatIsLost(t *testing.T) {
	finishes := func(ctx context.Context, _ *processor.Batch) error {
		<-ctx.Done()
		time.Sleep(10 * time.Second)
		return nil
	}
	inBatches(t, nil, finishes, func(t *testing.T, p *batched) {
		p.sendMany(3)
		pass(2 * time.Second)
		require.NoError(t, p.Stop())
		require.EqualValues(t, 2, p.Checkpoint())
	})
}

// Azure Functions (Azure/Azure-Functions#947): the checkpoint passed events whose
// handler had failed.
func TestACheckpointAlthoughTheHandlerFailed(t *testing.T) {
	inBatches(t, &processor.BatchOptions{MaxAttempts: -1}, func(context.Context, *processor.Batch) error { return errHandling }, func(t *testing.T, p *batched) {
		p.sendMany(3)
		pass(time.Hour)
		require.NoError(t, p.Stop())
		require.Empty(t, p.Checkpoints())
	})
}

// MassTransit: one batch that hangs at a stop kept the checkpoint of all others.
func TestAStopThatWaitsForAHungHandler(t *testing.T) {
	var release chan struct{}
	hangs := func(_ context.Context, b *processor.Batch) error {
		if b.Events[0].SequenceNumber == 10 {
			<-release
		}
		return nil
	}
	inBatches(t, &processor.BatchOptions{MaxEvents: 10}, hangs, func(t *testing.T, p *batched) {
		release = make(chan struct{})
		p.sendMany(30)
		pass(processor.DefaultCheckpointInterval + time.Second)
		require.EqualValues(t, 9, p.Checkpoint(), "what is done is stored while the next batch is handled")
		stopped := time.Now()
		require.ErrorContains(t, p.Stop(), "did not return")
		require.Less(t, time.Since(stopped), 30*time.Second)
		close(release)
	})
}
