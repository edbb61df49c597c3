package otel_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	tnoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/otel"
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
