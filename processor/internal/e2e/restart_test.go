package e2e

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// position is a checkpoint of a partition.
func (w *world) position(partition string, sequence int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: w.namespace, EventHubName: w.hubName, ConsumerGroup: consumerGroup,
		PartitionID: partition, SequenceNumber: &sequence,
	}
}

// testRewound: a partition that an operator rewinds, through a store of its own,
// while it is read, is given up and read again from there by the same process. The
// rewind stays.
func testRewound(t *testing.T, _ *report) {
	for _, v := range variants {
		t.Run("busy, "+v.name, func(t *testing.T) { rewoundWhileRead(t, v, true) })
	}
	t.Run("idle until the next event, Run", func(t *testing.T) { rewoundWhileRead(t, variants[0], false) })
}

func rewoundWhileRead(t *testing.T, v variant, busy bool) {
	w := newWorld(t, 2, 20)
	a := w.config(0).as(v)
	var mu sync.Mutex
	var causes []error
	var toldOf error
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		err := c.handle(ctx, p, book)
		mu.Lock()
		defer mu.Unlock()
		if v.loop == run {
			toldOf = context.Cause(ctx)
		}
		causes = append(causes, err)
		return err
	}
	f := newNetwork()
	o := w.start(a, f)
	w.complete()
	if busy {
		w.hub.rate(20)
	}
	seen := w.watch()
	to := w.hub.before["0"] + 5
	w.rewind("0", to)
	if !busy {
		w.hub.append("0", 1)
	}
	eventually(t, "the events after the rewind, again", func() bool { return w.ledger.times("0", to+1) == 2 })
	w.hub.rate(0)
	w.complete()
	seen.stop()
	_, back := seen.result()
	require.LessOrEqual(t, len(back), 1, "the rewind itself, at most")
	require.Equal(t, 1, w.ledger.times("0", to), "not before it")
	for n := to + 1; n < w.hub.before["0"]+20; n++ {
		require.GreaterOrEqual(t, w.ledger.times("0", n), 2)
	}
	require.Equal(t, 1, w.ledger.times("1", to+1), "the other partition is read on")
	require.EqualValues(t, 1, o.Processors.Load())
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, causes, 1)
	require.ErrorIs(t, causes[0], checkpointstore.ErrRewound)
	if v.loop == run {
		require.ErrorIs(t, toldOf, processor.ErrRewound)
	}
}

// rewind is what an operator does.
func (w *world) rewind(partition string, to int64) {
	w.t.Helper()
	operator, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(w.storage, w.container, nil)
	require.NoError(w.t, err)
	defer func() { _ = operator.Close() }()
	require.NoError(w.t, operator.UpdateCheckpoint(context.Background(), w.position(partition, to), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
}

// times is how often an event was handled.
func (l *ledger) times(partition string, sequence int64) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.partition == partition && e.sequence == sequence {
			n++
		}
	}
	return n
}
