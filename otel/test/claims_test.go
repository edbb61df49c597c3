package test

import (
	"context"
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
)

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
