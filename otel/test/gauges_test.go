package test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

// first is what the gauges of partition "0" have.
const first = "messaging.destination.partition.id=0"

// ofPartitions are the gauges that each owned partition has, except those that need a
// checkpoint or lag.
var ofPartitions = []string{
	"checkpointstore.partition.owned", "checkpointstore.checkpoint.age",
	"checkpointstore.pending.events", "checkpointstore.pending.oldest_age",
}

func TestGaugesOfAPartition(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		gate := make(chan struct{})
		defer close(gate)
		handle := func(ctx context.Context, b *processor.Batch) error {
			if b.Events[0].SequenceNumber >= 2 {
				select {
				case <-gate:
				case <-ctx.Done():
				}
			}
			return context.Cause(ctx)
		}
		h.storeAs("0", 0, nil)
		c := h.start("a", processor.Batches(handle, &processor.BatchOptions{MaxEvents: 1}), otel.Hooks(h.options))
		pass(opening)
		owned := c.Status().Partitions[0].OwnedSince
		pass(time.Minute)
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "checkpointstore.pending.events"))
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "checkpointstore.pending.oldest_age"))
		require.Equal(t, map[string]float64{first: time.Since(owned).Seconds()}, h.points(hubGroup, "checkpointstore.checkpoint.age"), "since it was claimed")
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "messaging.eventhubs.checkpoint.sequence_number"), "of another program")

		h.Send("0", "zero", "one", "two", "three", "four") // the handler begins after the first
		sent := time.Now()
		pass(time.Minute)
		s := c.Status().Partitions[0]
		require.True(t, s.CheckpointedAt.After(owned))
		require.Equal(t, map[string]float64{first: time.Since(s.CheckpointedAt).Seconds()}, h.points(hubGroup, "checkpointstore.checkpoint.age"))
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "messaging.eventhubs.checkpoint.sequence_number"))
		require.Equal(t, map[string]float64{first: 3}, h.points(hubGroup, "checkpointstore.pending.events"))
		require.InDelta(t, time.Since(sent).Seconds(), h.points(hubGroup, "checkpointstore.pending.oldest_age")[first], 0.1)
		require.Equal(t, s.OldestPending.Seconds(), h.points(hubGroup, "checkpointstore.pending.oldest_age")[first])
	})
}

func TestGaugesVanishWhenAPartitionIsLost(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", upTo(1000), otel.Hooks(h.options))
		h.Send("0", "event")
		pass(opening)
		for _, name := range append(ofPartitions, "messaging.eventhubs.checkpoint.sequence_number") {
			require.Len(t, h.points(hubGroup, name), 1, name)
		}
		h.claimAs("b", "0")
		pass(roundTime)
		require.Empty(t, c.Status().Partitions)
		for _, name := range append(ofPartitions, "messaging.eventhubs.checkpoint.sequence_number") {
			require.Empty(t, h.points(hubGroup, name), name)
		}
		require.Equal(t, map[string]float64{"": 0}, h.points(hubGroup, "checkpointstore.storage.outage"), "it runs")
		h.claimAs("", "0")
		pass(roundTime)
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"), "it is back")
		c.finish()
		for name, m := range h.metrics() {
			switch m.Data.(type) {
			case metricdata.Gauge[int64], metricdata.Gauge[float64]:
				require.Fail(t, "a gauge of a Processor that does not run", name)
			}
			require.False(t, strings.HasPrefix(name, "checkpointstore.pending."), name)
		}
		require.NotContains(t, h.metrics(), "checkpointstore.partition.owned")
	})
}

// The handler of a lost partition may go on for a while. Its events are still pending,
// but the rest is the new owner's to tell: otherwise sums over all processes count the
// partition twice.
func TestALostPartitionWhoseHandlerGoesOnIsNotOwned(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		gate := make(chan struct{})
		defer close(gate)
		hooks := otel.Hooks(h.options)
		stuck := func(context.Context, *processor.Batch) error {
			<-gate
			return nil
		}
		h.storeAs("0", 0, nil)
		h.Send("0", "zero", "one")
		a := h.start("a", processor.Batches(stuck, nil), hooks)
		pass(opening)
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		h.claimAs("b", "0")
		pass(2 * time.Minute)
		require.ErrorIs(t, a.Status().Partitions[0].Ending, processor.ErrPartitionLost)
		require.Empty(t, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Empty(t, h.points(hubGroup, "checkpointstore.checkpoint.age"))
		require.Empty(t, h.points(hubGroup, "messaging.eventhubs.checkpoint.sequence_number"))
		require.Empty(t, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.pending.events"))
		require.Greater(t, h.points(hubGroup, "checkpointstore.pending.oldest_age")[first], 100.0)
	})
}

