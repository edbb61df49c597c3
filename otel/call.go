package otel

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// call is what the calls of one kind in one place have in common: of a store, or of a
// handler.
type call struct {
	span       string // its name
	start      []trace.SpanStartOption
	attributes []attribute.KeyValue // of the duration
	succeeded  []metric.RecordOption
}

// callOf returns a kind of call. Its span has the attributes of its duration, and more.
func (t *telemetry) callOf(p place, kind trace.SpanKind, name string, ofDuration []attribute.KeyValue, ofSpan ...attribute.KeyValue) *call {
	ofDuration = append([]attribute.KeyValue{semconv.MessagingOperationName(name)}, ofDuration...)
	c := &call{
		span: name + " " + p.EventHubName,
		start: []trace.SpanStartOption{
			trace.WithSpanKind(kind),
			trace.WithAttributes(p.attributes(slices.Concat(ofDuration, ofSpan, []attribute.KeyValue{resourceProvider})...)...),
		},
		attributes: t.ofMetrics(p).attributes(ofDuration...),
	}
	c.succeeded = []metric.RecordOption{measuredWith(c.attributes)}
	return c
}

// endedWith are the attributes of the duration of a call that ended with err.
func (c *call) endedWith(err error) []metric.RecordOption {
	if err == nil {
		return c.succeeded
	}
	failed := append(slices.Clip(c.attributes), semconv.ErrorTypeKey.String(errorType(err)))
	return []metric.RecordOption{measuredWith(failed)}
}
