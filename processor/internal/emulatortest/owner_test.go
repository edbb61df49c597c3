package emulatortest

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// requireLost requires that receiving fails as the partition has another owner.
func requireLost(t *testing.T, reader *azeventhubs.PartitionClient) {
	t.Helper()
	ctx := testContext(t)
	for {
		_, err := reader.ReceiveEvents(ctx, 1, nil)
		if err == nil {
			continue // events that were under way
		}
		var lost *azeventhubs.Error
		require.ErrorAs(t, err, &lost)
		require.Equal(t, azeventhubs.ErrorCodeOwnershipLost, lost.Code)
		return
	}
}

func owner(level int64) azeventhubs.PartitionClientOptions {
	return azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: &level}
}

func TestOwnerIsDisplaced(t *testing.T) {
	for name, levels := range map[string][2]int64{
		"by the same level":  {0, 0},
		"by a higher level":  {0, 1},
		"by a higher level2": {7, 1000000},
	} {
		t.Run(name, func(t *testing.T) {
			e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 5})
			first := newReader(t, newConsumer(t, e, "$Default"), "0", owner(levels[0]))
			requireEvents(t, first, "0", 0, 5)
			bystander := newReader(t, newConsumer(t, e, "$Default"), "1", owner(levels[0]))
			requireEvents(t, bystander, "1", 0, 5)
			inOtherGroup := newReader(t, newConsumer(t, e, "other"), "0", owner(levels[0]))
			requireEvents(t, inOtherGroup, "0", 0, 5)

			second := newReader(t, newConsumer(t, e, "$Default"), "0", owner(levels[1]))
			requireEvents(t, second, "0", 0, 5)
			requireLost(t, first)

			require.NoError(t, e.AppendAll(1))
			requireEvents(t, second, "0", 5, 1)
			requireEvents(t, bystander, "1", 5, 1)
			requireEvents(t, inOtherGroup, "0", 5, 1)
			require.Equal(t, emulator.PartitionStats{LinksOpened: 3, LinksClosed: 1, LinksStolen: 1, EventsSent: 5 + 5 + 5 + 2}, e.Stats()["0"])
			require.Equal(t, emulator.PartitionStats{LinksOpened: 1, EventsSent: 6}, e.Stats()["1"])
		})
	}
}

func TestLowerLevelIsRefused(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	first := newReader(t, newConsumer(t, e, "$Default"), "0", owner(2))
	requireEvents(t, first, "0", 0, 5)
	second := newReader(t, newConsumer(t, e, "$Default"), "0", owner(1))
	_, err := second.ReceiveEvents(testContext(t), 1, nil)
	requireCode(t, err, azeventhubs.ErrorCodeConnectionLost) // a link that never opened is not lost, azeventhubs finds
	require.ErrorContains(t, err, "amqp:link:stolen")
	require.ErrorContains(t, err, "with a higher epoch '2' already exists")
	e.Append(t, "0", 1)
	requireEvents(t, first, "0", 5, 1)
	require.Equal(t, emulator.PartitionStats{LinksOpened: 1, LinksRefused: 1, EventsSent: 6}, e.Stats()["0"])

	require.NoError(t, first.Close(testContext(t)))
	third := newReader(t, newConsumer(t, e, "$Default"), "0", owner(1))
	requireEvents(t, third, "0", 0, 6) // a level holds only as long as its reader is there
}

func TestReadersWithoutLevel(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	first := newReader(t, newConsumer(t, e, "$Default"), "0", plain)
	requireEvents(t, first, "0", 0, 5)
	second := newReader(t, newConsumer(t, e, "$Default"), "0", plain)
	requireEvents(t, second, "0", 0, 5)
	e.Append(t, "0", 1)
	requireEvents(t, first, "0", 5, 1)
	requireEvents(t, second, "0", 5, 1)

	third := newReader(t, newConsumer(t, e, "$Default"), "0", owner(0))
	requireEvents(t, third, "0", 0, 6)
	requireLost(t, first)
	requireLost(t, second)
	require.EqualValues(t, 2, e.Stats()["0"].LinksStolen)

	fourth := newReader(t, newConsumer(t, e, "$Default"), "0", plain)
	_, err := fourth.ReceiveEvents(testContext(t), 1, nil)
	requireCode(t, err, azeventhubs.ErrorCodeConnectionLost)
	require.ErrorContains(t, err, "amqp:link:stolen")
	require.ErrorContains(t, err, "is created with epoch of '0', and so non-epoch receiver is not allowed")
}

func TestClosedConnectionFreesThePartition(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	client := newConsumer(t, e, "$Default")
	requireEvents(t, newReader(t, client, "0", owner(9)), "0", 0, 5)
	require.NoError(t, client.Close(testContext(t))) // without detaching the link
	require.NoError(t, e.Await(testContext(t), emulator.Partition("0"), emulator.LinksClosed, 1))
	requireEvents(t, newReader(t, newConsumer(t, e, "$Default"), "0", owner(1)), "0", 0, 5) // of a lower level
	require.Zero(t, e.Stats()["0"].LinksStolen)
}
