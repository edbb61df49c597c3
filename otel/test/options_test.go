package test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	global "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

// Without options, everything goes to the global providers.
func TestNilOptionsMeanTheGlobalProviders(t *testing.T) {
	tracers, meters := global.GetTracerProvider(), global.GetMeterProvider()
	defer func() {
		global.SetTracerProvider(tracers)
		global.SetMeterProvider(meters)
	}()
	r := record(t)
	global.SetTracerProvider(r.options.TracerProvider)
	global.SetMeterProvider(r.options.MeterProvider)
	for _, options := range []*otel.Options{nil, {}} {
		store := otel.Store(memstore.New(), options)
		claim(t, store, claimOf("0", "a"))
		require.NoError(t, otel.Handler(func(context.Context, *processor.Batch) error { return nil }, options)(t.Context(), batchOf(event(nil))))
		otel.Hooks(options).Restart(processor.RestartInfo{Scope: group, PartitionID: "0"})
	}
	require.Len(t, r.ended(), 4)
	require.Equal(t, map[string]float64{"outcome=won": 2}, r.series("checkpointstore.claims", "outcome"))
	require.Equal(t, map[string]float64{"": 2}, r.series("messaging.process.duration"))
	require.Equal(t, map[string]float64{"": 2}, r.series("checkpointstore.processor.restarts"))
}

func TestTheMeterHasANameAndASchema(t *testing.T) {
	r := record(t)
	claim(t, otel.Store(memstore.New(), r.options), claimOf("0", "a"))
	var data metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &data))
	require.Len(t, data.ScopeMetrics, 1)
	require.Equal(t, "github.com/ea947076/checkpointstore/otel", data.ScopeMetrics[0].Scope.Name)
	require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", data.ScopeMetrics[0].Scope.SchemaURL)
}

// The functions may share options, and instruments with them; a change of the options
// afterwards has no effect.
func TestOptionsAreCopied(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	hooks := otel.Hooks(r.options)
	r.options.WithoutPartition, r.options.WithOwnerID = true, true
	require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf("3", 1), nil))
	hooks.Checkpoint(processor.CheckpointInfo{Scope: group, PartitionID: "3", Coalesced: 5})
	require.Equal(t, map[string]float64{
		"messaging.destination.partition.id=3 outcome=written":   1,
		"messaging.destination.partition.id=3 outcome=coalesced": 5,
	}, r.points(group, "checkpointstore.checkpoints"))
}

// refusing is a meter provider whose meters refuse a callback.
type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errDown
}

func (refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return noop.Int64Counter{}, errDown
}

// An instrument that cannot be made does not stop the program: OpenTelemetry's error
// handler is told of it.
func TestErrorsOfTheMeterGoToTheErrorHandler(t *testing.T) {
	told, before := 0, global.GetErrorHandler()
	global.SetErrorHandler(global.ErrorHandlerFunc(func(err error) {
		if errors.Is(err, errDown) {
			told++
		}
	}))
	defer global.SetErrorHandler(before)
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		h.options.MeterProvider = refusing{}
		c := h.start("a", upTo(1000), otel.Hooks(h.options))
		h.Send("0", "event")
		pass(opening)
		require.NotNil(t, c.Status().Partitions[0].CheckpointSequenceNumber)
		c.finish()
	})
	require.Equal(t, 6, told, "the counters of the store and the hooks, and the callback")
}

// A view may drop what is not wanted.
func TestViewsApply(t *testing.T) {
	r := record(t)
	reader := sdk.NewManualReader()
	r.reader = reader
	r.options.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader), sdk.WithView(sdk.NewView(
		sdk.Instrument{Name: "messaging.eventhubs.consumer.lag"}, sdk.Stream{Aggregation: sdk.AggregationDrop{}})))
	otel.Hooks(r.options).Receive(processor.ReceiveInfo{Scope: group, PartitionID: "3", Events: batchOf(event(nil)).Events})
	require.NotContains(t, r.metrics(), "messaging.eventhubs.consumer.lag")
	require.Equal(t, map[string]float64{"": 1}, r.series("messaging.client.consumed.messages"))
}
