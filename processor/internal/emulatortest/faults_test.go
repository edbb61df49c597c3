package emulatortest

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// newPatientConsumer returns a client that retries often and soon.
func newPatientConsumer(t *testing.T, e *emulator.Emulator) *azeventhubs.ConsumerClient {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(e.ConnectionString(), "", "$Default", &azeventhubs.ConsumerClientOptions{
		RetryOptions: azeventhubs.RetryOptions{MaxRetries: 1 << 20, RetryDelay: time.Millisecond, MaxRetryDelay: time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// requireCode requires that an error is an azeventhubs.Error with a code or, if the code is empty, that it is none.
func requireCode(t *testing.T, err error, code azeventhubs.ErrorCode) {
	t.Helper()
	require.Error(t, err)
	var coded *azeventhubs.Error
	if code == "" {
		require.NotErrorAs(t, err, &coded)
		return
	}
	require.ErrorAs(t, err, &coded)
	require.Equal(t, code, coded.Code)
}

var plain = azeventhubs.PartitionClientOptions{StartPosition: earliest}

// events receives in a goroutine, and gives the result away when there is one.
func events(ctx context.Context, reader *azeventhubs.PartitionClient, count int) <-chan received {
	result := make(chan received, 1)
	go func() {
		events, err := reader.ReceiveEvents(ctx, count, nil)
		result <- received{events, err}
	}()
	return result
}

type received struct {
	events []*azeventhubs.ReceivedEventData
	err    error
}

func TestDeniedPartition(t *testing.T) {
	for condition, want := range map[emulator.Condition]struct {
		code azeventhubs.ErrorCode
		next bool // a client that may try again does so
	}{
		emulator.UnauthorizedAccess:              {azeventhubs.ErrorCodeUnauthorizedAccess, false},
		emulator.NotFound:                        {"", false},
		emulator.ResourceLimitExceeded:           {"", false},
		emulator.ServerBusy:                      {"", true},
		emulator.LinkStolen:                      {azeventhubs.ErrorCodeConnectionLost, true},
		"com.microsoft:argument-error":           {azeventhubs.ErrorCodeConnectionLost, true},
		"com.microsoft:entity-disabled":          {"", false},
		"com.microsoft:georeplication:some-name": {azeventhubs.ErrorCodeConnectionLost, true},
	} {
		t.Run(string(condition), func(t *testing.T) {
			t.Parallel()
			e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
			client := newConsumer(t, e, "$Default")
			open := newReader(t, client, "0", plain)
			requireEvents(t, open, "0", 0, 5)
			require.NoError(t, e.Deny(emulator.Partition("0"), condition))

			denied := newReader(t, client, "0", plain)
			_, err := denied.ReceiveEvents(testContext(t), 1, nil)
			requireCode(t, err, want.code)
			require.ErrorContains(t, err, "Condition: "+string(condition)+",")
			require.EqualValues(t, 1, e.Stats()["0"].LinksRefused)
			require.EqualValues(t, 1, e.Stats()["0"].LinksOpened)

			requireEvents(t, newReader(t, client, "1", plain), "1", 0, 5)
			require.NoError(t, e.AppendAll(1))
			requireEvents(t, open, "0", 5, 1) // what is open stays open

			waiting := events(testContext(t), newReader(t, newPatientConsumer(t, e), "0", plain), 6)
			if want.next {
				require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksRefused, 5))
			} else {
				requireCode(t, (<-waiting).err, want.code)
				require.EqualValues(t, 2, e.Stats()["0"].LinksRefused)
			}
			require.NoError(t, e.Allow(emulator.Partition("0")))
			if want.next {
				require.Len(t, (<-waiting).events, 6)
			}
			requireEvents(t, denied, "0", 0, 6)
		})
	}
}

func TestDenialsCoverWhatTheyName(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 1})
	client := newConsumer(t, e, "$Default")
	refused := func(partition string, condition emulator.Condition) {
		t.Helper()
		_, err := newReader(t, client, partition, plain).ReceiveEvents(testContext(t), 1, nil)
		require.ErrorContains(t, err, string(condition))
	}
	require.NoError(t, e.Deny(emulator.Everything, emulator.NotFound))
	refused("0", emulator.NotFound)
	_, err := client.GetEventHubProperties(testContext(t), nil)
	require.ErrorContains(t, err, string(emulator.NotFound))

	require.NoError(t, e.Deny(emulator.AllPartitions, emulator.UnauthorizedAccess))
	refused("0", emulator.UnauthorizedAccess)
	require.NoError(t, e.Expand(2))
	refused("1", emulator.UnauthorizedAccess)

	require.NoError(t, e.Deny(emulator.Partition("1"), emulator.ServerBusy))
	refused("1", emulator.ServerBusy)
	require.NoError(t, e.Deny(emulator.Partition("1"), emulator.LinkStolen))
	refused("1", emulator.LinkStolen)
	refused("0", emulator.UnauthorizedAccess)

	require.NoError(t, e.Allow(emulator.Everything))
	require.NoError(t, e.Allow(emulator.AllPartitions))
	refused("1", emulator.LinkStolen)
	requireEvents(t, newReader(t, client, "0", plain), "0", 0, 1)
	_, err = client.GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	require.NoError(t, e.Allow(emulator.Management), "it was not denied")
}

