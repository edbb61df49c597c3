package emulatortest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

func TestStartPositions(t *testing.T) {
	const first, count, at = int64(1000), 20, int64(1007)
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: count, FirstSequenceNumber: first})
	client := newConsumer(t, e, "$Default")
	all := requireEvents(t, newReader(t, client, "1", azeventhubs.PartitionClientOptions{StartPosition: earliest}), "1", first, count)
	when := all[at-first].EnqueuedTime

	for name, c := range map[string]struct {
		position azeventhubs.StartPosition
		want     int64
	}{
		"after offset":            {azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(at))}, at + 1},
		"from offset":             {azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(at)), Inclusive: true}, at},
		"after offset -1":         {azeventhubs.StartPosition{Offset: to.Ptr("-1")}, first},
		"after an offset between": {azeventhubs.StartPosition{Offset: to.Ptr(fmt.Sprint((at+1)*64 + 1))}, at + 1},
		"after sequence number":   {azeventhubs.StartPosition{SequenceNumber: to.Ptr(at)}, at + 1},
		"from sequence number":    {azeventhubs.StartPosition{SequenceNumber: to.Ptr(at), Inclusive: true}, at},
		"after sequence number 0": {azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](0)}, first},
		"after enqueued time":     {azeventhubs.StartPosition{EnqueuedTime: when}, at + 1},
		"from enqueued time":      {azeventhubs.StartPosition{EnqueuedTime: when, Inclusive: true}, at},
		"earliest":                {earliest, first},
	} {
		t.Run(name, func(t *testing.T) {
			reader := newReader(t, client, "1", azeventhubs.PartitionClientOptions{StartPosition: c.position})
			requireEvents(t, reader, "1", c.want, int(first+count-c.want))
		})
	}
}

func TestStartAtLatest(t *testing.T) {
	for name, position := range map[string]azeventhubs.StartPosition{
		"latest":  {Latest: to.Ptr(true)},
		"default": {},
	} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
			reader := newReader(t, newConsumer(t, e, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: position})
			appended := make(chan error)
			go func() { // the link opens with the first receive
				for e.Stats() != nil && e.Stats()["0"].LinksOpened == 0 {
					time.Sleep(time.Millisecond)
				}
				appended <- e.AppendAll(3)
			}()
			requireEvents(t, reader, "0", 5, 3)
			require.NoError(t, <-appended)
		})
	}
}

func TestPositionThatIsNoPosition(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	reader := newReader(t, newConsumer(t, e, "$Default"), "0",
		azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Offset: to.Ptr("no offset")}})
	_, err := reader.ReceiveEvents(testContext(t), 1, nil)
	require.ErrorContains(t, err, "com.microsoft:argument-error")
	require.NotZero(t, e.Stats()["0"].LinksRefused) // the client tries twice
}

func TestReadingGoesOnAfterTheLastReceive(t *testing.T) {
	const count = 3000 // more than the credit of a link and than one batch
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: count})
	reader := newReader(t, newConsumer(t, e, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	requireEvents(t, reader, "0", 0, 10)
	requireEvents(t, reader, "0", 10, count-10)
	e.Append(t, "0", 2)
	requireEvents(t, reader, "0", count, 2)
	require.EqualValues(t, count+2, e.Stats()["0"].EventsSent)
}

func TestCreditIsRespected(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 100})
	reader := newReader(t, newConsumer(t, e, "$Default"), "0",
		azeventhubs.PartitionClientOptions{StartPosition: earliest, Prefetch: -1})
	requireEvents(t, reader, "0", 0, 10)
	require.NoError(t, e.AppendAll(100))
	require.EqualValues(t, 10, e.Stats()["0"].EventsSent)
	requireEvents(t, reader, "0", 10, 190)
	require.EqualValues(t, 200, e.Stats()["0"].EventsSent)
}

func TestManyReadersAtOnce(t *testing.T) {
	const partitions, clients, count = 8, 4, 400
	e := emulator.Start(t, emulator.Options{Partitions: partitions, Events: count})
	type result struct {
		events int
		err    error
	}
	results := make(chan result)
	for c := range clients {
		client := newConsumer(t, e, fmt.Sprintf("group%d", c))
		for p := range partitions {
			reader := newReader(t, client, fmt.Sprint(p), azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: to.Ptr[int64](0)})
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				events, err := reader.ReceiveEvents(ctx, count, nil)
				results <- result{len(events), err}
			}()
		}
	}
	for range partitions * clients {
		r := <-results
		require.NoError(t, r.err)
		require.Equal(t, count, r.events)
	}
}
