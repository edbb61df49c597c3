package main

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

// agreeable is a store that does nothing: what remains is the cost of telemetry.
type agreeable struct {
	checkpointstore.CheckpointStore
}

func (agreeable) UpdateCheckpoint(context.Context, checkpointstore.Checkpoint, *checkpointstore.UpdateCheckpointOptions) error {
	return nil
}

func (agreeable) ClaimOwnership(_ context.Context, claims []checkpointstore.Ownership, _ *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	return claims, nil
}

// BenchmarkTelemetry measures what package otel adds to a call: with providers that do
// nothing, with the SDK's metrics, and with the SDK's metrics and traces, in which every
// span is sampled and goes to an exporter that drops it.
func BenchmarkTelemetry(b *testing.B) {
	scope := checkpointstore.Scope{FullyQualifiedNamespace: "mynamespace.servicebus.windows.net", EventHubName: "telemetry", ConsumerGroup: "$Default"}
	n, offset, now := int64(500), "32000", time.Now()
	at := checkpointstore.Checkpoint{
		FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
		PartitionID: "17", SequenceNumber: &n, Offset: &offset,
	}
	var claims []checkpointstore.Ownership
	for i := range 256 {
		claims = append(claims, checkpointstore.Ownership{
			FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName, ConsumerGroup: scope.ConsumerGroup,
			PartitionID: strconv.Itoa(i), OwnerID: "owner",
		})
	}
	batch := &processor.Batch{Scope: scope, PartitionID: "17", Attempt: 1}
	for range 100 {
		event := &azeventhubs.ReceivedEventData{EnqueuedTime: &now}
		event.Properties = map[string]any{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
		batch.Events = append(batch.Events, event)
	}
	handle := func(context.Context, *processor.Batch) error { return nil }
	ctx := context.Background()

	for _, with := range []string{"nothing", "noop", "metrics", "metrics-and-traces"} {
		store, handler, receive := checkpointstore.CheckpointStore(agreeable{}), handle, func(processor.ReceiveInfo) {}
		if with != "nothing" {
			options := telemetryOptions(b, with)
			store, handler, receive = otel.Store(store, options), otel.Handler(handle, options), otel.Hooks(options).Receive
		}
		run := func(name string, f func() error) {
			b.Run(name+"/with="+with, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("checkpoint", func() error { return store.UpdateCheckpoint(ctx, at, nil) })
		run("claims=256", func() error { _, err := store.ClaimOwnership(ctx, claims, nil); return err })
		run("batch=100", func() error { return handler(ctx, batch) })
		run("received=100", func() error {
			receive(processor.ReceiveInfo{Scope: scope, PartitionID: "17", Events: batch.Events, Duration: time.Millisecond})
			return nil
		})
	}
}

func telemetryOptions(b *testing.B, with string) *otel.Options {
	o := &otel.Options{TracerProvider: nooptrace.NewTracerProvider(), MeterProvider: noopmetric.NewMeterProvider()}
	if with == "noop" {
		return o
	}
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	b.Cleanup(func() { require.NoError(b, meters.Shutdown(context.Background())) })
	o.MeterProvider = meters
	if with == "metrics-and-traces" {
		tracers := trace.NewTracerProvider(trace.WithBatcher(tracetest.NewNoopExporter()))
		b.Cleanup(func() { require.NoError(b, tracers.Shutdown(context.Background())) })
		o.TracerProvider = tracers
	}
	return o
}
