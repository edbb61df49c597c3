package e2e

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// hubVariable holds the connection string of a hub in Azure to test against, with
// EntityPath. Its consumer group $Default must not be used by anybody else.
const hubVariable = "EVENTHUB_CONNECTION_STRING"

func onService() bool { return os.Getenv(hubVariable) != "" }

// hub is an event hub with events.
type hub struct {
	t          *testing.T
	connection string
	partitions []string
	before     map[string]int64 // the last sequence number before the test's own events

	emulator *emulator.Emulator // nil for the service
	service  *service
}

// newHub gives a hub with that many partitions and events in each. The service's
// has as many partitions as it has, and older events, which are not read.
func newHub(t *testing.T, partitions, events int) *hub {
	h := &hub{t: t, before: make(map[string]int64)}
	if connection := os.Getenv(hubVariable); connection != "" {
		h.connection = connection
		h.service = newService(t, connection)
		h.partitions = h.service.partitions(t)
		for _, id := range h.partitions {
			h.before[id] = h.service.last(t, id)
			h.append(id, events)
		}
		return h
	}
	h.emulator = emulator.Start(t, emulator.Options{Hub: "Hub", Partitions: partitions, Events: events, FirstSequenceNumber: 1000})
	h.connection = h.emulator.ConnectionString()
	for i := range partitions {
		id := strconv.Itoa(i)
		h.partitions = append(h.partitions, id)
		h.before[id] = 999
	}
	return h
}

func (h *hub) append(partition string, events int) {
	h.t.Helper()
	if h.emulator != nil {
		h.emulator.Append(h.t, partition, events)
		return
	}
	h.service.append(h.t, partition, events)
}

func (h *hub) appendAll(events int) {
	h.t.Helper()
	for _, id := range h.partitions {
		h.append(id, events)
	}
}

// rate lets that many events per second come to each partition.
func (h *hub) rate(perSecond float64) {
	h.t.Helper()
	if h.emulator != nil {
		require.NoError(h.t, h.emulator.SetRate(perSecond))
		return
	}
	h.service.rate(h.t, h.partitions, perSecond)
}

func (h *hub) last(partition string) int64 {
	h.t.Helper()
	if h.emulator != nil {
		return h.emulator.Last(partition)
	}
	return h.service.last(h.t, partition)
}

// service is an event hub in Azure.
type service struct {
	producer *azeventhubs.ProducerClient
	stop     context.CancelFunc
	done     sync.WaitGroup
}

func newService(t *testing.T, connection string) *service {
	producer, err := azeventhubs.NewProducerClientFromConnectionString(connection, "", nil)
	require.NoError(t, err, "EVENTHUB_CONNECTION_STRING has to name the hub (EntityPath)")
	s := &service{producer: producer, stop: func() {}}
	t.Cleanup(func() {
		s.stop()
		s.done.Wait()
		_ = producer.Close(context.Background())
	})
	return s
}

func (s *service) partitions(t *testing.T) []string {
	properties, err := s.producer.GetEventHubProperties(context.Background(), nil)
	require.NoError(t, err)
	return properties.PartitionIDs
}

func (s *service) last(t *testing.T, partition string) int64 {
	properties, err := s.producer.GetPartitionProperties(context.Background(), partition, nil)
	require.NoError(t, err)
	return properties.LastEnqueuedSequenceNumber
}

func (s *service) append(t *testing.T, partition string, events int) {
	require.NoError(t, s.send(context.Background(), partition, events))
}

func (s *service) send(ctx context.Context, partition string, events int) error {
	batch, err := s.producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &partition})
	if err != nil {
		return err
	}
	for range events {
		if err := batch.AddEventData(&azeventhubs.EventData{Body: []byte("{}")}, nil); err != nil {
			return err
		}
	}
	if events == 0 {
		return nil
	}
	return s.producer.SendEventDataBatch(ctx, batch, nil)
}

func (s *service) rate(t *testing.T, partitions []string, perSecond float64) {
	s.stop()
	s.done.Wait()
	if perSecond == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Go(func() {
		for ctx.Err() == nil {
			for _, id := range partitions {
				if err := s.send(context.WithoutCancel(ctx), id, max(int(perSecond), 1)); err != nil {
					t.Logf("send: %v", err)
				}
			}
			time.Sleep(time.Second)
		}
	})
}
