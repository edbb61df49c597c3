package test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// hubGroup is the consumer group of tests with a hub.
var hubGroup = checkpointstore.Scope{
	FullyQualifiedNamespace: processortest.FullyQualifiedNamespace,
	EventHubName:            processortest.EventHubName,
	ConsumerGroup:           processortest.ConsumerGroup,
}

// batchOf is the first attempt of a batch of partition "3" in [group].
func batchOf(events ...*azeventhubs.ReceivedEventData) *processor.Batch {
	return &processor.Batch{Scope: group, PartitionID: "3", Events: events, Attempt: 1}
}

// event is an event with application properties.
func event(properties map[string]any) *azeventhubs.ReceivedEventData {
	return &azeventhubs.ReceivedEventData{EventData: azeventhubs.EventData{Properties: properties}}
}

// handling is what all metrics of a handler of partition "3" have.
const handling = "messaging.destination.partition.id=3 messaging.operation.name=process"

func TestSpanOfOneEvent(t *testing.T) {
	r := record(t)
	e := event(nil)
	e.MessageID = to.Ptr("message 1")
	e.EnqueuedTime = to.Ptr(time.Date(2026, 3, 4, 5, 6, 7, 999_000_000, time.FixedZone("", 3600)))
	handle := otel.Handler(func(ctx context.Context, b *processor.Batch) error {
		require.True(t, trace.SpanFromContext(ctx).IsRecording())
		require.Equal(t, "process hub", r.spans.Started()[0].Name())
		require.Equal(t, r.spans.Started()[0].SpanContext(), trace.SpanContextFromContext(ctx))
		require.Same(t, e, b.Events[0])
		return nil
	}, r.options)
	require.NoError(t, handle(t.Context(), batchOf(e)))
	s := r.one()
	require.Equal(t, "process hub", s.Name())
	require.Equal(t, trace.SpanKindConsumer, s.SpanKind())
	require.Equal(t, codes.Unset, s.Status().Code)
	require.Empty(t, s.Links())
	require.Empty(t, s.Events())
	require.Equal(t, spanOf(group, map[attribute.Key]any{
		"messaging.operation.name":                  "process",
		"messaging.operation.type":                  "process",
		"messaging.destination.partition.id":        "3",
		"messaging.message.id":                      "message 1",
		"messaging.eventhubs.message.enqueued_time": time.Date(2026, 3, 4, 4, 6, 7, 0, time.UTC).Unix(),
		"checkpointstore.batch.attempt":             int64(1),
	}), attributesOf(s.Attributes()))
}

func TestSpanOfAnEventOfWhichLittleIsKnown(t *testing.T) {
	r := record(t)
	handle := otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)
	require.NoError(t, handle(t.Context(), batchOf(event(nil))))
	all := attributesOf(r.one().Attributes())
	for _, key := range []attribute.Key{"messaging.message.id", "messaging.eventhubs.message.enqueued_time", "messaging.batch.message_count"} {
		require.NotContains(t, all, key)
	}
}

func TestSpanOfSeveralEvents(t *testing.T) {
	r := record(t)
	e := event(nil)
	e.MessageID, e.EnqueuedTime = to.Ptr("message 1"), to.Ptr(time.Now())
	b := batchOf(e, e, e)
	b.Attempt = 4
	require.NoError(t, otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)(t.Context(), b))
	require.Equal(t, spanOf(group, map[attribute.Key]any{
		"messaging.operation.name":           "process",
		"messaging.operation.type":           "process",
		"messaging.destination.partition.id": "3",
		"messaging.batch.message_count":      int64(3),
		"checkpointstore.batch.attempt":      int64(4),
	}), attributesOf(r.one().Attributes()))
}

// The contexts that senders give events.
const (
	traceOne = "00-11111111111111111111111111111111-1111111111111111-01"
	traceTwo = "00-22222222222222222222222222222222-2222222222222222-00"
)

