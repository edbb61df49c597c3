package emulatortest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// TestThousandPartitions reads all partitions of the largest hub that Event Hubs has, over one connection.
func TestThousandPartitions(t *testing.T) {
	const partitions = 1024
	e := emulator.Start(t, emulator.Options{Partitions: partitions, Events: 2})
	client := newConsumer(t, e, "$Default")
	properties, err := client.GetEventHubProperties(testContext(t), nil)
	require.NoError(t, err)
	require.Len(t, properties.PartitionIDs, partitions)
	for i, id := range properties.PartitionIDs {
		require.Equal(t, strconv.Itoa(i), id)
	}

	readers := make([]*azeventhubs.PartitionClient, partitions)
	errs := make(chan error, partitions)
	each := func(f func(i int) error) {
		t.Helper()
		var group sync.WaitGroup
		for worker := range 16 {
			group.Go(func() {
				for i := worker; i < partitions; i += 16 {
					errs <- f(i)
				}
			})
		}
		group.Wait()
		for range partitions {
			require.NoError(t, <-errs)
		}
	}
	receive := func(i, count int, last int64) error {
		events, err := readers[i].ReceiveEvents(context.Background(), count, nil)
		if err == nil && events[len(events)-1].SequenceNumber != last {
			err = fmt.Errorf("partition %d: last event %d, want %d", i, events[len(events)-1].SequenceNumber, last)
		}
		return err
	}
	for i := range readers {
		readers[i] = newReader(t, client, strconv.Itoa(i), owner(0))
	}
	each(func(i int) error { return receive(i, 2, 1) })
	require.NoError(t, e.AppendAll(1))
	each(func(i int) error { return receive(i, 1, 2) })
	require.Equal(t, emulator.PartitionStats{LinksOpened: 1, EventsSent: 3}, e.Stats()["1023"])
}
