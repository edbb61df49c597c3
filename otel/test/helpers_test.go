package test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/ea947076/checkpointstore"
)

// checkpointOf is a position in [group].
func checkpointOf(partition string, number int64) checkpointstore.Checkpoint {
	offset := fmt.Sprint(100 * number)
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: group.FullyQualifiedNamespace, EventHubName: group.EventHubName, ConsumerGroup: group.ConsumerGroup,
		PartitionID: partition, SequenceNumber: &number, Offset: &offset,
	}
}

// claim makes claims that must not fail.
func claim(t *testing.T, store checkpointstore.CheckpointStore, claims ...checkpointstore.Ownership) []checkpointstore.Ownership {
	t.Helper()
	won, err := store.ClaimOwnership(t.Context(), claims, nil)
	require.NoError(t, err)
	return won
}

// namesOf are the attributes that name a consumer group, as they are in all metrics
// and spans of it.
func namesOf(s checkpointstore.Scope) map[attribute.Key]string {
	return map[attribute.Key]string{
		"messaging.system":              "eventhubs",
		"messaging.destination.name":    s.EventHubName,
		"messaging.consumer.group.name": s.ConsumerGroup,
		"server.address":                s.FullyQualifiedNamespace,
	}
}

// pointOf checks that attributes name the consumer group, and returns the others as
// "key=value key=value", in the order of keys.
func pointOf(t *testing.T, of checkpointstore.Scope, set attribute.Set) string {
	t.Helper()
	names := namesOf(of)
	text := ""
	for _, a := range set.ToSlice() {
		if want, is := names[a.Key]; is {
			require.Equal(t, want, a.Value.AsString(), a.Key)
			delete(names, a.Key)
			continue
		}
		if text != "" {
			text += " "
		}
		text += string(a.Key) + "=" + a.Value.String()
	}
	require.Empty(t, names, "missing attributes")
	return text
}

// points are the values of a metric of a consumer group by all attributes but its
// names. Those of a histogram are their counts.
func (r *recorded) points(of checkpointstore.Scope, name string) map[string]float64 {
	r.t.Helper()
	values := make(map[string]float64)
	r.each(name, func(set attribute.Set, value, _ float64) {
		text := pointOf(r.t, of, set)
		require.NotContains(r.t, values, text)
		values[text] = value
	})
	return values
}

// sums are like points, but the sums of a histogram.
func (r *recorded) sums(of checkpointstore.Scope, name string) map[string]float64 {
	r.t.Helper()
	values := make(map[string]float64)
	r.each(name, func(set attribute.Set, _, sum float64) { values[pointOf(r.t, of, set)] = sum })
	return values
}

// each calls f with each data point of a metric: its value or count, and its sum.
func (r *recorded) each(name string, f func(set attribute.Set, value, sum float64)) {
	r.t.Helper()
	switch data := r.metrics()[name].Data.(type) {
	case nil:
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			f(p.Attributes, float64(p.Value), 0)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			f(p.Attributes, float64(p.Value), 0)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			f(p.Attributes, p.Value, 0)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			f(p.Attributes, float64(p.Count), p.Sum)
		}
	default:
		require.Failf(r.t, "unexpected data", "%s: %T", name, data)
	}
}

// ended returns the spans that have ended since the last call.
func (r *recorded) ended() []trace.ReadOnlySpan {
	spans := r.spans.Ended()
	r.spans.Reset()
	return spans
}

// one returns the only span that has ended since the last call.
func (r *recorded) one() trace.ReadOnlySpan {
	r.t.Helper()
	spans := r.ended()
	require.Len(r.t, spans, 1)
	return spans[0]
}

// attributesOf are attributes by key.
func attributesOf(list []attribute.KeyValue) map[attribute.Key]any {
	all := make(map[attribute.Key]any)
	for _, a := range list {
		all[a.Key] = a.Value.AsInterface()
	}
	return all
}

// spanOf are the attributes that a span of a consumer group has, and more.
func spanOf(of checkpointstore.Scope, more map[attribute.Key]any) map[attribute.Key]any {
	all := map[attribute.Key]any{"azure.resource_provider.namespace": "Microsoft.EventHub"}
	for key, name := range namesOf(of) {
		all[key] = name
	}
	for key, value := range more {
		all[key] = value
	}
	return all
}

// pass lets time go by in a bubble, and everything come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// scripted is a store whose calls do what a test says. The zero value succeeds and
// returns nothing.
type scripted struct {
	err    error // of every call
	wins   []checkpointstore.Ownership
	called func(ctx context.Context, arguments ...any)
}

func (s *scripted) note(ctx context.Context, arguments ...any) {
	if s.called != nil {
		s.called(ctx, arguments...)
	}
}

func (s *scripted) ListOwnership(ctx context.Context, namespace, hub, group string, o *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.note(ctx, namespace, hub, group, o)
	return s.wins, s.err
}

func (s *scripted) ListCheckpoints(ctx context.Context, namespace, hub, group string, o *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	s.note(ctx, namespace, hub, group, o)
	return nil, s.err
}

func (s *scripted) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, o *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.note(ctx, claims, o)
	return s.wins, s.err
}

func (s *scripted) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, o *checkpointstore.UpdateCheckpointOptions) error {
	s.note(ctx, c, o)
	return s.err
}

var errDown = errors.New("the store is down")
