package test

import (
	"context"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/storetest"
)

// group is the consumer group of tests without a hub.
var group = checkpointstore.Scope{FullyQualifiedNamespace: "ns.example", EventHubName: "hub", ConsumerGroup: "group"}

func claimOf(partition, owner string) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: group.FullyQualifiedNamespace, EventHubName: group.EventHubName, ConsumerGroup: group.ConsumerGroup,
		PartitionID: partition, OwnerID: owner,
	}
}

// claimOn is a claim on the state of a record that an ETag names.
func claimOn(partition, owner string, etag azcore.ETag) checkpointstore.Ownership {
	o := claimOf(partition, owner)
	o.ETag = &etag
	return o
}

func TestStoreConforms(t *testing.T) {
	r := record(t)
	storetest.Run(t, func(testing.TB) checkpointstore.CheckpointStore { return otel.Store(memstore.New(), r.options) })
	storetest.RunShared(t, func(testing.TB) func() checkpointstore.CheckpointStore {
		first := memstore.New()
		return func() checkpointstore.CheckpointStore { return otel.Store(first.Share(), r.options) }
	})
}

func TestResultsOfTheStorePassThrough(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	r := record(t)
	wins := []checkpointstore.Ownership{claimOn("7", "a", "1")}
	claims := []checkpointstore.Ownership{claimOf("7", "a")}
	failure := &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{PartitionID: "8"}}}
	var got []any
	next := &scripted{wins: wins, err: failure, called: func(ctx context.Context, arguments ...any) {
		require.Equal(t, "value", ctx.Value(key{}))
		require.True(t, trace.SpanFromContext(ctx).IsRecording(), "the requests' spans are children of the call's")
		got = arguments
	}}
	store := otel.Store(next, r.options)

	listed, err := store.ListOwnership(ctx, "n", "h", "g", &checkpointstore.ListOwnershipOptions{})
	require.Same(t, failure, err)
	require.Same(t, &wins[0], &listed[0])
	require.Equal(t, []any{"n", "h", "g", &checkpointstore.ListOwnershipOptions{}}, got)

	_, err = store.ListCheckpoints(ctx, "n", "h", "g", nil)
	require.Same(t, failure, err)
	require.Equal(t, []any{"n", "h", "g", (*checkpointstore.ListCheckpointsOptions)(nil)}, got)

	claimed, err := store.ClaimOwnership(ctx, claims, &checkpointstore.ClaimOwnershipOptions{})
	require.Same(t, failure, err)
	require.Same(t, &wins[0], &claimed[0])
	require.Equal(t, []any{claims, &checkpointstore.ClaimOwnershipOptions{}}, got)

	options := &checkpointstore.UpdateCheckpointOptions{Rewind: true}
	require.Same(t, failure, store.UpdateCheckpoint(ctx, checkpointOf("7", 1), options))
	require.Same(t, options, got[1])
	require.Equal(t, checkpointOf("7", 1), got[0])
}

func TestNoClaimsAreNoCall(t *testing.T) {
	r := record(t)
	_, err := otel.Store(memstore.New(), r.options).ClaimOwnership(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Empty(t, r.ended())
	require.Empty(t, r.metrics())
}

func TestSpansOfTheStore(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	last := func(name string, want map[attribute.Key]any) {
		t.Helper()
		s := r.one()
		require.Equal(t, name, s.Name())
		require.Equal(t, trace.SpanKindClient, s.SpanKind())
		require.Equal(t, codes.Unset, s.Status().Code)
		require.Empty(t, s.Events())
		require.Empty(t, s.Links())
		require.Equal(t, spanOf(group, want), attributesOf(s.Attributes()))
		require.Equal(t, "github.com/ea947076/checkpointstore/otel", s.InstrumentationScope().Name)
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", s.InstrumentationScope().SchemaURL)
	}
	_, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "owner"), claimOf("1", "owner")}, nil)
	require.NoError(t, err)
	last("claim hub", map[attribute.Key]any{
		"messaging.operation.name":   "claim",
		"checkpointstore.claims.won": int64(2), "checkpointstore.claims.renewed": int64(0), "checkpointstore.claims.released": int64(0),
		"checkpointstore.claims.lost": int64(0), "checkpointstore.claims.failed": int64(0),
	})
	_, err = store.ListOwnership(t.Context(), group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
	require.NoError(t, err)
	last("list hub", map[attribute.Key]any{
		"messaging.operation.name": "list", "checkpointstore.record.kind": "ownership", "checkpointstore.records": int64(2),
	})
	require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf("1", 42), nil))
	last("checkpoint hub", map[attribute.Key]any{
		"messaging.operation.name": "checkpoint", "messaging.operation.type": "settle", "messaging.destination.partition.id": "1",
		"outcome": "written", "checkpointstore.sequence_number": int64(42),
	})
	_, err = store.ListCheckpoints(t.Context(), group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
	require.NoError(t, err)
	last("list hub", map[attribute.Key]any{
		"messaging.operation.name": "list", "checkpointstore.record.kind": "checkpoint", "checkpointstore.records": int64(1),
	})
	require.Equal(t, map[string]float64{
		"messaging.operation.name=claim": 1,
		"messaging.operation.name=list":  2,
		"messaging.destination.partition.id=1 messaging.operation.name=checkpoint messaging.operation.type=settle": 1,
	}, r.points(group, "messaging.client.operation.duration"))
	require.Equal(t, "s", r.metrics()["messaging.client.operation.duration"].Unit)
	buckets := r.metrics()["messaging.client.operation.duration"].Data.(metricdata.Histogram[float64]).DataPoints[0].Bounds
	require.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, buckets)
}