func TestDeniedManagement(t *testing.T) {
	for condition, want := range map[emulator.Condition]struct {
		link   azeventhubs.ErrorCode // of a client that has no link yet
		code   azeventhubs.ErrorCode // of one that has, for the properties of a partition
		status string
	}{
		emulator.UnauthorizedAccess: {"", azeventhubs.ErrorCodeUnauthorizedAccess, "401"},
		emulator.NotFound:           {"", "", "404"},
		emulator.ServerBusy:         {"", "", "503"},
	} {
		t.Run(string(condition), func(t *testing.T) {
			t.Parallel()
			e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 1})
			client := newConsumer(t, e, "$Default")
			_, err := client.GetEventHubProperties(testContext(t), nil)
			require.NoError(t, err)
			require.NoError(t, e.Deny(emulator.Management, condition))

			_, err = newConsumer(t, e, "$Default").GetEventHubProperties(testContext(t), nil)
			requireCode(t, err, want.link)
			require.ErrorContains(t, err, string(condition))
			_, err = newConsumer(t, e, "$Default").GetPartitionProperties(testContext(t), "0", nil)
			requireCode(t, err, want.link)
			require.ErrorContains(t, err, string(condition))

			_, err = client.GetPartitionProperties(testContext(t), "0", nil)
			requireCode(t, err, want.code)
			require.ErrorContains(t, err, want.status)
			_, err = client.GetEventHubProperties(testContext(t), nil)
			requireCode(t, err, "")
			require.ErrorContains(t, err, want.status)
			require.NoError(t, e.Await(testContext(t), emulator.Management, emulator.RequestsRefused, 4))
			requireEvents(t, newReader(t, client, "0", plain), "0", 0, 1)

			require.NoError(t, e.Allow(emulator.Management))
			_, err = client.GetEventHubProperties(testContext(t), nil)
			require.NoError(t, err)
		})
	}
}

func TestHungPartition(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
	client := newConsumer(t, e, "$Default")
	open, bystander := newReader(t, client, "0", plain), newReader(t, client, "1", plain)
	requireEvents(t, open, "0", 0, 5)
	requireEvents(t, bystander, "1", 0, 5)

	require.NoError(t, e.Hang(emulator.Partition("0")))
	require.NoError(t, e.AppendAll(1))
	ctx, cancel := context.WithCancel(testContext(t))
	opened := events(testContext(t), open, 1)
	givenUp := events(ctx, newReader(t, newConsumer(t, e, "$Default"), "0", plain), 1)
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksHeld, 1))
	waiting := events(testContext(t), newReader(t, newConsumer(t, e, "$Default"), "0", plain), 6)
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksHeld, 2))
	cancel()
	require.ErrorIs(t, (<-givenUp).err, context.Canceled)
	requireEvents(t, bystander, "1", 5, 1)
	require.Equal(t, emulator.PartitionStats{LinksOpened: 1, LinksHeld: 2, EventsSent: 5}, e.Stats()["0"])
	require.Empty(t, opened)

	require.NoError(t, e.Resume(emulator.Partition("0")))
	require.Len(t, (<-opened).events, 1)
	require.Len(t, (<-waiting).events, 6)
	require.NoError(t, e.Resume(emulator.Partition("0")), "it does not hang")
}

