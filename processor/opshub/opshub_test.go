package opshub

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/ops"
)

// patience bounds what must happen.
const patience = time.Minute

func newClient(t *testing.T, e *emulator.Emulator, group string) *azeventhubs.ConsumerClient {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(e.ConnectionString(), "", group,
		&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestProperties(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, FirstSequenceNumber: 1000})
	hub := New(newClient(t, e, "$Default"))
	ids, err := hub.PartitionIDs(testContext(t))
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1"}, ids)

	empty, err := hub.PartitionProperties(testContext(t), "0")
	require.NoError(t, err)
	require.True(t, empty.IsEmpty)
	require.EqualValues(t, 999, empty.LastEnqueuedSequenceNumber)

	e.Append(t, "1", 3)
	got, err := hub.PartitionProperties(testContext(t), "1")
	require.NoError(t, err)
	enqueued, err := e.EnqueuedTime("1", 1002)
	require.NoError(t, err)
	require.Equal(t, ops.PartitionProperties{
		BeginningSequenceNumber: 1000, LastEnqueuedSequenceNumber: 1002, LastEnqueuedOffset: emulator.Offset(1002), LastEnqueuedTime: enqueued,
	}, got)

	_, err = hub.PartitionProperties(testContext(t), "9")
	require.Error(t, err)
}

func TestReadEvent(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 10, FirstSequenceNumber: 1000})
	at := func(n int64) time.Time {
		enqueued, err := e.EnqueuedTime("0", n)
		require.NoError(t, err)
		return enqueued
	}
	hub := New(newClient(t, e, "$Default"))
	for name, c := range map[string]struct {
		from ops.ReadFrom
		want int64
	}{
		"a sequence number":                  {ops.ReadFrom{SequenceNumber: to.Ptr[int64](1004)}, 1004},
		"a sequence number that is gone":     {ops.ReadFrom{SequenceNumber: to.Ptr[int64](5)}, 1000},
		"an offset":                          {ops.ReadFrom{Offset: emulator.Offset(1004)}, 1004},
		"an offset between two events":       {ops.ReadFrom{Offset: emulator.Offset(1004)[:4] + "9"}, 1005},
		"the start":                          {ops.ReadFrom{Offset: "-1"}, 1000},
		"the time of an event":               {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1004))}, 1004},
		"a nanosecond after an event":        {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1004).Add(1))}, 1005},
		"a nanosecond before an event":       {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1004).Add(-1))}, 1004},
		"a time before all events":           {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1000).Add(-time.Hour))}, 1000},
		"a time in a zone other than UTC":    {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1009).In(time.FixedZone("", 7200)))}, 1009},
		"a millisecond before the last time": {ops.ReadFrom{EnqueuedTime: to.Ptr(at(1009).Add(-time.Millisecond))}, 1008},
	} {
		t.Run(name, func(t *testing.T) {
			event, err := hub.ReadEvent(testContext(t), "0", c.from)
			require.NoError(t, err)
			require.Equal(t, &ops.Event{SequenceNumber: c.want, Offset: emulator.Offset(c.want), EnqueuedTime: at(c.want)}, event)
		})
	}
	// Every link was closed, and no more than the one event was asked for.
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksClosed, e.Stats()["0"].LinksOpened))
	require.Equal(t, e.Stats()["0"].LinksOpened, e.Stats()["0"].EventsSent)
}

// TestReadEventEndsWithItsContext: past the last event there is none until the context
// ends. Event Hubs refuses numbers past the end.
func TestReadEventEndsWithItsContext(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 10})
	hub := New(newClient(t, e, "$Default"))
	future := ops.ReadFrom{EnqueuedTime: to.Ptr(time.Now().Add(time.Hour))}
	ctx := deadline{t.Context(), make(chan struct{})}
	read := make(chan error, 1)
	var event *ops.Event
	go func() {
		var err error
		event, err = hub.ReadEvent(ctx, "0", future)
		read <- err
	}()
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksOpened, 1))
	close(ctx.passed)
	require.NoError(t, <-read)
	require.Nil(t, event)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := hub.ReadEvent(canceled, "0", future)
	require.ErrorIs(t, err, context.Canceled)

	_, err = New(newClient(t, e, "$Default")).ReadEvent(testContext(t), "0", ops.ReadFrom{SequenceNumber: to.Ptr[int64](10)})
	require.ErrorContains(t, err, "The last sequence number in the system is '9'")
}

// deadline is a context whose deadline passes when the test says so: not while the client is still connecting, which
// is an error.
type deadline struct {
	context.Context
	passed chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.passed }

func (d deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestReadEventBesideAnOwner: an owner is never disturbed; in its consumer group
// nothing can be read, in another one it can.
func TestReadEventBesideAnOwner(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 10})
	owner, err := newClient(t, e, "$Default").NewPartitionClient("0", &azeventhubs.PartitionClientOptions{
		OwnerLevel: to.Ptr[int64](0), StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	_, err = owner.ReceiveEvents(testContext(t), 1, nil)
	require.NoError(t, err)

	_, err = New(newClient(t, e, "$Default")).ReadEvent(testContext(t), "0", ops.ReadFrom{SequenceNumber: to.Ptr[int64](4)})
	require.ErrorIs(t, err, ErrPartitionOwned)
	require.ErrorContains(t, err, "non-epoch receiver is not allowed")

	event, err := New(newClient(t, e, "other")).ReadEvent(testContext(t), "0", ops.ReadFrom{SequenceNumber: to.Ptr[int64](4)})
	require.NoError(t, err)
	require.EqualValues(t, 4, event.SequenceNumber)

	e.Append(t, "0", 1)
	for last := int64(0); last < 10; {
		events, err := owner.ReceiveEvents(testContext(t), 1, nil)
		require.NoError(t, err)
		last = events[0].SequenceNumber
	}
	require.Zero(t, e.Stats()["0"].LinksStolen)
}
