package test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
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

func TestClaimsCountByOutcome(t *testing.T) {
	r := record(t)
	store := otel.Store(memstore.New(), r.options)
	won, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "a"), claimOf("1", "a")}, nil)
	require.NoError(t, err)
	require.Len(t, won, 2)
	require.Equal(t, map[string]float64{"outcome=won": 2}, r.series("checkpointstore.claims", attribute.Key("outcome")))
	require.Equal(t, map[string]float64{
		"messaging.destination.partition.id=0 outcome=won": 1,
		"messaging.destination.partition.id=1 outcome=won": 1,
	}, r.points(group, "checkpointstore.claims"))
	require.Equal(t, "{claim}", r.metrics()["checkpointstore.claims"].Unit)
	require.True(t, r.metrics()["checkpointstore.claims"].Data.(metricdata.Sum[int64]).IsMonotonic)
}

// claims makes calls of ClaimOwnership, and sees what they are counted as.
type claims struct {
	*testing.T
	r      *recorded
	memory *memstore.Store
	store  checkpointstore.CheckpointStore
	etag   azcore.ETag // of partition "0"
	before map[string]float64
}

func newClaims(t *testing.T) *claims {
	r := record(t)
	memory := memstore.New()
	return &claims{T: t, r: r, memory: memory, store: otel.Store(memory.Share(), r.options), before: map[string]float64{}}
}

// claim claims partition "0" on the state of an ETag, "" for none, and checks the
// outcome, the span, and that the call was no error.
func (c *claims) claim(owner string, etag azcore.ETag, outcome string) {
	c.Helper()
	o := claimOf("0", owner)
	if etag != "" {
		o.ETag = &etag
	}
	won := claim(c.T, c.store, o)
	if len(won) == 1 {
		c.etag = *won[0].ETag
	}
	c.counted(map[string]float64{outcome: 1})
	s := c.r.one()
	require.Equal(c, codes.Unset, s.Status().Code)
	require.EqualValues(c, 1, attributesOf(s.Attributes())[attribute.Key("checkpointstore.claims."+outcome)])
	require.NotContains(c, c.r.series("messaging.client.operation.duration", "error.type"), "error.type")
}

// counted checks which outcomes were counted since the last call.
func (c *claims) counted(want map[string]float64) {
	c.Helper()
	now := make(map[string]float64)
	for _, outcome := range []string{"won", "renewed", "released", "lost", "failed"} {
		now[outcome] = c.r.series("checkpointstore.claims", "outcome")["outcome="+outcome]
		require.Equal(c, want[outcome], now[outcome]-c.before[outcome], outcome)
	}
	c.before = now
}

// another lets another process claim partition "0", whatever its state is.
func (c *claims) another(owner string) {
	c.Helper()
	o := claimOf("0", owner)
	if found, err := c.memory.GetOwnership(c.Context(), group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, "0", nil); err == nil {
		o.ETag = found.ETag
	}
	c.etag = *claim(c.T, c.memory.Share(), o)[0].ETag
}

func TestClaimsThatRenewAndRelease(t *testing.T) {
	c := newClaims(t)
	c.claim("a", "", "won")
	c.claim("a", c.etag, "renewed")
	c.claim("a", c.etag, "renewed")
	c.claim("", c.etag, "released")
	c.claim("a", c.etag, "won")
}

func TestClaimsAgainstAnotherProcess(t *testing.T) {
	c := newClaims(t)
	c.another("b")
	c.claim("a", "", "lost")
	c.claim("a", c.etag, "won") // from b
	own := c.etag
	c.another("b")
	c.claim("a", own, "lost")
	c.claim("a", c.etag, "won") // back
	c.claim("a", c.etag, "renewed")
	c.another("b")
	c.claim("a", c.etag, "won") // back, although no claim was lost in between
	c.another("b")
	c.another("")
	c.claim("a", c.etag, "won")
}