// TestHungLinkIsNotOpenYet denies a link whose attach was not answered: had it been, it would be lost instead.
func TestHungLinkIsNotOpenYet(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	require.NoError(t, e.Hang(emulator.AllPartitions))
	hung := events(testContext(t), newReader(t, newConsumer(t, e, "$Default"), "0", owner(0)), 1)
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksHeld, 1))
	require.NoError(t, e.Deny(emulator.Everything, emulator.LinkStolen))
	require.NoError(t, e.Resume(emulator.AllPartitions))
	err := (<-hung).err
	requireCode(t, err, azeventhubs.ErrorCodeConnectionLost)
	require.ErrorContains(t, err, "amqp:link:stolen")
	require.Equal(t, emulator.PartitionStats{LinksHeld: 1, LinksRefused: 1}, e.Stats()["0"])
}

func TestHungManagement(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
	client := newConsumer(t, e, "$Default")
	_, err := client.GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	require.NoError(t, e.Hang(emulator.Management))

	t.Run("the properties of the hub end with their context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		hung := make(chan error, 1)
		go func() {
			_, err := client.GetEventHubProperties(ctx, nil)
			hung <- err
		}()
		require.NoError(t, e.Await(testContext(t), emulator.Management, emulator.RequestsHeld, 1))
		cancel()
		require.ErrorIs(t, <-hung, context.Canceled)
	})
	t.Run("those of a partition do not", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		hung := make(chan error, 1)
		go func() {
			_, err := client.GetPartitionProperties(ctx, "0", nil)
			hung <- err
		}()
		require.NoError(t, e.Await(testContext(t), emulator.Management, emulator.RequestsHeld, 2))
		cancel()
		requireEvents(t, newReader(t, client, "0", plain), "0", 0, 5) // partitions are served
		require.Empty(t, hung)
		require.NoError(t, e.Resume(emulator.Management))
		require.NoError(t, <-hung, "answered, though its context has ended: azeventhubs ignores it")
	})
	_, err = client.GetPartitionProperties(testContext(t), "0", nil)
	require.NoError(t, err)
}

func TestEverythingHangs(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
	client := newConsumer(t, e, "$Default")
	reader := newReader(t, client, "0", owner(0))
	requireEvents(t, reader, "0", 0, 5)
	require.NoError(t, e.Hang(emulator.Everything))
	require.NoError(t, e.AppendAll(1))

	ctx, cancel := context.WithCancel(testContext(t))
	next := events(testContext(t), reader, 1)
	dialing := make(chan error, 1)
	go func() {
		_, err := newConsumer(t, e, "$Default").GetEventHubProperties(ctx, nil)
		dialing <- err
	}()
	require.NoError(t, e.Await(testContext(t), emulator.Everything, emulator.ConnectionsHeld, 1))
	opening := events(ctx, newReader(t, client, "1", plain), 1)
	cancel()
	require.ErrorIs(t, <-dialing, context.Canceled)
	require.ErrorIs(t, (<-opening).err, context.Canceled)
	require.Empty(t, next)
	require.EqualValues(t, 5, e.Stats()["0"].EventsSent)
	require.Zero(t, e.Stats()["1"].LinksOpened)

	require.NoError(t, e.Resume(emulator.Everything))
	require.Len(t, (<-next).events, 1)
	require.EqualValues(t, 1, e.Stats()["0"].LinksOpened, "the link has stayed up")
	_, err := newConsumer(t, e, "$Default").GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
}