// While the event hub does not respond, the other gauges are shown, and the lag is not.
func TestAnEventHubThatHangs(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", upTo(1000), otel.Hooks(h.options))
		h.Send("0", "event")
		pass(opening)
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		end := c.hub.hang()
		pass(2 * time.Minute)
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Empty(t, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		end()
		c.hub.answer(nil)
		pass(2 * time.Minute)
		require.Equal(t, map[string]float64{first: 0}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
	})
}

func TestOutageOfTheStore(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", upTo(1000), otel.Hooks(h.options))
		pass(opening)
		require.Equal(t, map[string]float64{"": 0}, h.points(hubGroup, "checkpointstore.storage.outage"))
		c.store.fail(errDown, nil)
		pass(roundTime)
		since := c.Status().StoreErrorSince
		require.False(t, since.IsZero())
		require.Equal(t, map[string]float64{"": time.Since(since).Seconds()}, h.points(hubGroup, "checkpointstore.storage.outage"))
		pass(time.Minute)
		require.Equal(t, since, c.Status().StoreErrorSince)
		require.Equal(t, map[string]float64{"": time.Since(since).Seconds()}, h.points(hubGroup, "checkpointstore.storage.outage"))
		require.Greater(t, time.Since(since), time.Minute)
		c.store.fail(nil, nil)
		pass(roundTime)
		require.Equal(t, map[string]float64{"": 0}, h.points(hubGroup, "checkpointstore.storage.outage"))
	})
}

// Without partitions, counts are sums and times are the greatest ones.
func TestGaugesWithoutPartition(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, h *hubOf) {
		h.options.WithoutPartition = true
		gate := make(chan struct{})
		defer close(gate)
		handle := func(ctx context.Context, b *processor.Batch) error {
			if b.Events[0].SequenceNumber == 0 {
				return nil
			}
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return context.Cause(ctx)
		}
		for _, id := range []string{"0", "1", "2"} {
			h.Send(id, "zero")
		}
		c := h.start("a", processor.Batches(handle, &processor.BatchOptions{MaxEvents: 1}), otel.Hooks(h.options))
		pass(roundTime + 20*time.Second) // checkpoints of the first events
		h.Send("1", "one", "two", "three")
		pass(30 * time.Second)
		h.Send("0", "one", "two")
		pass(2 * time.Minute)

		s := c.Status().Partitions
		require.Len(t, s, 3)
		var age, oldest time.Duration
		for _, p := range s {
			age, oldest = max(age, time.Since(p.CheckpointedAt)), max(oldest, p.OldestPending)
		}
		require.Greater(t, oldest, s[0].OldestPending)
		require.Equal(t, map[string]float64{"": 3}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Equal(t, map[string]float64{"": 5}, h.points(hubGroup, "checkpointstore.pending.events"))
		require.Equal(t, map[string]float64{"": oldest.Seconds()}, h.points(hubGroup, "checkpointstore.pending.oldest_age"))
		require.Equal(t, map[string]float64{"": age.Seconds()}, h.points(hubGroup, "checkpointstore.checkpoint.age"))
		require.Equal(t, map[string]float64{"": 5}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		require.Equal(t, map[string]float64{"": 0}, h.points(hubGroup, "checkpointstore.consumer.lost.events"))
		late := h.points(hubGroup, "checkpointstore.consumer.lag.duration")
		require.Equal(t, 0.0, late["method=nothing left"], "of partition 2")
		require.InDelta(t, roundTime.Seconds()+50, late["method=metadata"], 0.1, "of partition 0, whose second event came last")
		require.Len(t, late, 2)
		require.NotContains(t, h.metrics(), "messaging.eventhubs.checkpoint.sequence_number")
	})
}
