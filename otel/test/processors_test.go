package test

import (
	"context"
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

func (*exports) Shutdown(context.Context) error { return nil }

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