// The record may say that its owner is the same, and yet be of another tenure.
func TestAClaimOnARecordThatSomebodyElseWroteInOnesNameIsNoRenewal(t *testing.T) {
	c := newClaims(t)
	c.claim("a", "", "won")
	c.another("a")
	c.claim("a", c.etag, "won")
}

// Processors of one consumer group may share a store.
func TestOwnersThatShareAStore(t *testing.T) {
	c := newClaims(t)
	c.claim("a", "", "won")
	ofA := c.etag
	c.claim("b", c.etag, "won")
	c.claim("a", ofA, "lost")
	c.claim("b", c.etag, "renewed")
	c.claim("a", c.etag, "won")
	c.claim("a", c.etag, "renewed")
}

func TestRenewalsOfStoresThatQuoteETags(t *testing.T) {
	for name, form := range map[string]struct{ returned, claimed azcore.ETag }{
		"both quoted":   {`"0x1"`, `"0x1"`},
		"both unquoted": {`0x1`, `0x1`},
		"result quoted": {`"0x1"`, `0x1`},
		"claim quoted":  {`0x1`, `"0x1"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			next := &scripted{wins: []checkpointstore.Ownership{claimOn("0", "a", form.returned)}}
			store := otel.Store(next, r.options)
			claim(t, store, claimOf("0", "a"))
			claim(t, store, claimOn("0", "a", form.claimed))
			require.Equal(t, map[string]float64{"outcome=won": 1, "outcome=renewed": 1}, r.series("checkpointstore.claims", "outcome"))
			claim(t, store, claimOn("0", "a", "0x2"))
			require.Equal(t, map[string]float64{"outcome=won": 2, "outcome=renewed": 1}, r.series("checkpointstore.claims", "outcome"))
		})
	}
}

func TestAStoreThatReturnsNoETags(t *testing.T) {
	r := record(t)
	store := otel.Store(&scripted{wins: []checkpointstore.Ownership{claimOf("0", "a")}}, r.options)
	claim(t, store, claimOf("0", "a"))
	claim(t, store, claimOf("0", "a"))
	require.Equal(t, map[string]float64{"outcome=won": 2}, r.series("checkpointstore.claims", "outcome"))
}

// A store may decide about some partitions and fail for others.
func TestClaimsOfWhichSomeFail(t *testing.T) {
	r := record(t)
	next := &scripted{}
	store := otel.Store(next, r.options)
	next.wins = []checkpointstore.Ownership{claimOn("0", "a", "1"), claimOn("1", "a", "1"), claimOn("2", "", "1")}
	next.err = fmt.Errorf("wrapped: %w", &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{
		{PartitionID: "1", Kind: checkpointstore.ErrNotAuthorized}, // it is won all the same
		{PartitionID: "3", Kind: checkpointstore.ErrNotAuthorized, Detail: "no rights"},
	}})
	_, err := store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{
		claimOf("0", "a"), claimOf("1", "a"), claimOn("2", "", "0"), claimOf("3", "a"), claimOf("4", "a"), claimOf("5", "a"),
	}, nil)
	require.Same(t, next.err, err)
	require.Equal(t, map[string]float64{
		"messaging.destination.partition.id=0 outcome=won":      1,
		"messaging.destination.partition.id=1 outcome=won":      1,
		"messaging.destination.partition.id=2 outcome=released": 1,
		"messaging.destination.partition.id=3 outcome=failed":   1,
		"messaging.destination.partition.id=4 outcome=lost":     1,
		"messaging.destination.partition.id=5 outcome=lost":     1,
	}, r.points(group, "checkpointstore.claims"))
	require.Equal(t, map[string]float64{"error.type=not_authorized messaging.operation.name=claim": 1}, r.points(group, "messaging.client.operation.duration"))
	s := r.one()
	require.Equal(t, codes.Error, s.Status().Code)
	require.Equal(t, spanOf(group, map[attribute.Key]any{
		"messaging.operation.name":   "claim",
		"checkpointstore.claims.won": int64(2), "checkpointstore.claims.renewed": int64(0), "checkpointstore.claims.released": int64(1),
		"checkpointstore.claims.lost": int64(2), "checkpointstore.claims.failed": int64(1),
		"error.type": "not_authorized",
	}), attributesOf(s.Attributes()))
}

// A claim that failed says nothing of who owns the partition: if the next one is on
// the last win, that was still the state.
func TestClaimsThatFail(t *testing.T) {
	c := newClaims(t)
	c.claim("a", "", "won")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.store.ClaimOwnership(ended, []checkpointstore.Ownership{claimOn("0", "a", c.etag), claimOf("1", "a")}, nil)
	require.Error(t, err)
	c.counted(map[string]float64{"failed": 2})
	s := c.r.one()
	require.Equal(t, codes.Error, s.Status().Code)
	require.Equal(t, "canceled", attributesOf(s.Attributes())["error.type"])
	require.Equal(t, map[string]float64{"": 1, "error.type=canceled": 1}, c.r.series("messaging.client.operation.duration", "error.type"))
	_, err = c.store.ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("x/y", "a"), claimOf("1", "a")}, nil)
	require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
	c.counted(map[string]float64{"failed": 2})
	require.Equal(t, "invalid_argument", attributesOf(c.r.one().Attributes())["error.type"])
	c.claim("a", c.etag, "renewed")
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

func (n named) Error() string     { return "an error of the kind " + string(n) }
func (n named) ErrorType() string { return string(n) }

// An error may name no kind.
func TestAnErrorWithAnEmptyKind(t *testing.T) {
	r := record(t)
	require.Error(t, otel.Store(&scripted{err: named("")}, r.options).UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
	require.Equal(t, "github.com/ea947076/checkpointstore/otel/test.named", attributesOf(r.one().Attributes())["error.type"])
}

// The text of an error of this module has no credential: it helps as a status. That of
// another error might have one, such as a URL with a shared access signature.
func TestStatusesHaveTheTextsOfThisModulesErrors(t *testing.T) {
	own := &checkpointstore.Error{Op: "UpdateCheckpoint", PartitionID: "0", Kind: checkpointstore.ErrNotAuthorized, Detail: "ask for the role"}
	for text, err := range map[string]error{
		`checkpointstore: UpdateCheckpoint: partition "0": not authorized: ask for the role`: fmt.Errorf("https://account/?sig=c2VjcmV0: %w", own),
		"*errors.errorString":       errors.New("Get https://account/?sig=c2VjcmV0: EOF"),
		"timeout":                   fmt.Errorf("AccountKey=c2VjcmV0: %w", context.DeadlineExceeded),
		"ServerBusy":                &azcore.ResponseError{StatusCode: 503, ErrorCode: "ServerBusy"},
		"checkpointstore: rewound?": &checkpointstore.Error{Detail: "rewound?", Err: errors.New("sig=c2VjcmV0")},
	} {
		r := record(t)
		require.Same(t, err, otel.Store(&scripted{err: err}, r.options).UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
		require.Equal(t, text, r.one().Status().Description)
	}
	r := record(t)
	each := &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{own, {PartitionID: "1"}}}
	_, err := otel.Store(&scripted{err: each}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "the-owner")}, nil)
	require.Same(t, each, err)
	require.Equal(t, each.Error(), r.one().Status().Description)
}

// requireWithout checks that nothing that was reported contains a text.
func (r *recorded) requireWithout(texts ...string) {
	r.t.Helper()
	check := func(of string, values ...any) {
		for _, text := range texts {
			require.NotContains(r.t, fmt.Sprint(values...), text, of)
		}
	}
	for _, s := range r.spans.Ended() {
		check(s.Name(), s.Name(), s.Status(), s.Events(), s.Links())
		for _, a := range s.Attributes() {
			check(s.Name(), a.Key, a.Value.String())
		}
	}
	for name := range r.metrics() {
		r.each(name, func(set attribute.Set, _, _ float64) {
			for _, a := range set.ToSlice() {
				check(name, a.Key, a.Value.String())
			}
		})
	}
}

func TestOwnerIDsAreLeftOut(t *testing.T) {
	const long = "the-owner-with-a-name-of-more-than-sixty-four-bytes-of-which-texts-show-the-first-ones"
	for name, owner := range map[string]string{
		"plain":                 "the-owner",
		"quoted":                `the-"owner"\1`,
		"not valid":             "the-owner\x01",
		"with spaces":           "the-owner  1",
		"not valid and long":    long + "\x01",
		"like a key, not valid": "the-owner;AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2Vjcg==",
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			memory := memstore.New()
			store := otel.Store(memory, r.options)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			claims := []checkpointstore.Ownership{claimOf("0", owner)}
			won, err := store.ClaimOwnership(ctx, claims, nil)
			if err == nil {
				claims = won
			}
			_, _ = store.ClaimOwnership(ctx, claims, nil)
			_, _ = store.ListOwnership(ctx, group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
			_ = store.UpdateCheckpoint(ctx, checkpointOf("0", 1), nil)
			cancel()
			_, _ = store.ClaimOwnership(ctx, claims, nil)
			for _, err := range []error{
				fmt.Errorf("the owner %s failed", owner),
				&checkpointstore.Error{Detail: fmt.Sprintf("the owner %s failed", owner)},
				&checkpointstore.Error{Detail: fmt.Sprintf("the owner %q failed", owner)},
				&checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{PartitionID: "0", Detail: fmt.Sprintf("the owner %q failed", owner)}}},
			} {
				_, _ = otel.Store(&scripted{err: err}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("1", "x-y-z"), claimOf("0", owner)}, nil)
			}
			require.GreaterOrEqual(t, len(r.spans.Ended()), 9)
			r.requireWithout("the-owner", "the-\\\"owner", "the-\"owner", "c2VjcmV0")
		})
	}
}

func TestWithOwnerID(t *testing.T) {
	r := record(t)
	r.options.WithOwnerID = true
	failure := &checkpointstore.Error{Detail: `the claim of "the-owner" failed`}
	_, err := otel.Store(&scripted{err: failure}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "the-owner")}, nil)
	require.Same(t, failure, err)
	s := r.one()
	require.Equal(t, "the-owner", attributesOf(s.Attributes())["messaging.client.id"])
	require.Contains(t, s.Status().Description, "the-owner")
	store := otel.Store(memstore.New(), r.options)
	claim(t, store, claimOf("0", "the-owner"))
	require.Equal(t, "the-owner", attributesOf(r.one().Attributes())["messaging.client.id"])
	require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
	require.NotContains(t, attributesOf(r.one().Attributes()), attribute.Key("messaging.client.id"))
	for name := range r.metrics() {
		r.each(name, func(set attribute.Set, _, _ float64) {
			require.False(t, set.HasValue("messaging.client.id"), "%s: an owner id in metrics makes a series for each", name)
		})
	}
}

// A release has no owner id, which says nothing of the owner.
func TestWithOwnerIDOfARelease(t *testing.T) {
	r := record(t)
	r.options.WithOwnerID = true
	store := otel.Store(memstore.New(), r.options)
	won := claim(t, store, claimOf("0", "a"))
	won[0].OwnerID = ""
	claim(t, store, won[0])
	require.NotContains(t, attributesOf(r.ended()[1].Attributes()), attribute.Key("messaging.client.id"))
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

// Wins are remembered also of calls whose spans are not sampled.
func TestRenewalsBetweenSampledSpans(t *testing.T) {
	r := record(t)
	r.options.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	r.options.MeterProvider = noop.NewMeterProvider()
	store := otel.Store(memstore.New(), r.options)
	won := claim(t, store, claimOf("0", "a"))
	won = claim(t, store, won...)
	require.Empty(t, r.ended())
	sampled := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled}))
	_, err := store.ClaimOwnership(sampled, won, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, attributesOf(r.one().Attributes())["checkpointstore.claims.renewed"])
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