func TestCheckpointsCountByOutcome(t *testing.T) {
	r := record(t)
	memory := memstore.New()
	store := otel.Store(memory, r.options)
	claim(t, store, claimOf("0", "a"))
	r.ended()
	update := func(number int64, outcome string, want codes.Code) {
		t.Helper()
		err := store.UpdateCheckpoint(t.Context(), checkpointOf("0", number), nil)
		s := r.one()
		require.Equal(t, want, s.Status().Code, "%v", err)
		require.Equal(t, outcome, attributesOf(s.Attributes())["outcome"])
		if want == codes.Unset {
			require.NotContains(t, attributesOf(s.Attributes()), attribute.Key("error.type"))
		}
	}
	update(10, "written", codes.Unset)
	update(10, "written", codes.Unset)
	update(9, "stale", codes.Unset)
	require.NoError(t, memory.Share().UpdateCheckpoint(t.Context(), checkpointOf("0", 3), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
	update(11, "rewound", codes.Unset)
	update(-1<<63, "failed", codes.Error) // which no store takes

	require.Equal(t, map[string]float64{
		"messaging.destination.partition.id=0 outcome=written": 2,
		"messaging.destination.partition.id=0 outcome=stale":   1,
		"messaging.destination.partition.id=0 outcome=rewound": 1,
		"messaging.destination.partition.id=0 outcome=failed":  1,
	}, r.points(group, "checkpointstore.checkpoints"))
	require.Equal(t, map[string]float64{"": 5, "error.type=invalid_argument": 1}, r.series("messaging.client.operation.duration", "error.type"), "with the claim, each call once")
	m := r.metrics()["checkpointstore.checkpoints"]
	require.Equal(t, "{checkpoint}", m.Unit)
	require.True(t, m.Data.(metricdata.Sum[int64]).IsMonotonic)
}

func TestACheckpointWithoutSequenceNumber(t *testing.T) {
	r := record(t)
	c := checkpointOf("0", 1)
	c.SequenceNumber = nil
	require.NoError(t, otel.Store(&scripted{}, r.options).UpdateCheckpoint(t.Context(), c, nil))
	require.NotContains(t, attributesOf(r.one().Attributes()), attribute.Key("checkpointstore.sequence_number"))
}

func TestErrorsOfTheStore(t *testing.T) {
	calls := map[string]func(context.Context, checkpointstore.CheckpointStore) error{
		"list ownerships": func(ctx context.Context, s checkpointstore.CheckpointStore) error {
			_, err := s.ListOwnership(ctx, group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
			return err
		},
		"list checkpoints": func(ctx context.Context, s checkpointstore.CheckpointStore) error {
			_, err := s.ListCheckpoints(ctx, group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
			return err
		},
		"claim": func(ctx context.Context, s checkpointstore.CheckpointStore) error {
			_, err := s.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf("0", "the-owner")}, nil)
			return err
		},
		"update": func(ctx context.Context, s checkpointstore.CheckpointStore) error {
			return s.UpdateCheckpoint(ctx, checkpointOf("0", 1), nil)
		},
	}
	for name, call := range calls {
		for kind, failure := range map[string]error{
			"container_not_found": &checkpointstore.Error{Op: "Op", Kind: checkpointstore.ErrContainerNotFound, Detail: "create it"},
			"not_authorized":      &checkpointstore.Error{Kind: checkpointstore.ErrNotAuthorized, Err: &azcore.ResponseError{StatusCode: 403, ErrorCode: "AuthorizationFailure"}},
			"credential":          fmt.Errorf("wrapped: %w", checkpointstore.ErrCredential),
			"invalid_argument":    checkpointstore.ErrInvalidArgument,
			"ServerBusy":          &checkpointstore.Error{Err: &azcore.ResponseError{StatusCode: 503, ErrorCode: "ServerBusy"}},
			"502":                 &azcore.ResponseError{StatusCode: 502},
			"timeout":             fmt.Errorf("wrapped: %w", context.DeadlineExceeded),
			"canceled":            context.Canceled,
			"*errors.errorString": &checkpointstore.Error{Err: errDown},
			"quota":               fmt.Errorf("wrapped: %w", named("quota")),
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				r := record(t)
				require.Same(t, failure, call(t.Context(), otel.Store(&scripted{err: failure}, r.options)))
				s := r.one()
				require.Equal(t, codes.Error, s.Status().Code)
				require.NotEmpty(t, s.Status().Description)
				require.Equal(t, kind, attributesOf(s.Attributes())["error.type"])
				require.Equal(t, map[string]float64{"error.type=" + kind: 1}, r.series("messaging.client.operation.duration", "error.type"))
			})
		}
	}
}