// TestNothingIsSentWhileEverythingHangs detaches a reader, which learns of it when the hub goes on.
func TestNothingIsSentWhileEverythingHangs(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	reader := newReader(t, newConsumer(t, e, "$Default"), "0", owner(0))
	requireEvents(t, reader, "0", 0, 5)
	require.NoError(t, e.Hang(emulator.Everything))
	next := events(testContext(t), reader, 1)
	_, err := e.Steal("0")
	require.NoError(t, err)
	for range 100 { // round trips, in which a detach that was sent would arrive
		require.EqualValues(t, 1, e.Stats()["0"].LinksClosed)
	}
	require.Empty(t, next)
	require.NoError(t, e.Resume(emulator.Everything))
	requireCode(t, (<-next).err, azeventhubs.ErrorCodeOwnershipLost)
}

func TestSteal(t *testing.T) {
	for name, options := range map[string]azeventhubs.PartitionClientOptions{"a reader with a level": owner(3), "a reader without": plain} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
			client := newConsumer(t, e, "$Default")
			stolen, elsewhere := newReader(t, client, "0", options), newReader(t, newConsumer(t, e, "other"), "0", options)
			bystander := newReader(t, client, "1", options)
			for _, reader := range []*azeventhubs.PartitionClient{stolen, elsewhere} {
				requireEvents(t, reader, "0", 0, 5)
			}
			requireEvents(t, bystander, "1", 0, 5)

			readers, err := e.Steal("0")
			require.NoError(t, err)
			require.Equal(t, 2, readers)
			requireLost(t, stolen)
			requireLost(t, elsewhere)
			require.Equal(t, emulator.PartitionStats{LinksOpened: 2, LinksClosed: 2, LinksStolen: 2, EventsSent: 10}, e.Stats()["0"])

			require.NoError(t, e.AppendAll(1))
			requireEvents(t, bystander, "1", 5, 1)
			again := newReader(t, client, "0", options)
			requireEvents(t, again, "0", 0, 6) // the thief is gone
			readers, err = e.Steal("0")
			require.NoError(t, err)
			require.Equal(t, 1, readers)
		})
	}
}

func TestDropConnections(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	impatient := newReader(t, newConsumer(t, e, "other"), "0", owner(0))
	requireEvents(t, impatient, "0", 0, 5)
	patient := newReader(t, newPatientConsumer(t, e), "0", owner(9))
	requireEvents(t, patient, "0", 0, 5)

	waiting := events(testContext(t), patient, 1)
	connections, err := e.DropConnections()
	require.NoError(t, err)
	require.Equal(t, 2, connections)
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksClosed, 2))
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksOpened, 3)) // it comes back by itself
	e.Append(t, "0", 1)
	require.Len(t, (<-waiting).events, 1)

	_, err = impatient.ReceiveEvents(testContext(t), 1, nil)
	requireCode(t, err, azeventhubs.ErrorCodeConnectionLost)
	requireEvents(t, impatient, "0", 5, 1) // the next call connects again
}

func TestExpand(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5, FirstSequenceNumber: 1000})
	client := newConsumer(t, e, "$Default")
	reader := newReader(t, client, "0", plain)
	requireEvents(t, reader, "0", 1000, 5)
	_, err := newReader(t, client, "3", plain).ReceiveEvents(testContext(t), 1, nil)
	requireCode(t, err, "")
	require.ErrorContains(t, err, "com.microsoft:argument-out-of-range")

	require.NoError(t, e.Expand(12))
	properties, err := client.GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}, properties.PartitionIDs)
	partition, err := client.GetPartitionProperties(testContext(t), "11", nil)
	require.NoError(t, err)
	require.True(t, partition.IsEmpty)
	require.EqualValues(t, 999, partition.LastEnqueuedSequenceNumber)

	require.NoError(t, e.AppendAll(1))
	requireEvents(t, newReader(t, client, "11", plain), "11", 1000, 1)
	requireEvents(t, reader, "0", 1005, 1) // what was open is not disturbed
	require.Len(t, e.Stats(), 12)

	require.NoError(t, e.SetRate(100))
	requireEvents(t, newReader(t, client, "3", plain), "3", 1000, 5)
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	e := emulator.Start(t, emulator.Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	require.ErrorIs(t, e.Await(ctx, emulator.Partition("0"), emulator.LinksOpened, 1), context.Canceled)
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksOpened, 0))
}
