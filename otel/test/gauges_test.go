package test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ea947076/checkpointstore/memstore"
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

func TestSeveralProcessorsWithTheSameHooks(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *hubOf) {
		hooks := otel.Hooks(h.options)
		a := h.start("a", upTo(1000), hooks)
		b := h.start("b", upTo(1000), hooks)
		h.Send("0", "one", "two")
		h.Send("1", "one")
		pass(3 * roundTime)
		require.Len(t, a.Status().Partitions, 1)
		require.Len(t, b.Status().Partitions, 1)
		const second = "messaging.destination.partition.id=1"
		require.Equal(t, map[string]float64{first: 1, second: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Equal(t, map[string]float64{first: 1, second: 0}, h.points(hubGroup, "messaging.eventhubs.checkpoint.sequence_number"))
		require.Equal(t, map[string]float64{first: 0, second: 0}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		a.finish()
		pass(0)
		require.Len(t, h.points(hubGroup, "checkpointstore.partition.owned"), 1, "those of b")
		pass(3 * roundTime)
		require.Equal(t, map[string]float64{first: 1, second: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		b.finish()
		require.NotContains(t, h.metrics(), "checkpointstore.partition.owned")
	})
}

// Without partitions, the Processors of one consumer group in one process have the same
// attributes: none hides what the other has.
func TestSeveralProcessorsWithoutPartition(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *hubOf) {
		h.options.WithoutPartition = true
		hooks := otel.Hooks(h.options)
		a, b := h.start("a", upTo(0), hooks), h.start("b", upTo(0), hooks)
		h.Send("0", "zero", "one", "two")
		pass(10 * time.Second)
		h.Send("1", "zero", "one")
		pass(3 * time.Minute)
		require.Len(t, a.Status().Partitions, 1)
		require.Len(t, b.Status().Partitions, 1)
		require.Equal(t, map[string]float64{"": 2}, h.points(hubGroup, "checkpointstore.partition.owned"))
		require.Equal(t, map[string]float64{"": 3}, h.points(hubGroup, "checkpointstore.consumer.lag.events"))
		oldest := max(time.Since(a.Status().Partitions[0].CheckpointedAt), time.Since(b.Status().Partitions[0].CheckpointedAt))
		require.Equal(t, map[string]float64{"": oldest.Seconds()}, h.points(hubGroup, "checkpointstore.checkpoint.age"))
	})
}

// Of several Processors that read the same consumer group, the longest outage is shown.
func TestOutageOfOneOfSeveralProcessors(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *hubOf) {
		hooks := otel.Hooks(h.options)
		all := []*consumer{h.start("a", waiting, hooks), h.start("b", waiting, hooks), h.start("c", waiting, hooks)}
		pass(opening)
		for _, c := range all {
			c.store.fail(errDown, nil)
			pass(roundTime)
			since := c.Status().StoreErrorSince
			require.Equal(t, map[string]float64{"": time.Since(since).Seconds()}, h.points(hubGroup, "checkpointstore.storage.outage"))
			c.store.fail(nil, nil)
			pass(roundTime)
			require.Equal(t, map[string]float64{"": 0}, h.points(hubGroup, "checkpointstore.storage.outage"))
		}
	})
}

// counted is a meter provider that counts the callbacks of its meters.
type counted struct {
	api.MeterProvider
	callbacks *atomic.Int64
}

func (c counted) Meter(name string, o ...api.MeterOption) api.Meter {
	return countedMeter{c.MeterProvider.Meter(name, o...), c.callbacks}
}

type countedMeter struct {
	api.Meter
	callbacks *atomic.Int64
}

func (m countedMeter) RegisterCallback(f api.Callback, instruments ...api.Observable) (api.Registration, error) {
	m.callbacks.Add(1)
	registration, err := m.Meter.RegisterCallback(f, instruments...)
	return countedRegistration{registration, m.callbacks}, err
}

type countedRegistration struct {
	api.Registration
	callbacks *atomic.Int64
}

func (r countedRegistration) Unregister() error {
	r.callbacks.Add(-1)
	return r.Registration.Unregister()
}

// A Processor is seen by each collection while it runs, and by none afterwards: the
// callback goes with the last one.
func TestNothingIsLeftOfAProcessorThatHasEnded(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *hubOf) {
		callbacks := new(atomic.Int64)
		h.options.MeterProvider = counted{h.options.MeterProvider, callbacks}
		hooks := otel.Hooks(h.options)
		require.Zero(t, callbacks.Load())
		for range 3 {
			a, b := h.start("a", upTo(1000), hooks), h.start("b", upTo(1000), hooks)
			pass(3 * roundTime)
			require.Len(t, h.points(hubGroup, "checkpointstore.partition.owned"), 2)
			require.EqualValues(t, 1, callbacks.Load())
			a.finish()
			require.EqualValues(t, 1, callbacks.Load())
			require.Len(t, h.points(hubGroup, "checkpointstore.partition.owned"), 1)
			b.finish()
			require.Zero(t, callbacks.Load())
			require.NotContains(t, h.metrics(), "checkpointstore.storage.outage")
		}
	})
}