// named is an error that names its kind.
type named string

func (n named) Error() string { return "an error of the kind " + string(n) }

func (n named) ErrorType() string { return string(n) }

// An error may name no kind.
func TestAnErrorWithAnEmptyKind(t *testing.T) {
	r := record(t)
	require.Error(t, otel.Store(&scripted{err: named("")}, r.options).UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
	require.Equal(t, "github.com/ea947076/checkpointstore/otel/test.named", attributesOf(r.one().Attributes())["error.type"])
}

func TestStoreIsAChildOfTheCallersSpan(t *testing.T) {
	r := record(t)
	ctx, parent := r.options.TracerProvider.Tracer("test").Start(t.Context(), "parent")
	_, err := otel.Store(memstore.New(), r.options).ListOwnership(ctx, group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
	require.NoError(t, err)
	require.Equal(t, parent.SpanContext().SpanID(), r.one().Parent().SpanID())
}

// Calls in several consumer groups have their own series, also those of the same
// partition.
func TestSeveralConsumerGroups(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	for i, name := range []string{"a", "b", "b"} {
		c := checkpointOf("0", int64(i))
		c.ConsumerGroup = name
		require.NoError(t, store.UpdateCheckpoint(t.Context(), c, nil))
	}
	require.Equal(t, map[string]float64{"messaging.consumer.group.name=a": 1, "messaging.consumer.group.name=b": 2},
		r.series("checkpointstore.checkpoints", "messaging.consumer.group.name"))
}

func TestStoreWithoutPartition(t *testing.T) {
	r := record(t)
	r.options.WithoutPartition = true
	store := otel.Store(memstore.New(), r.options)
	claim(t, store, claimOf("0", "a"), claimOf("1", "a"))
	for _, id := range []string{"0", "1"} {
		require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf(id, 1), nil))
	}
	require.Equal(t, map[string]float64{"outcome=won": 2}, r.points(group, "checkpointstore.claims"))
	require.Equal(t, map[string]float64{"outcome=written": 2}, r.points(group, "checkpointstore.checkpoints"))
	require.Equal(t, map[string]float64{
		"messaging.operation.name=claim":                                      1,
		"messaging.operation.name=checkpoint messaging.operation.type=settle": 2,
	}, r.points(group, "messaging.client.operation.duration"))
	require.Equal(t, "1", attributesOf(r.ended()[2].Attributes())["messaging.destination.partition.id"], "spans keep it")
}

func TestStoreMayBeCalledConcurrently(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	t.Run("calls", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				id := fmt.Sprint(i)
				won := claim(t, store, claimOf(id, "a"))
				for n := range 20 {
					won = claim(t, store, won...)
					require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf(id, int64(n)), nil))
				}
			})
		}
	})
	require.Equal(t, map[string]float64{"outcome=won": 8, "outcome=renewed": 160}, r.series("checkpointstore.claims", "outcome"))
	require.Equal(t, map[string]float64{"outcome=written": 160}, r.series("checkpointstore.checkpoints", "outcome"))
}
