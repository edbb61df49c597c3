package test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// receiving is what the metrics of received events of partition "0" have.
const receiving = "messaging.destination.partition.id=0 messaging.operation.name=receive"

func TestReceivedEvents(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		received := make(chan int64, 100)
		h.start("a", func(ctx context.Context, p *processor.Partition) error {
			for {
				events, err := p.ReceiveEvents(ctx, 2, nil)
				if err != nil {
					return err
				}
				received <- events[len(events)-1].SequenceNumber
			}
		}, otel.Hooks(h.options))
		pass(opening)
		require.Empty(t, h.points(hubGroup, "messaging.client.consumed.messages"), "nothing came")

		h.Send("0", "one")
		pass(4 * time.Second)
		h.Send("0", "two")
		pass(0)
		require.EqualValues(t, 1, <-received)
		require.Equal(t, map[string]float64{receiving: 2}, h.points(hubGroup, "messaging.client.consumed.messages"))
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=0": 2}, h.points(hubGroup, "messaging.eventhubs.consumer.lag"))
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=0": 4}, h.sums(hubGroup, "messaging.eventhubs.consumer.lag"))

		h.Deny("0", errors.New("detached"))
		h.Deny("0", nil)
		pass(time.Minute)
		require.EqualValues(t, 1, <-received)
		require.Equal(t, map[string]float64{receiving: 4}, h.points(hubGroup, "messaging.client.consumed.messages"), "each delivery counts")
		require.Equal(t, "{message}", h.metrics()["messaging.client.consumed.messages"].Unit)
		require.Equal(t, 2.0, h.points(hubGroup, "messaging.client.operation.duration")[receiving+" messaging.operation.type=receive"])
	})
}

func TestDurationOfReceives(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", func(ctx context.Context, p *processor.Partition) error {
			_, err := p.ReceiveEvents(ctx, 3, nil)
			<-ctx.Done()
			return err
		}, otel.Hooks(h.options))
		pass(opening)
		begun := c.reading()
		h.Send("0", "one", "two")
		pass(5 * time.Second)
		h.Send("0", "three")
		took := time.Since(begun).Seconds()
		pass(time.Second)
		require.Greater(t, took, 5.0)
		require.InDelta(t, took, h.sums(hubGroup, "messaging.client.operation.duration")[receiving+" messaging.operation.type=receive"], 1e-9, "the wait included")
	})
}

func TestAgesOfReceivedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		ago := func(d time.Duration) *azeventhubs.ReceivedEventData {
			return &azeventhubs.ReceivedEventData{EnqueuedTime: to.Ptr(time.Now().Add(-d))}
		}
		otel.Hooks(r.options).Receive(processor.ReceiveInfo{Scope: group, PartitionID: "3", Duration: 7 * time.Second, Events: []*azeventhubs.ReceivedEventData{
			ago(90 * time.Second), {}, ago(-time.Hour), ago(-1), ago(40 * time.Hour),
		}})
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=3": 4}, r.points(group, "messaging.eventhubs.consumer.lag"), "one has no time")
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=3": 90 + 40*3600}, r.sums(group, "messaging.eventhubs.consumer.lag"))
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=3 messaging.operation.name=receive": 5}, r.points(group, "messaging.client.consumed.messages"))
		require.Equal(t, map[string]float64{"messaging.destination.partition.id=3 messaging.operation.name=receive messaging.operation.type=receive": 7}, r.sums(group, "messaging.client.operation.duration"))
		m := r.metrics()["messaging.eventhubs.consumer.lag"]
		require.Equal(t, "s", m.Unit)
		point := m.Data.(metricdata.Histogram[float64]).DataPoints[0]
		require.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 1800, 3600, 21600, 86400}, point.Bounds)
		require.EqualValues(t, 2, point.BucketCounts[0], "a clock that is behind gives 0")
	})
}

func TestRestartsCountByErrorType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		results := make(chan error, 1)
		p := processortest.Start(t, func(ctx context.Context, _ *processor.Partition) error {
			select {
			case err := <-results:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}, &processor.Options{Hooks: otel.Hooks(r.options)})
		pass(opening)
		for _, err := range []error{nil, named("database"), named("database"), errors.New("no type"), &azeventhubs.Error{Code: azeventhubs.ErrorCodeConnectionLost}} {
			results <- err
			pass(5 * time.Second)
		}
		require.Equal(t, map[string]float64{
			"messaging.destination.partition.id=0":                                1,
			"error.type=database messaging.destination.partition.id=0":            2,
			"error.type=*errors.errorString messaging.destination.partition.id=0": 1,
			"error.type=connlost messaging.destination.partition.id=0":            1,
		}, r.points(hubGroup, "checkpointstore.processor.restarts"))
		require.Equal(t, "{restart}", r.metrics()["checkpointstore.processor.restarts"].Unit)
		require.NoError(t, p.Stop())
	})
}

func TestRestartsBecauseOfTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		p := processortest.Start(t, upTo(1000), &processor.Options{Hooks: otel.Hooks(r.options)})
		p.AwaitReading()
		p.Hub.Deny("0", errors.New("detached"))
		p.Hub.Deny("0", nil)
		pass(5 * time.Second)
		p.Hub.Steal("0")
		pass(5 * time.Second)
		require.Equal(t, map[string]float64{
			"error.type=link_failed messaging.destination.partition.id=0":    1,
			"error.type=partition_lost messaging.destination.partition.id=0": 1, // the link is, for a moment
		}, r.points(hubGroup, "checkpointstore.processor.restarts"))
		require.NoError(t, p.Stop())
		require.Equal(t, 2.0, r.series("checkpointstore.processor.restarts")[""], "the end is no restart")
	})
}

// Batches stores one position for many. Those that it replaced count when it is
// stored, however often that fails before.
func TestCoalescedCheckpoints(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		handle := func(context.Context, *processor.Batch) error { return nil }
		c := h.start("a", processor.Batches(handle, &processor.BatchOptions{MaxEvents: 1}), otel.Hooks(h.options))
		pass(opening)
		c.store.fail(nil, errDown)
		for range 10 {
			h.Send("0", "event")
		}
		pass(time.Minute)
		require.NotNil(t, c.Status().Partitions[0].CheckpointError)
		require.Empty(t, h.series("checkpointstore.checkpoints", "outcome"), "they may still be stored")
		c.store.fail(nil, nil)
		pass(2 * time.Minute)
		require.Equal(t, map[string]float64{
			"messaging.destination.partition.id=0 outcome=written":   1,
			"messaging.destination.partition.id=0 outcome=coalesced": 9,
		}, h.points(hubGroup, "checkpointstore.checkpoints"), "together one for each event")
	})
}

// Of a checkpoint that the store refused, the positions that it stood for are gone.
func TestCoalescedCheckpointsByResult(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want map[string]float64
	}{
		"stored":  {nil, map[string]float64{"messaging.destination.partition.id=3 outcome=coalesced": 4}},
		"stale":   {checkpointstore.ErrStaleCheckpoint, map[string]float64{"messaging.destination.partition.id=3 outcome=coalesced": 4}},
		"rewound": {processor.ErrRewound, map[string]float64{"messaging.destination.partition.id=3 outcome=coalesced": 4}},
		"failed":  {errDown, map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			h := otel.Hooks(r.options)
			h.Checkpoint(processor.CheckpointInfo{Scope: group, PartitionID: "3", SequenceNumber: 9, Coalesced: 4, Err: c.err})
			h.Checkpoint(processor.CheckpointInfo{Scope: group, PartitionID: "3", SequenceNumber: 10, Err: c.err})
			require.Equal(t, c.want, r.points(group, "checkpointstore.checkpoints"))
		})
	}
}

func TestHooksWithoutPartition(t *testing.T) {
	r := record(t)
	r.options.WithoutPartition = true
	h := otel.Hooks(r.options)
	for _, id := range []string{"0", "1"} {
		h.Receive(processor.ReceiveInfo{Scope: group, PartitionID: id, Events: []*azeventhubs.ReceivedEventData{{EnqueuedTime: to.Ptr(time.Now())}}})
		h.Restart(processor.RestartInfo{Scope: group, PartitionID: id, Err: named("x")})
		h.Checkpoint(processor.CheckpointInfo{Scope: group, PartitionID: id, Coalesced: 2})
	}
	require.Equal(t, map[string]float64{"messaging.operation.name=receive": 2}, r.points(group, "messaging.client.consumed.messages"))
	require.Equal(t, map[string]float64{"messaging.operation.name=receive messaging.operation.type=receive": 2}, r.points(group, "messaging.client.operation.duration"))
	require.Equal(t, map[string]float64{"": 2}, r.points(group, "messaging.eventhubs.consumer.lag"))
	require.Equal(t, map[string]float64{"error.type=x": 2}, r.points(group, "checkpointstore.processor.restarts"))
	require.Equal(t, map[string]float64{"outcome=coalesced": 4}, r.points(group, "checkpointstore.checkpoints"))
}

// The hooks of a Processor report nothing that the store and the handler report, too.
func TestHooksLeaveTheRestToTheOthers(t *testing.T) {
	r := record(t)
	h := otel.Hooks(r.options)
	require.Nil(t, h.Claim)
	require.Nil(t, h.HandlerStart)
	require.Nil(t, h.HandlerEnd)
	require.Nil(t, h.BatchEnd)
	require.Nil(t, h.TenureEnd)
	require.Nil(t, h.Outage)
}
