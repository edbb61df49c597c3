package proof

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// patience bounds what should end soon. Only a call that nothing ends takes so long.
const patience = 5 * time.Minute

// someHub is a hub of two partitions, in memory or behind azeventhubs.
type someHub struct {
	client     func(t *testing.T, ownerID string) processor.EventHub
	send       func(partition string, n int)
	steal      func(partition string)
	deny, hang func(partition string, on bool)
	expand     func()                                      // by one partition
	opened     func(ctx context.Context, partition string) // waits for the first link to a partition
	offset     func(sequenceNumber int64) string
}

func hubInMemory() someHub {
	h := processortest.NewHub(2)
	return someHub{
		client: func(_ *testing.T, ownerID string) processor.EventHub { return h.Client(ownerID) },
		send: func(partition string, n int) {
			for range n {
				h.Send(partition, "event")
			}
		},
		steal: h.Steal,
		deny: func(partition string, on bool) {
			var err error
			if on {
				err = &azeventhubs.Error{Code: azeventhubs.ErrorCodeUnauthorizedAccess}
			}
			h.Deny(partition, err)
		},
		hang:   h.HangPartition,
		expand: func() { h.Expand(1) },
		opened: func(ctx context.Context, partition string) {
			for h.Readers()[partition] == "" && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		},
		offset: func(n int64) string { return fmt.Sprint(100 * n) },
	}
}

func hubOfEmulator(t *testing.T) someHub {
	e := emulator.Start(t, emulator.Options{Partitions: 2})
	return someHub{
		client: func(t *testing.T, ownerID string) processor.EventHub {
			c, err := azeventhubs.NewConsumerClientFromConnectionString(e.ConnectionString(), "", "$Default", &azeventhubs.ConsumerClientOptions{
				InstanceID: ownerID, RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
			})
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close(context.Background()) })
			return processor.NewEventHub(c)
		},
		send: func(partition string, n int) { e.Append(t, partition, n) },
		steal: func(partition string) {
			_, err := e.Steal(partition)
			require.NoError(t, err)
		},
		deny: func(partition string, on bool) {
			if on {
				require.NoError(t, e.Deny(emulator.Partition(partition), emulator.UnauthorizedAccess))
				return
			}
			require.NoError(t, e.Allow(emulator.Partition(partition)))
		},
		hang: func(partition string, on bool) {
			if on {
				require.NoError(t, e.Hang(emulator.Partition(partition)))
				return
			}
			require.NoError(t, e.Resume(emulator.Partition(partition)))
		},
		expand: func() { require.NoError(t, e.Expand(3)) },
		opened: func(ctx context.Context, partition string) {
			require.NoError(t, e.Await(ctx, emulator.Partition(partition), emulator.LinksOpened, 1))
		},
		offset: emulator.Offset,
	}
}

// TestTheHubInMemoryIsTrueToAzeventhubs makes the same calls on both hubs and compares their results.
func TestTheHubInMemoryIsTrueToAzeventhubs(t *testing.T) {
	want, got := exercise(t, hubOfEmulator(t)), exercise(t, hubInMemory())
	t.Log("\n" + want)
	require.Equal(t, want, got)
}

