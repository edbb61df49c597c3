package emulatortest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// patience bounds what must happen, so that a defect fails instead of hanging; no test depends on its length.
const patience = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newConsumer returns a client that does not retry, so that the first error is seen.
func newConsumer(t *testing.T, e *emulator.Emulator, group string) *azeventhubs.ConsumerClient {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(e.ConnectionString(), "", group,
		&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func newReader(t *testing.T, client *azeventhubs.ConsumerClient, partition string, options azeventhubs.PartitionClientOptions) *azeventhubs.PartitionClient {
	t.Helper()
	reader, err := client.NewPartitionClient(partition, &options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = reader.Close(context.Background()) })
	return reader
}

// requireEvents receives a number of events and requires that they are those from a sequence number on.
func requireEvents(t *testing.T, reader *azeventhubs.PartitionClient, partition string, first int64, count int) []*azeventhubs.ReceivedEventData {
	t.Helper()
	events, err := reader.ReceiveEvents(testContext(t), count, nil)
	require.NoError(t, err)
	require.Len(t, events, count)
	for i, event := range events {
		sequence := first + int64(i)
		require.Equal(t, sequence, event.SequenceNumber)
		require.Equal(t, emulator.Offset(sequence), event.Offset)
		require.Equal(t, emulator.Body(partition, sequence), string(event.Body))
		require.NotNil(t, event.EnqueuedTime)
	}
	return events
}

var earliest = azeventhubs.StartPosition{Earliest: to.Ptr(true)}

func TestHubProperties(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Hub: "MyHub", Partitions: 3})
	properties, err := newConsumer(t, e, "$Default").GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	require.Equal(t, "MyHub", properties.Name)
	require.Equal(t, "MyHub", e.Hub())
	require.Equal(t, []string{"0", "1", "2"}, properties.PartitionIDs)
	require.False(t, properties.GeoReplicationEnabled)
	require.False(t, properties.CreatedOn.IsZero())
}

func TestPartitionProperties(t *testing.T) {
	for name, options := range map[string]emulator.Options{
		"from 0":             {Partitions: 2, Events: 10},
		"from 100":           {Partitions: 2, Events: 10, FirstSequenceNumber: 100},
		"beyond 2 to the 53": {Partitions: 2, Events: 10, FirstSequenceNumber: 1<<53 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulator.Start(t, options)
			client := newConsumer(t, e, "$Default")
			before, err := client.GetPartitionProperties(testContext(t), "1", nil)
			require.NoError(t, err)
			first := options.FirstSequenceNumber
			require.Equal(t, azeventhubs.PartitionProperties{
				BeginningSequenceNumber:    first,
				EventHubName:               "hub",
				LastEnqueuedOffset:         emulator.Offset(first + 9),
				LastEnqueuedOn:             before.LastEnqueuedOn,
				LastEnqueuedSequenceNumber: first + 9,
				PartitionID:                "1",
			}, before)
			when, err := e.EnqueuedTime("1", first+9)
			require.NoError(t, err)
			require.True(t, when.Equal(before.LastEnqueuedOn))

			e.Append(t, "1", 5)
			after, err := client.GetPartitionProperties(testContext(t), "1", nil)
			require.NoError(t, err)
			require.Equal(t, first+14, after.LastEnqueuedSequenceNumber)
			require.True(t, after.LastEnqueuedOn.After(before.LastEnqueuedOn))
			require.Equal(t, first+14, e.Last("1"))
			require.Equal(t, first+9, e.Last("0"))

			require.NoError(t, e.AppendAll(1))
			require.Equal(t, first+15, e.Last("1"))
			require.Equal(t, first+10, e.Last("0"))
			require.EqualValues(t, -1, e.Last("2"))

			events := requireEvents(t, newReader(t, client, "1", azeventhubs.PartitionClientOptions{StartPosition: earliest}), "1", first, 16)
			require.Equal(t, after.LastEnqueuedOn, *events[14].EnqueuedTime)
		})
	}
}

func TestApplicationProperties(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 1})
	e.AppendWith(t, "0", 2, map[string]string{"Diagnostic-Id": "some id"})
	e.Append(t, "0", 1)
	reader := newReader(t, newConsumer(t, e, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	events := requireEvents(t, reader, "0", 0, 4)
	require.Empty(t, events[0].Properties)
	require.Equal(t, map[string]any{"Diagnostic-Id": "some id"}, events[1].Properties)
	require.Equal(t, map[string]any{"Diagnostic-Id": "some id"}, events[2].Properties)
	require.Empty(t, events[3].Properties)
}

func TestPropertiesOfAPartitionWithoutEvents(t *testing.T) {
	for name, c := range map[string]struct {
		beginning, last int64
		offset          string
	}{
		"never had any":    {0, -1, "-1"},
		"all have expired": {100, 99, emulator.Offset(99)},
	} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 1, FirstSequenceNumber: c.beginning})
			properties, err := newConsumer(t, e, "$Default").GetPartitionProperties(testContext(t), "0", nil)
			require.NoError(t, err)
			require.Equal(t, azeventhubs.PartitionProperties{
				EventHubName: "hub", PartitionID: "0", IsEmpty: true, BeginningSequenceNumber: c.beginning,
				LastEnqueuedOffset: c.offset, LastEnqueuedSequenceNumber: c.last, LastEnqueuedOn: properties.LastEnqueuedOn,
			}, properties)
			require.Equal(t, c.beginning == 0, properties.LastEnqueuedOn.IsZero())
			require.Equal(t, c.last, e.Last("0"))
			e.Append(t, "0", 1)
			when, err := e.EnqueuedTime("0", c.beginning)
			require.NoError(t, err)
			require.True(t, when.After(properties.LastEnqueuedOn))
		})
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 1})
	client := newConsumer(t, e, "$Default")
	_, err := client.GetPartitionProperties(testContext(t), "1", nil)
	require.ErrorContains(t, err, "404")
	_, err = newReader(t, client, "1", azeventhubs.PartitionClientOptions{}).ReceiveEvents(testContext(t), 1, nil)
	requireCode(t, err, "")
	require.ErrorContains(t, err, "com.microsoft:argument-out-of-range")

	elsewhere, err := azeventhubs.NewConsumerClientFromConnectionString(
		strings.Replace(e.ConnectionString(), "EntityPath=hub", "EntityPath=other", 1), "", "$Default",
		&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
	require.NoError(t, err)
	defer func() { require.NoError(t, elsewhere.Close(context.Background())) }()
	_, err = elsewhere.GetEventHubProperties(testContext(t), nil)
	require.ErrorContains(t, err, "404")
	_, err = newReader(t, elsewhere, "0", azeventhubs.PartitionClientOptions{}).ReceiveEvents(testContext(t), 1, nil)
	require.ErrorContains(t, err, "amqp:not-found")
}

func TestNamesIgnoreCase(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Hub: "MyHub", Partitions: 1, Events: 3})
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		strings.Replace(e.ConnectionString(), "MyHub", "myhub", 1), "", "$DEFAULT", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close(context.Background())) }()
	_, err = client.GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	first := newReader(t, client, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: to.Ptr[int64](1)})
	requireEvents(t, first, "0", 0, 3)
	second := newReader(t, newConsumer(t, e, "$default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: to.Ptr[int64](2)})
	requireEvents(t, second, "0", 0, 3)
	requireLost(t, first)
}
