package test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ea947076/checkpointstore/otel"
)

// recorded keeps in memory what package otel reports.
type recorded struct {
	t       *testing.T
	options *otel.Options
	reader  *metric.ManualReader
	spans   *tracetest.SpanRecorder
}

func record(t *testing.T) *recorded {
	r := &recorded{t: t, reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	tracers := trace.NewTracerProvider(trace.WithSpanProcessor(r.spans))
	meters := metric.NewMeterProvider(metric.WithReader(r.reader))
	r.options = &otel.Options{TracerProvider: tracers, MeterProvider: meters}
	t.Cleanup(func() {
		require.NoError(t, tracers.Shutdown(context.Background()))
		require.NoError(t, meters.Shutdown(context.Background()))
	})
	return r
}

// metrics returns what the instruments have now, by name.
func (r *recorded) metrics() map[string]metricdata.Metrics {
	r.t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(r.t, r.reader.Collect(r.t.Context(), &data))
	all := make(map[string]metricdata.Metrics)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			require.NotContains(r.t, all, m.Name, "an instrument that was made twice with different definitions")
			all[m.Name] = m
		}
	}
	return all
}

// series are the values of a metric by the attributes that matter, as "key=value
// key=value" in the order of keys. Those of a histogram are their counts.
func (r *recorded) series(name string, keys ...attribute.Key) map[string]float64 {
	r.t.Helper()
	m, found := r.metrics()[name]
	if !found {
		return nil
	}
	values := make(map[string]float64)
	add := func(set attribute.Set, value float64) {
		text := ""
		for _, key := range keys {
			if v, has := set.Value(key); has {
				if text != "" {
					text += " "
				}
				text += string(key) + "=" + v.String()
			}
		}
		values[text] += value
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, float64(p.Count))
		}
	default:
		require.Failf(r.t, "unexpected data", "%s: %T", name, m.Data)
	}
	return values
}
