package processortest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// oneByOne is a handler that checkpoints each event.
type oneByOne struct {
	mu     sync.Mutex
	bodies []string
	cause  error // with which the last context ended
}

func (h *oneByOne) handle(ctx context.Context, p *processor.Partition) error {
	for {
		events, err := p.ReceiveEvents(ctx, 1, nil)
		h.mu.Lock()
		h.cause = context.Cause(ctx)
		for _, e := range events {
			h.bodies = append(h.bodies, string(e.Body))
		}
		h.mu.Unlock()
		if err != nil {
			return err
		}
		if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
			return err
		}
	}
}

func (h *oneByOne) got() ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bodies, h.cause
}

// each runs a test in real time and in fake time.
func each(t *testing.T, test func(t *testing.T, h *oneByOne, p *processortest.Partition)) {
	run := func(t *testing.T) {
		h := &oneByOne{}
		test(t, h, processortest.Start(t, h.handle, nil))
	}
	t.Run("in real time", run)
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, run) })
}

func TestPartitionShowsWhatWasCheckpointed(t *testing.T) {
	each(t, func(t *testing.T, h *oneByOne, p *processortest.Partition) {
		require.EqualValues(t, -1, p.Checkpoint())
		require.Empty(t, p.Checkpoints())
		p.Send("a", "b", "c")
		p.AwaitCheckpoint(2)
		require.Equal(t, []int64{0, 1, 2}, p.Checkpoints())
		got, _ := h.got()
		require.Equal(t, []string{"a", "b", "c"}, got)
	})
}

func TestPartitionIsLostAndGivenBack(t *testing.T) {
	each(t, func(t *testing.T, h *oneByOne, p *processortest.Partition) {
		p.Send("a")
		p.AwaitCheckpoint(0)
		p.Lose()
		_, cause := h.got()
		require.ErrorIs(t, cause, processor.ErrPartitionLost)
		p.Send("b")
		time.Sleep(50 * time.Millisecond)
		require.EqualValues(t, 0, p.Checkpoint(), "nobody reads")
		p.GiveBack()
		p.AwaitCheckpoint(1)
	})
}

func TestPartitionIsRewound(t *testing.T) {
	each(t, func(t *testing.T, h *oneByOne, p *processortest.Partition) {
		p.Send("a", "b", "c")
		p.AwaitCheckpoint(2)
		p.Rewind(-1)
		p.AwaitCheckpoint(2)
		got, _ := h.got()
		require.Equal(t, []string{"a", "b", "c", "a", "b", "c"}, got)
	})
}

func TestPartitionIsStopped(t *testing.T) {
	each(t, func(t *testing.T, h *oneByOne, p *processortest.Partition) {
		p.AwaitReading()
		require.NoError(t, p.Stop())
		require.NoError(t, p.Stop())
		_, cause := h.got()
		require.ErrorIs(t, cause, processor.ErrStopping)
	})
}

func TestCheckpointsOfAPartitionFail(t *testing.T) {
	each(t, func(t *testing.T, h *oneByOne, p *processortest.Partition) {
		p.AwaitReading()
		p.FailCheckpoints(errors.New("throttled"))
		p.Send("a")
		time.Sleep(50 * time.Millisecond)
		require.EqualValues(t, -1, p.Checkpoint())
		p.FailCheckpoints(nil)
		p.AwaitCheckpoint(0)
	})
}

func TestErrorOfTheHandlerEndsRun(t *testing.T) {
	failed := errors.New("failed")
	p := processortest.Start(t, func(context.Context, *processor.Partition) error { return processor.Fatal(failed) }, nil)
	require.ErrorIs(t, p.Await(), failed)
}
