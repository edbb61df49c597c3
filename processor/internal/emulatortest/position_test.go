package emulatortest

import (
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
	told, err := e.EnqueuedTime("1", at)
	require.NoError(t, err)
	require.True(t, when.Equal(told))
	back := func(d time.Duration) *time.Time { return to.Ptr(when.Add(-d)) }

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
		"from offset between":     {azeventhubs.StartPosition{Offset: to.Ptr(fmt.Sprint((at+1)*64 + 1)), Inclusive: true}, at + 1},
		"from an expired number":  {azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](5), Inclusive: true}, first},
		"after an expired offset": {azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(5))}, first},
		"from the last number":    {azeventhubs.StartPosition{SequenceNumber: to.Ptr(first + count - 1), Inclusive: true}, first + count - 1},
		"from the last offset":    {azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(first + count - 1)), Inclusive: true}, first + count - 1},
		"after the time before":   {azeventhubs.StartPosition{EnqueuedTime: back(time.Millisecond)}, at},
		"after half a time":       {azeventhubs.StartPosition{EnqueuedTime: back(time.Microsecond)}, at},
		"after a day before":      {azeventhubs.StartPosition{EnqueuedTime: back(24 * time.Hour)}, first},
		"earliest":                {earliest, first},
	} {
		t.Run(name, func(t *testing.T) {
			reader := newReader(t, client, "1", azeventhubs.PartitionClientOptions{StartPosition: c.position})
			requireEvents(t, reader, "1", c.want, int(first+count-c.want))
		})
	}
}

// TestStartWhereNothingIsYet opens links behind the last event, which get what comes then.
func TestStartWhereNothingIsYet(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		events   int
		position azeventhubs.StartPosition
	}{
		"latest":                     {5, azeventhubs.StartPosition{Latest: to.Ptr(true)}},
		"default":                    {5, azeventhubs.StartPosition{}},
		"after the last number":      {5, azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](4)}},
		"after the last offset":      {5, azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(4))}},
		"after the time of the last": {5, azeventhubs.StartPosition{}}, // which the emulator knows
		"from a time to come":        {5, azeventhubs.StartPosition{EnqueuedTime: &hour, Inclusive: true}},
		"empty, earliest":            {0, earliest},
		"empty, latest":              {0, azeventhubs.StartPosition{Latest: to.Ptr(true)}},
		"empty, after offset -1":     {0, azeventhubs.StartPosition{Offset: to.Ptr("-1")}},
		"empty, after number -1":     {0, azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](-1)}},
		"empty, from a time":         {0, azeventhubs.StartPosition{EnqueuedTime: to.Ptr(hour.Add(-2 * time.Hour)), Inclusive: true}},
	} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 1, Events: c.events})
			if name == "after the time of the last" {
				when, err := e.EnqueuedTime("0", 4)
				require.NoError(t, err)
				c.position.EnqueuedTime = &when
			}
			first := events(testContext(t), newReader(t, newConsumer(t, e, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: c.position}), 3)
			require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksOpened, 1))
			e.Append(t, "0", 3)
			got := <-first
			require.NoError(t, got.err)
			require.EqualValues(t, c.events, got.events[0].SequenceNumber)
		})
	}
}

// TestStartBeyondTheEnd is what a checkpoint meets whose hub was deleted and made anew.
func TestStartBeyondTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		events   int
		position azeventhubs.StartPosition
		says     string
	}{
		"after a number":               {5, azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](5)}, "The supplied sequence number '5' is invalid. The last sequence number in the system is '4'"},
		"from a number":                {5, azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](5), Inclusive: true}, "The supplied sequence number '5' is invalid. The last sequence number in the system is '4'"},
		"after an offset":              {5, azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(5))}, "The supplied offset '384' is invalid. The last offset in the system is '320'"},
		"after number 0 of no events":  {0, azeventhubs.StartPosition{SequenceNumber: to.Ptr[int64](0)}, "The last sequence number in the system is '-1'"},
		"after an offset of no events": {0, azeventhubs.StartPosition{Offset: to.Ptr(emulator.Offset(0))}, "The last offset in the system is '-1'"},
		"no number":                    {5, azeventhubs.StartPosition{Offset: to.Ptr("no offset")}, "is not understood"},
	} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 1, Events: c.events})
			reader := newReader(t, newConsumer(t, e, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: c.position})
			_, err := reader.ReceiveEvents(testContext(t), 1, nil)
			requireCode(t, err, azeventhubs.ErrorCodeConnectionLost)
			require.ErrorContains(t, err, "com.microsoft:argument-error")
			require.ErrorContains(t, err, c.says)
			require.Equal(t, emulator.PartitionStats{LinksRefused: 1}, e.Stats()["0"])
		})
	}
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
