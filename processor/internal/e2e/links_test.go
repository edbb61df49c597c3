package e2e

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/processor"
)

// testDeniedLink: a partition that cannot be read is warned of with the reason, is
// seen in the status, is released, and is read when it can be read again.
func testDeniedLink(t *testing.T, _ *report) {
	for _, condition := range []emulator.Condition{emulator.UnauthorizedAccess, emulator.NotFound, emulator.ResourceLimitExceeded} {
		for _, later := range []bool{false, true} {
			name := map[bool]string{false: "from the start, ", true: "while it is read, "}[later] + string(condition)
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 2, 20)
				e := w.onEmulator()
				a := w.config(0)
				a.Tune = func(o *processor.Options) { o.MaxBackoff = a.Interval }
				if !later {
					require.NoError(t, e.Deny(emulator.Partition("0"), condition))
				}
				o := w.start(a, newNetwork())
				if later {
					w.complete()
					require.NoError(t, e.Deny(emulator.Partition("0"), condition))
					_, err := e.Steal("0")
					require.NoError(t, err)
				}
				eventually(t, "the reason in the status", func() bool {
					s := o.status()["0"]
					return s.LastError != nil && strings.Contains(s.LastError.Error(), string(condition)) && !s.Reading
				})
				eventually(t, "the release", func() bool { return w.owners()["0"] == "" && w.owners()["1"] == a.Name })
				require.Contains(t, strings.Join(o.Journal.warned(), "\n"), string(condition))
				w.hub.append("1", 5)
				eventually(t, "the other partition", func() bool { return w.checkpoints()["1"] == w.hub.last("1") })
				require.NoError(t, e.Allow(emulator.Partition("0")))
				w.hub.append("0", 5)
				w.complete()
				o.finish(t)
			})
		}
	}
}

// testClosedClient: what an owner whose client is closed cannot read goes to
// another one.
func testClosedClient(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	a, b := w.config(0), w.config(1)
	opened := make(chan *azeventhubs.ConsumerClient, 1)
	a.Opened = func(client *azeventhubs.ConsumerClient) { opened <- client }
	broken := w.start(a, newNetwork())
	w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	require.NoError(t, (<-opened).Close(t.Context()))
	w.hub.appendAll(5)
	w.complete()
	require.NotEmpty(t, broken.Journal.warned())
	eventually(t, "the other one has all", func() bool { return len(w.of(b.Name)) == 4 })
}

// outsider wins a partition from whoever has it, in the store alone.
func (w *world) outsider(partition, owner string) checkpointstore.Ownership {
	w.t.Helper()
	var won []checkpointstore.Ownership
	eventually(w.t, "the outsider's claim", func() bool {
		record, err := w.eye.GetOwnership(context.Background(), w.namespace, w.hubName, consumerGroup, partition, nil)
		if errors.Is(err, checkpointstore.ErrNotFound) {
			record = checkpointstore.Ownership{FullyQualifiedNamespace: w.namespace, EventHubName: w.hubName, ConsumerGroup: consumerGroup, PartitionID: partition}
		} else {
			require.NoError(w.t, err)
		}
		record.OwnerID = owner
		won, err = w.eye.ClaimOwnership(context.Background(), []checkpointstore.Ownership{record}, nil)
		require.NoError(w.t, err)
		return len(won) == 1 // or it was renewed in between
	})
	return won[0]
}

// testLostPartition: a handler that is busy is told within one round that its
// partition is another owner's.
func testLostPartition(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	a := w.config(0)
	f := newNetwork()
	type told struct {
		cause error
		lists int64
	}
	ends := make(chan told, 1)
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		if p.PartitionID() != "2" {
			return c.handle(ctx, p, book)
		}
		<-ctx.Done()
		ends <- told{context.Cause(ctx), f.lists.Load()}
		return ctx.Err()
	}
	o := w.start(a, f)
	eventually(t, "the start of the handler", func() bool { return len(w.of(a.Name)) == 4 && o.status()["2"].Reading })
	w.outsider("2", "outsider")
	lists := f.lists.Load()
	end := <-ends
	require.ErrorIs(t, end.cause, processor.ErrPartitionLost)
	require.LessOrEqual(t, end.lists, lists+2, "the list that was on its way, and that of the next round")
	require.NotContains(t, w.of(a.Name), "2")
	for id, s := range o.status() {
		if id == "2" {
			continue // until its handler has returned
		}
		require.NotErrorIs(t, s.Ending, processor.ErrPartitionLost, "only that partition")
	}
}

// testTakenLink: whose link is taken by somebody who did not claim the partition
// reads on.
func testTakenLink(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	e := w.onEmulator()
	a := w.config(0)
	var mu sync.Mutex
	var causes []error
	a.Handler = func(ctx context.Context, c config, p partition, book recorder) error {
		err := c.handle(ctx, p, book)
		mu.Lock()
		defer mu.Unlock()
		causes = append(causes, context.Cause(ctx))
		return err
	}
	w.start(a, newNetwork())
	w.complete()
	readers, err := e.Steal("2")
	require.NoError(t, err)
	require.Equal(t, 1, readers)
	w.hub.appendAll(5)
	w.complete()
	require.Len(t, w.of(a.Name), 4)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, causes, 1)
	require.ErrorIs(t, causes[0], processor.ErrPartitionLost)
}

// testDroppedConnections: connections that end are opened again, and nobody loses a
// partition by it.
func testDroppedConnections(t *testing.T, _ *report) {
	w := newWorld(t, 8, 20)
	e := w.onEmulator()
	a, b := w.config(0), w.config(1)
	w.start(a, newNetwork())
	w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	seen := w.watch()
	_, err := e.DropConnections()
	require.NoError(t, err)
	w.hub.appendAll(5)
	w.complete()
	seen.stop()
	changes, back := seen.result()
	require.Zero(t, changes)
	require.Empty(t, back)
}

// testExpandedHub: partitions that a hub gets are read from their beginning, soon.
func testExpandedHub(t *testing.T, _ *report) {
	w := newWorld(t, 2, 20)
	e := w.onEmulator()
	a, b := w.config(0), w.config(1)
	a.Interval, b.Interval = time.Second, time.Second
	f, g := newNetwork(), newNetwork()
	w.start(a, f)
	w.start(b, g)
	w.settled(a.Name, b.Name)
	from := []int64{f.round(), g.round()}
	require.NoError(t, e.Expand(4))
	for _, id := range []string{"2", "3"} {
		w.hub.partitions, w.hub.before[id] = append(w.hub.partitions, id), 999
	}
	w.hub.appendAll(5)
	eventually(t, "the claims of the new partitions", func() bool { return len(w.owners()) == 4 })
	require.LessOrEqual(t, min(f.round()-from[0], g.round()-from[1]), int64(6+2), "6 rounds, the one on its way, and the one after")
	w.settled(a.Name, b.Name)
	w.complete()
}
