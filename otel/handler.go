package otel

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/ea947076/checkpointstore/processor"
)

// Handler returns a handler of batches that calls handle and reports each call as a
// span, "process <event hub>", and in messaging.process.duration. Give it to
// [processor.Batches]. It returns nil if handle is nil.
//
// The span has a link to the context of each event that has one: in the event's
// application properties traceparent and tracestate (W3C Trace Context), else
// Diagnostic-Id, which older Azure SDKs write. handle gets a context with the span.
//
// An error fails the span, and so does a panic. A [processor.PartialError] without Err
// does not, and neither does what handle returns after its context has ended, because
// it has no effect. The error's text becomes the span's status: it must not contain a
// secret.
//
// A handler that receives for itself, and one of azeventhubs' Processor, can call the
// returned function with a [processor.Batch] of the events that it received.
func Handler(handle func(context.Context, *processor.Batch) error, options *Options) func(context.Context, *processor.Batch) error {
	if handle == nil {
		return nil
	}
	t := newTelemetry(options)
	h := &handler{telemetry: t, handle: handle, duration: instrument(messagingconv.NewProcessDuration(t.meter, metric.WithExplicitBucketBoundaries(durations...))).Inst()}
	h.calls = newPerPlace(func(p place) *call {
		return t.callOf(p, trace.SpanKindConsumer, "process", nil, semconv.MessagingOperationTypeProcess)
	})
	return h.process
}

type handler struct {
	*telemetry
	handle   func(context.Context, *processor.Batch) error
	duration metric.Float64Histogram
	calls    *perPlace[*call]
}

// errPanicked is the failure of a handler that did not return.
var errPanicked error = panicked{}

type panicked struct{}

func (panicked) Error() string     { return "the handler panicked" }
func (panicked) ErrorType() string { return "panic" }

func (h *handler) process(ctx context.Context, b *processor.Batch) error {
	c := h.calls.get(place{b.Scope, b.PartitionID})
	start := c.start
	if h.traces {
		start = append(start[:len(start):len(start)], trace.WithLinks(links(b.Events)...), trace.WithAttributes(ofBatch(b)...))
	}
	within, span := h.startSpan(ctx, c.span, start)
	begun := time.Now()
	err := errPanicked
	defer func() { // also after a panic
		h.end(within, c, span, begun, failureOf(ctx, b, err))
	}()
	err = h.handle(within, b)
	return err
}

// end ends a call of the handler.
func (h *handler) end(ctx context.Context, c *call, span trace.Span, begun time.Time, err error) {
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
		span.SetStatus(codes.Error, err.Error())
	}
	h.duration.Record(ctx, time.Since(begun).Seconds(), c.endedWith(err)...)
	span.End()
}

// failureOf is what failed in a call of the handler, nil if nothing did.
func failureOf(ctx context.Context, b *processor.Batch, err error) error {
	var partial *processor.PartialError
	switch {
	case err == errPanicked:
		return err
	case ctx.Err() != nil:
		return nil
	case !errors.As(err, &partial):
		return err
	case partial.Err != nil:
		return partial.Err
	case 0 < partial.Done && partial.Done <= len(b.Events):
		return nil
	}
	return err // for processor.Batches, too: nothing is done
}

// ofBatch are the attributes of a batch. The conventions give the number of messages
// for more than one, and the enqueued time for one.
func ofBatch(b *processor.Batch) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.Int("checkpointstore.batch.attempt", b.Attempt)}
	if len(b.Events) != 1 {
		return append(all, semconv.MessagingBatchMessageCount(len(b.Events)))
	}
	e := b.Events[0]
	if e.EnqueuedTime != nil {
		all = append(all, semconv.MessagingEventHubsMessageEnqueuedTime(int(e.EnqueuedTime.Unix())))
	}
	if e.MessageID != nil {
		all = append(all, semconv.MessagingMessageID(*e.MessageID))
	}
	return all
}

// links are links to the contexts of the events that have one.
func links(events []*azeventhubs.ReceivedEventData) []trace.Link {
	var all []trace.Link
	for _, e := range events {
		if of := contextOf(e); of.IsValid() {
			all = append(all, trace.Link{SpanContext: of})
		}
	}
	return all
}

// contextOf returns the context that the sender of an event gave it.
func contextOf(e *azeventhubs.ReceivedEventData) trace.SpanContext {
	for _, parent := range []string{"traceparent", "Diagnostic-Id"} {
		if e.Properties[parent] == nil {
			continue
		}
		from := carrier{parent, e.Properties}
		of := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), from))
		if of.IsValid() {
			return of
		}
	}
	return trace.SpanContext{}
}

// carrier reads W3C Trace Context from the application properties of an event.
type carrier struct {
	parent     string // the property in which traceparent stands
	properties map[string]any
}

func (c carrier) Get(key string) string {
	if key == "traceparent" {
		key = c.parent
	}
	text, _ := c.properties[key].(string)
	return text
}

func (c carrier) Set(string, string) {} // an event that was received is not changed

func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c.properties)) }
