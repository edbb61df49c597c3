package otel

import (
	"cmp"
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// scopeName is the name of the tracer and of the meter.
const scopeName = "github.com/ea947076/checkpointstore/otel"

// Options are the options of all functions of this package. Nil is the same as the
// zero value.
type Options struct {
	// TracerProvider and MeterProvider make the tracer and the meter. Nil means the
	// global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// WithoutPartition leaves messaging.destination.partition.id out of the metrics,
	// for hubs with so many partitions that a series for each is too much. Gauges then
	// have the sum of the partitions, or the greatest age or lag in time, and
	// messaging.eventhubs.checkpoint.sequence_number is left out. Spans keep it.
	WithoutPartition bool

	// WithOwnerID adds the owner id to the spans of claims, as messaging.client.id.
	WithOwnerID bool

	// LagInterval is how often [Hooks] reads where the owned partitions end, with one
	// request to the event hub for each, at most 20 a second. A partition that is
	// claimed in between is read within about a second. Zero means 1 minute;
	// negative means never, and no lag. Event Hubs allows 50 such requests a second
	// in a consumer group.
	LagInterval time.Duration
}

// telemetry is what the functions of this package have in common.
type telemetry struct {
	Options
	tracer trace.Tracer
	traces bool // the tracer is not the one that does nothing
	meter  metric.Meter
}

func newTelemetry(options *Options) *telemetry {
	t := &telemetry{}
	if options != nil {
		t.Options = *options
	}
	t.LagInterval = cmp.Or(t.LagInterval, time.Minute)
	if t.TracerProvider == nil {
		t.TracerProvider = otel.GetTracerProvider()
	}
	if t.MeterProvider == nil {
		t.MeterProvider = otel.GetMeterProvider()
	}
	t.tracer = t.TracerProvider.Tracer(scopeName, trace.WithSchemaURL(semconv.SchemaURL))
	_, off := t.tracer.(noop.Tracer)
	t.traces = !off
	t.meter = t.MeterProvider.Meter(scopeName, metric.WithSchemaURL(semconv.SchemaURL))
	return t
}

// noSpan is what spans are with a provider that does nothing.
var noSpan trace.Span = noop.Span{}

// startSpan starts a span.
func (t *telemetry) startSpan(ctx context.Context, name string, options []trace.SpanStartOption) (context.Context, trace.Span) {
	if !t.traces {
		return ctx, noSpan
	}
	return t.tracer.Start(ctx, name, options...)
}

// durations are the buckets that the conventions give for durations in seconds.
var durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// instrument returns an instrument. An error, of which OpenTelemetry's error handler
// is told, leaves an instrument that works as far as it can.
func instrument[T any](i T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return i
}
