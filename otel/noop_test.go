package otel_test

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	tnoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

// accepting is a store that accepts checkpoints.
type accepting struct {
	checkpointstore.CheckpointStore
}

func (accepting) UpdateCheckpoint(context.Context, checkpointstore.Checkpoint, *checkpointstore.UpdateCheckpointOptions) error {
	return nil
}

var noop = &otel.Options{TracerProvider: tnoop.NewTracerProvider(), MeterProvider: mnoop.NewMeterProvider()}

func checkpoint() checkpointstore.Checkpoint {
	n, offset := int64(500), "32000"
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: "mynamespace.servicebus.windows.net", EventHubName: "telemetry", ConsumerGroup: "$Default", PartitionID: "17",
		SequenceNumber: &n, Offset: &offset,
	}
}

func TestStoreWithoutTelemetryAllocatesLittle(t *testing.T) {
	store, at, ctx := otel.Store(accepting{}, noop), checkpoint(), context.Background()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = store.UpdateCheckpoint(ctx, at, nil) }), 2.0)
}

// batch is a batch of events without contexts of their senders.
func batch() *processor.Batch {
	at, enqueued := checkpoint(), time.Now()
	events := make([]*azeventhubs.ReceivedEventData, 100)
	for i := range events {
		events[i] = &azeventhubs.ReceivedEventData{EnqueuedTime: &enqueued}
	}
	return &processor.Batch{
		Scope:       checkpointstore.Scope{FullyQualifiedNamespace: at.FullyQualifiedNamespace, EventHubName: at.EventHubName, ConsumerGroup: at.ConsumerGroup},
		PartitionID: at.PartitionID, Events: events, Attempt: 1,
	}
}

// However many events came.
func TestHooksWithoutTelemetryAllocateNothingForReceivedEvents(t *testing.T) {
	hooks, b := otel.Hooks(noop), batch()
	info := processor.ReceiveInfo{Scope: b.Scope, PartitionID: b.PartitionID, Events: b.Events, Duration: time.Second}
	require.Zero(t, testing.AllocsPerRun(1000, func() { hooks.Receive(info) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		hooks.Checkpoint(processor.CheckpointInfo{Scope: b.Scope, PartitionID: b.PartitionID, Coalesced: 3})
	}))
}

// However many events the batch has.
func TestHandlerWithoutTelemetryAllocatesLittle(t *testing.T) {
	b, ctx := batch(), context.Background()
	handle := otel.Handler(func(context.Context, *processor.Batch) error { return nil }, noop)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = handle(ctx, b) }), 8.0)
}

func BenchmarkPlain(b *testing.B) {
	var store checkpointstore.CheckpointStore = accepting{}
	at, ctx := checkpoint(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = store.UpdateCheckpoint(ctx, at, nil)
	}
}
func BenchmarkNoop(b *testing.B) {
	store, at, ctx := otel.Store(accepting{}, noop), checkpoint(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = store.UpdateCheckpoint(ctx, at, nil)
	}
}