// Until a partition is released it is owned, also while its handler ends.
func TestAPartitionThatIsAboutToBeReleasedIsOwned(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", func(ctx context.Context, _ *processor.Partition) error {
			<-ctx.Done()
			time.Sleep(10 * time.Second)
			return nil
		}, otel.Hooks(h.options))
		pass(opening)
		c.stop()
		pass(9 * time.Second)
		require.ErrorIs(t, c.Status().Partitions[0].Ending, processor.ErrStopping)
		require.Equal(t, map[string]float64{first: 1}, h.points(hubGroup, "checkpointstore.partition.owned"))
		c.finish()
		require.NotContains(t, h.metrics(), "checkpointstore.partition.owned")
	})
}

// A Run that fails at once begins and ends as any other.
func TestARunThatCannotBegin(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		hooks := otel.Hooks(h.options)
		p, err := processor.NewWithEventHub(h.Client("a"), memstore.New(), waiting, &processor.Options{Hooks: hooks})
		require.NoError(t, err)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, p.Run(ended))
		require.Error(t, p.Run(t.Context()), "the second time")
		require.Empty(t, h.metrics())
		hooks.RunEnd(processor.RunEndInfo{Processor: p}) // one that did not start
	})
}

func TestBeforeTheHubWasReadNothingIsShown(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.Hang(true)
		c := h.start("a", waiting, otel.Hooks(h.options))
		pass(time.Second)
		require.Empty(t, h.metrics(), "the consumer group has no name yet")
		h.Hang(false)
		c.finish()
	})
}

// The end of Run waits for no request to the event hub, even if that ignores its
// context.
func TestTheEndOfRunDoesNotWaitForTheEventHub(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		c := h.start("a", upTo(1000), otel.Hooks(h.options))
		end := c.hub.hang()
		pass(opening)
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests())
		stopped := time.Now()
		c.finish()
		require.Zero(t, time.Since(stopped))
		require.NotContains(t, h.metrics(), "checkpointstore.partition.owned")
		pass(time.Hour)
		require.Equal(t, map[string]int{"0": 1}, c.hub.requests(), "nothing more is asked")
		end()
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

// exports counts what a reader exports, by whether partition "0" was owned.
type exports struct {
	mu     sync.Mutex
	counts map[bool]int
}

func (*exports) Temporality(k metric.InstrumentKind) metricdata.Temporality {
	return metric.DefaultTemporalitySelector(k)
}

func (*exports) Aggregation(k metric.InstrumentKind) metric.Aggregation {
	return metric.DefaultAggregationSelector(k)
}
func (*exports) ForceFlush(context.Context) error { return nil }
func (*exports) Shutdown(context.Context) error   { return nil }

func (e *exports) Export(_ context.Context, data *metricdata.ResourceMetrics) error {
	owned := false
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			owned = owned || m.Name == "checkpointstore.partition.owned"
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[owned]++
	return nil
}

// take returns the counts since the last call.
func (e *exports) take() map[bool]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := e.counts
	e.counts = make(map[bool]int)
	return counts
}

// A reader that exports by itself sees a Processor as long as it runs, and collections
// and Processors that begin and end at the same time do not wait for each other.
func TestAReaderThatExportsByItself(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		e := &exports{counts: make(map[bool]int)}
		meters := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(e, metric.WithInterval(time.Minute))))
		h.options.MeterProvider = meters
		hooks := otel.Hooks(h.options)
		c := h.start("a", upTo(1000), hooks)
		pass(5*time.Minute + time.Second)
		require.Equal(t, map[bool]int{true: 5}, e.take())
		c.finish()
		pass(5 * time.Minute)
		require.Equal(t, map[bool]int{false: 5}, e.take())
		require.NoError(t, meters.Shutdown(t.Context()))

		meters = metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(e, metric.WithInterval(100*time.Millisecond))))
		h.options.MeterProvider = meters
		hooks = otel.Hooks(h.options)
		for range 10 {
			a, b := h.start("a", upTo(1000), hooks), h.start("b", upTo(1000), hooks)
			pass(2 * time.Second)
			go a.stop()
			b.stop()
			a.finish()
			b.finish()
		}
		require.Positive(t, e.take()[true])
		require.NoError(t, meters.Shutdown(t.Context()))
	})
}