func TestLinksOfEvents(t *testing.T) {
	for name, c := range map[string]struct {
		properties map[string]any
		trace      string // "" for no link
		sampled    bool
		state      string
	}{
		"no properties":                  {nil, "", false, ""},
		"traceparent":                    {map[string]any{"traceparent": traceOne}, "1", true, ""},
		"not sampled":                    {map[string]any{"traceparent": traceTwo}, "2", false, ""},
		"traceparent and tracestate":     {map[string]any{"traceparent": traceOne, "tracestate": "vendor=value"}, "1", true, "vendor=value"},
		"tracestate that is not valid":   {map[string]any{"traceparent": traceOne, "tracestate": "???"}, "1", true, ""},
		"Diagnostic-Id":                  {map[string]any{"Diagnostic-Id": traceTwo}, "2", false, ""},
		"both":                           {map[string]any{"traceparent": traceOne, "Diagnostic-Id": traceTwo}, "1", true, ""},
		"traceparent is not valid":       {map[string]any{"traceparent": "00-1-1-01", "Diagnostic-Id": traceTwo}, "2", false, ""},
		"none is valid":                  {map[string]any{"traceparent": "00-1-1-01", "Diagnostic-Id": "|old.format."}, "", false, ""},
		"zeros":                          {map[string]any{"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"}, "", false, ""},
		"other types":                    {map[string]any{"traceparent": []byte(traceOne), "Diagnostic-Id": int64(7), "tracestate": true}, "", false, ""},
		"other spelling":                 {map[string]any{"Traceparent": traceOne, "diagnostic-id": traceTwo}, "", false, ""},
		"tracestate without traceparent": {map[string]any{"tracestate": "vendor=value"}, "", false, ""},
		"tracestate is of another type":  {map[string]any{"traceparent": traceOne, "tracestate": 1}, "1", true, ""},
		"a baggage, which is not a link": {map[string]any{"baggage": "a=b"}, "", false, ""},
		"a version from the future":      {map[string]any{"traceparent": "cc" + traceOne[2:] + "-more"}, "1", true, ""},
		"a version that is not allowed":  {map[string]any{"traceparent": "ff" + traceOne[2:]}, "", false, ""},
		"no context at all":              {map[string]any{"traceparent": "none"}, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			handle := otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)
			require.NoError(t, handle(t.Context(), batchOf(event(c.properties))))
			links := r.one().Links()
			if c.trace == "" {
				require.Empty(t, links)
				return
			}
			require.Len(t, links, 1)
			of := links[0].SpanContext
			require.Equal(t, repeated(c.trace, 32), of.TraceID().String())
			require.Equal(t, repeated(c.trace, 16), of.SpanID().String())
			require.Equal(t, c.sampled, of.IsSampled())
			require.Equal(t, c.state, of.TraceState().String())
			require.True(t, of.IsRemote())
		})
	}
}

func repeated(digit string, n int) string {
	text := ""
	for range n {
		text += digit
	}
	return text
}

func TestABatchHasALinkForEachEventWithAContext(t *testing.T) {
	r := record(t)
	handle := otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)
	require.NoError(t, handle(t.Context(), batchOf(
		event(map[string]any{"traceparent": traceOne}), event(nil), event(map[string]any{"Diagnostic-Id": traceTwo}), event(map[string]any{"traceparent": traceOne}),
	)))
	var got []string
	s := r.one()
	for _, l := range s.Links() {
		got = append(got, l.SpanContext.SpanID().String())
	}
	require.Equal(t, []string{"1111111111111111", "2222222222222222", "1111111111111111"}, got)
	require.False(t, s.Parent().IsValid(), "a batch belongs to none of its events' traces")
}

