package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor"
)

// testRestartAtLatest: a handler that fails before the partition's first checkpoint
// is called again with the same events.
func testRestartAtLatest(t *testing.T, _ *report) {
	failed := errors.New("the handler failed")
	for _, how := range []string{"error", "panic", "taken link", "next process"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 1, 20)
			if how == "taken link" {
				w.onEmulator()
			}
			a := w.config(0)
			a.Latest = true
			last := w.hub.last("0")
			reached := make(chan struct{})
			var calls atomic.Int64
			a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
				if calls.Add(1) > 1 {
					return c.handle(ctx, p, book)
				}
				events, err := p.ReceiveEvents(ctx, 3, nil)
				if err != nil {
					return err
				}
				if events[0].SequenceNumber != last+1 {
					return processor.Fatal(fmt.Errorf("it began at %d", events[0].SequenceNumber))
				}
				close(reached)
				switch how {
				case "error":
					return failed
				case "panic":
					panic(failed)
				case "taken link": // which a receive notices
					for err == nil {
						_, err = p.ReceiveEvents(ctx, 1000, nil)
					}
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			}
			o := w.start(a, newNetwork())
			eventually(t, "the initial position", func() bool { return w.checkpoints()["0"] == last })
			w.hub.append("0", 6)
			<-reached
			require.Equal(t, last, w.checkpoints()["0"])
			switch how {
			case "taken link":
				_, err := w.hub.emulator.Steal("0")
				require.NoError(t, err)
			case "next process":
				o.finish(t)
				w.hub.append("0", 3)
				b := w.config(1)
				b.Latest = true
				o = w.start(b, newNetwork())
			}
			eventually(t, "the last event", func() bool { return w.checkpoints()["0"] == w.hub.last("0") })
			require.Zero(t, w.ledger.missing("0", last, w.hub.last("0")), "nothing is skipped")
			_, duplicates, _ := w.ledger.count()
			require.Zero(t, duplicates)
			require.Equal(t, last+1, w.ledger.events[0].sequence)
			o.finish(t)
		})
	}
}

// testPositionOfBefore: a partition that was another owner's in between is not read
// from where this process left it, also while the checkpoints cannot be listed.
func testPositionOfBefore(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	a := w.config(0)
	f := newNetwork()
	w.start(a, f)
	w.complete()
	won := w.outsider("1", "outsider")
	eventually(t, "the loss", func() bool { return len(w.of(a.Name)) == 3 })
	unlisted := faults.Busy(0).On(listCheckpoints)
	restore := f.Inject(unlisted)
	failures := func() int { return f.Struck()[unlisted.String()] }
	w.hub.append("1", 10)
	reached := w.hub.last("1")
	require.NoError(t, w.eye.UpdateCheckpoint(t.Context(), w.position("1", reached), nil))
	won.OwnerID = ""
	_, err := w.eye.ClaimOwnership(t.Context(), []checkpointstore.Ownership{won}, nil)
	require.NoError(t, err)
	eventually(t, "the claim", func() bool { return len(w.of(a.Name)) == 4 })
	n := failures()
	eventually(t, "failed lists", func() bool { return failures() > n+4 })
	w.hub.append("1", 5)
	restore()
	eventually(t, "the last event", func() bool { return w.checkpoints()["1"] == w.hub.last("1") })
	require.Equal(t, 10, w.ledger.missing("1", w.hub.before["1"], w.hub.last("1")), "what the other one has handled")
	require.Zero(t, w.ledger.missing("1", reached, w.hub.last("1")))
}

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

// testRewoundIdle: the same of a stream that stays idle, for which Run looks in each
// sixth round.
func testRewoundIdle(t *testing.T, _ *report) {
	w := newWorld(t, 2, 20)
	a := w.config(0)
	a.Interval = time.Second // so that rounds can be counted
	f := newNetwork()
	o := w.start(a, f)
	w.complete()
	to := w.hub.before["0"] + 5
	w.rewind("0", to)
	rounds := f.round()
	eventually(t, "the events after the rewind, again", func() bool { return w.ledger.times("0", to+1) == 2 })
	require.LessOrEqual(t, f.round(), rounds+6+2, "the sixth, and the two in which it is given up and claimed again")
	w.complete()
	require.Equal(t, 1, w.ledger.times("0", to))
	require.Equal(t, 1, w.ledger.times("1", to+1), "the other partition is read on")
	require.EqualValues(t, 1, o.Processors.Load())
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