// exercise makes the calls and returns their results.
func exercise(t *testing.T, h someHub) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var b strings.Builder
	note := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	try := func(r processor.Receiver, n int, d time.Duration) ([]*azeventhubs.ReceivedEventData, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return r.ReceiveEvents(ctx, n, nil)
	}
	receive := func(what string, r processor.Receiver, n int, d time.Duration) {
		events, err := try(r, n, d)
		note("%s: %s", what, outcomeOf(events, err))
	}
	a, other := h.client(t, "a"), h.client(t, "b")
	open := func(hub processor.EventHub, partition string, start azeventhubs.StartPosition) processor.Receiver {
		r, err := hub.OpenPartition(ctx, partition, &azeventhubs.PartitionClientOptions{StartPosition: start, OwnerLevel: to.Ptr[int64](0)})
		require.NoError(t, err)
		return r
	}
	// soon is for calls that only their deadline ends.
	const soon, long = 300 * time.Millisecond, patience
	yes := true
	earliest := azeventhubs.StartPosition{Earliest: &yes}

	properties, err := a.Properties(ctx)
	note("owner %s, group %s, partitions %v, %v", a.OwnerID(), properties.ConsumerGroup, properties.PartitionIDs, err)
	last := func(partition string) {
		p, err := a.PartitionProperties(ctx, partition)
		note("partition %s: empty %v, last %d, %v", partition, p.IsEmpty, p.LastEnqueuedSequenceNumber, err)
	}
	last("0")
	empty := open(a, "0", earliest)
	receive("an empty partition", empty, 1, soon)
	h.send("0", 5)
	last("0")
	receive("what came since", empty, 5, long)
	receive("more than there is", empty, 1, soon)
	require.NoError(t, empty.Close(ctx))

	for i, c := range []struct {
		start azeventhubs.StartPosition
		want  int64
	}{
		{earliest, 0},
		{azeventhubs.StartPosition{Offset: to.Ptr("-1")}, 0},
		{azeventhubs.StartPosition{Offset: to.Ptr(h.offset(2))}, 3},
		{azeventhubs.StartPosition{Offset: to.Ptr(h.offset(2)), Inclusive: true}, 2},
		{azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](3)}, 4},
		{azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](3), Inclusive: true}, 3},
		{azeventhubs.StartPosition{EnqueuedTime: to.Ptr(time.Now().Add(-time.Hour))}, 0},
	} {
		r := open(a, "0", c.start)
		events, err := r.ReceiveEvents(ctx, 1, nil)
		require.NoError(t, err, i)
		require.Equal(t, c.want, events[0].SequenceNumber, i)
		require.NoError(t, r.Close(ctx))
	}
	latest := open(a, "1", azeventhubs.StartPosition{})
	h.send("1", 2)
	received := make(chan string, 1)
	go func() {
		events, err := try(latest, 1, long)
		received <- outcomeOf(events, err)
	}()
	h.opened(ctx, "1") // by that call
	h.send("1", 1)
	note("latest, opened later: %s", <-received)
	require.NoError(t, latest.Close(ctx))

	first := open(a, "0", earliest)
	receive("some of what there is", first, 2, long)
	var fewer []*azeventhubs.ReceivedEventData
	for len(fewer) < 3 { // in one call, unless the deadline comes before the events
		events, err := try(first, 10, soon)
		fewer = append(fewer, events...)
		if len(events) == 0 {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, ctx.Err())
			continue
		}
		require.NoError(t, err)
	}
	note("fewer than asked for: %s", outcomeOf(fewer, nil))
	second := open(other, "0", earliest)
	receive("a second receiver", second, 5, long)
	receive("whose link was taken", first, 1, long)
	receive("the same again", first, 1, long)
	h.steal("0")
	receive("stolen", second, 1, long)
	require.NoError(t, first.Close(ctx))
	require.NoError(t, second.Close(ctx))

	h.deny("0", true)
	denied := open(a, "0", earliest)
	receive("denied", denied, 1, long)
	_ = denied.Close(ctx)
	h.deny("0", false)
	third := open(a, "0", earliest)
	receive("allowed again", third, 5, long)
	h.hang("0", true)
	h.send("0", 1)
	receive("hanging", third, 1, soon)
	h.hang("0", false)
	receive("no longer", third, 1, long)
	require.NoError(t, third.Close(ctx))

	h.expand()
	properties, err = a.Properties(ctx)
	note("partitions %v, %v", properties.PartitionIDs, err)
	last("2")
	_, err = a.PartitionProperties(ctx, "9")
	note("an unknown partition: failed %v", err != nil)
	return b.String()
}

// outcomeOf describes what a receive returned, without the offsets, which differ.
func outcomeOf(events []*azeventhubs.ReceivedEventData, err error) string {
	var numbers []int64
	for _, e := range events {
		numbers = append(numbers, e.SequenceNumber)
	}
	var failed *azeventhubs.Error
	switch {
	case errors.As(err, &failed):
		return fmt.Sprint(numbers, " ", failed.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprint(numbers, " in time")
	}
	return fmt.Sprint(numbers, " ", err)
}