func TestResultsOfHandlers(t *testing.T) {
	reason := named("a reason")
	two := batchOf(event(nil), event(nil))
	for name, c := range map[string]struct {
		returned error
		kind     string // error.type, "" for none
		text     string // of the span's status
	}{
		"nothing":                           {nil, "", ""},
		"an error":                          {errors.New("no database"), "*errors.errorString", "no database"},
		"an error with a type of its own":   {named("database"), "database", "an error of the kind database"},
		"wrapped":                           {fmt.Errorf("event 7: %w", named("database")), "database", "event 7: an error of the kind database"},
		"partly done":                       {&processor.PartialError{Done: 1}, "", ""},
		"done, but said in a strange way":   {&processor.PartialError{Done: 2}, "", ""},
		"partly done, then an error":        {&processor.PartialError{Done: 1, Err: reason}, "a reason", "an error of the kind a reason"},
		"partly done, wrapped":              {fmt.Errorf("wrapped: %w", &processor.PartialError{Done: 1, Err: reason}), "a reason", "an error of the kind a reason"},
		"partly done, but nothing":          {&processor.PartialError{}, "*processor.PartialError", "0 events are done"},
		"partly done, more than there were": {&processor.PartialError{Done: 3}, "*processor.PartialError", "3 events are done"},
		"fatal":                             {processor.Fatal(reason), "a reason", "an error of the kind a reason"},
		"relinquished":                      {processor.Relinquish(reason), "a reason", "an error of the kind a reason"},
		"a timeout":                         {context.DeadlineExceeded, "timeout", "context deadline exceeded"},
		"an end of a context of its own":    {context.Canceled, "canceled", "context canceled"},
		"an answer of a service":            {&azcore.ResponseError{StatusCode: 429, ErrorCode: "TooManyRequests"}, "TooManyRequests", ""},
		"an error of event hubs":            {&azeventhubs.Error{Code: azeventhubs.ErrorCodeConnectionLost}, "connlost", ""},
		"an error of a store":               {fmt.Errorf("wrapped: %w", checkpointstore.ErrStaleCheckpoint), "stale_checkpoint", "wrapped: stale checkpoint"},
		"a rewind":                          {processor.ErrRewound, "rewound", "processor: checkpoint rewound"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			require.Equal(t, c.returned, otel.Handler(func(context.Context, *processor.Batch) error { return c.returned }, r.options)(t.Context(), two))
			s := r.one()
			if c.kind == "" {
				require.Equal(t, codes.Unset, s.Status().Code)
				require.NotContains(t, attributesOf(s.Attributes()), attribute.Key("error.type"))
				require.Equal(t, map[string]float64{handling: 1}, r.points(group, "messaging.process.duration"))
				return
			}
			require.Equal(t, codes.Error, s.Status().Code)
			if c.text != "" {
				require.Equal(t, c.text, s.Status().Description)
			}
			require.Equal(t, c.kind, attributesOf(s.Attributes())["error.type"])
			require.Equal(t, map[string]float64{"error.type=" + c.kind + " " + handling: 1}, r.points(group, "messaging.process.duration"))
		})
	}
}

// What a handler returns after its context has ended has no effect.
func TestResultsAfterTheEndOfTheContext(t *testing.T) {
	r := record(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	failure := errors.New("late")
	handle := otel.Handler(func(context.Context, *processor.Batch) error {
		cancel(processor.ErrPartitionLost)
		return failure
	}, r.options)
	require.Same(t, failure, handle(ctx, batchOf(event(nil))))
	require.Equal(t, codes.Unset, r.one().Status().Code)
	require.Equal(t, map[string]float64{handling: 1}, r.points(group, "messaging.process.duration"))
}

func TestAHandlerThatPanics(t *testing.T) {
	for name, c := range map[string]struct {
		end   func()
		panic any
	}{
		"panic":  {func() { panic("secret words") }, "secret words"},
		"Goexit": {runtime.Goexit, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			ctx, cancel := context.WithCancel(t.Context())
			handle := otel.Handler(func(context.Context, *processor.Batch) error {
				cancel() // a panic fails the span all the same
				c.end()
				return nil
			}, r.options)
			ended := make(chan any)
			go func() {
				defer func() { ended <- recover() }()
				_ = handle(ctx, batchOf(event(nil)))
			}()
			require.Equal(t, c.panic, <-ended, "the panic goes on")
			s := r.one()
			require.Equal(t, codes.Error, s.Status().Code)
			require.Equal(t, "panic", attributesOf(s.Attributes())["error.type"])
			require.NotContains(t, s.Status().Description, "secret")
			require.Equal(t, map[string]float64{"error.type=panic " + handling: 1}, r.points(group, "messaging.process.duration"))
		})
	}
}

func TestDurationOfHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		handle := otel.Handler(func(context.Context, *processor.Batch) error { time.Sleep(3 * time.Second); return nil }, r.options)
		require.NoError(t, handle(t.Context(), batchOf(event(nil))))
		require.NoError(t, handle(t.Context(), batchOf(event(nil))))
		require.Equal(t, map[string]float64{handling: 2}, r.points(group, "messaging.process.duration"))
		require.Equal(t, map[string]float64{handling: 6}, r.sums(group, "messaging.process.duration"))
		require.Equal(t, "s", r.metrics()["messaging.process.duration"].Unit)
		s := r.ended()[0]
		require.Equal(t, 3*time.Second, s.EndTime().Sub(s.StartTime()))
	})
}

func TestHandlerWithoutPartition(t *testing.T) {
	r := record(t)
	r.options.WithoutPartition = true
	require.NoError(t, otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)(t.Context(), batchOf(event(nil))))
	require.Equal(t, map[string]float64{"messaging.operation.name=process": 1}, r.points(group, "messaging.process.duration"))
	require.Equal(t, "3", attributesOf(r.one().Attributes())["messaging.destination.partition.id"])
}

func TestANilHandler(t *testing.T) {
	require.Nil(t, otel.Handler(nil, nil))
	require.Nil(t, processor.Batches(otel.Handler(nil, nil), nil))
}

func TestHandlerOfBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		fail := true
		handle := func(ctx context.Context, b *processor.Batch) error {
			require.Equal(t, hubGroup, b.Scope)
			if fail {
				fail = false
				return named("first")
			}
			return nil
		}
		p := processortest.Start(t, processor.Batches(otel.Handler(handle, r.options), nil), nil)
		p.Hub.SendEvent("0", azeventhubs.EventData{Body: []byte("one"), Properties: map[string]any{"traceparent": traceOne}})
		p.AwaitCheckpoint(0)
		spans := r.ended()
		require.Len(t, spans, 2)
		for i, s := range spans {
			require.Equal(t, "process hub", s.Name())
			require.Len(t, s.Links(), 1)
			all := attributesOf(s.Attributes())
			require.EqualValues(t, i+1, all["checkpointstore.batch.attempt"])
			require.Equal(t, "0", all["messaging.destination.partition.id"])
			require.EqualValues(t, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), all["messaging.eventhubs.message.enqueued_time"])
		}
		require.Equal(t, map[string]float64{
			"messaging.destination.partition.id=0 messaging.operation.name=process":                  1,
			"error.type=first messaging.destination.partition.id=0 messaging.operation.name=process": 1,
		}, r.points(hubGroup, "messaging.process.duration"))
		require.NoError(t, p.Stop())
	})
}

// A handler that receives for itself can have spans, too.
func TestHandlerOfAHandlerOfOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		handle := otel.Handler(func(context.Context, *processor.Batch) error { return nil }, r.options)
		p := processortest.Start(t, func(ctx context.Context, p *processor.Partition) error {
			for {
				events, err := p.ReceiveEvents(ctx, 1, nil)
				if err != nil {
					return err
				}
				if err := handle(ctx, &processor.Batch{Scope: hubGroup, PartitionID: p.PartitionID(), Events: events}); err != nil {
					return err
				}
				if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
					return err
				}
			}
		}, nil)
		p.Send("one", "two")
		p.AwaitCheckpoint(1)
		require.Len(t, r.ended(), 2)
		require.NoError(t, p.Stop())
	})
}
