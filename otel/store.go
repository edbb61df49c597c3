package otel

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/ea947076/checkpointstore"
)

// The names of the calls of a store, as messaging.operation.name and in the names of
// spans.
const (
	opList       = "list"
	opClaim      = "claim"
	opCheckpoint = "checkpoint"
)

// The outcomes of a checkpoint.
const (
	written   = "written"
	coalesced = "coalesced" // replaced by a later one before it was written: [Hooks] counts it
	stale     = "stale"     // behind the stored one
	rewound   = "rewound"   // of an earlier generation than the stored one
	failed    = "failed"    // also of a claim
)

// The other outcomes of a claim.
const (
	won      = "won"      // the partition had another owner, or none
	renewed  = "renewed"  // the claim replaced this store's own last win
	released = "released" // the partition has no owner
	lost     = "lost"     // another owner was faster
)

// Store returns a store that reports the calls to next, and passes on what they
// return unchanged.
//
// Each call has a span, "list <event hub>", "claim <event hub>" or "checkpoint <event
// hub>", with the number of records, claims of each outcome, or the checkpoint's
// outcome; and its time in messaging.client.operation.duration, retries included.
// checkpointstore.claims and checkpointstore.checkpoints count by outcome. A lost
// claim and a stale or rewound checkpoint are results, not errors. The status of a span
// has the text of an error only if the error is one of this module, whose texts have
// no credentials; otherwise it is error.type.
//
// Store sends no requests. It may be called concurrently if next may.
func Store(next checkpointstore.CheckpointStore, options *Options) checkpointstore.CheckpointStore {
	t := newTelemetry(options)
	return &store{
		telemetry:   t,
		next:        next,
		duration:    t.operationDuration(),
		claims:      instrument(t.meter.Int64Counter("checkpointstore.claims", metric.WithUnit("{claim}"), metric.WithDescription("Claims of partitions, by outcome."))),
		checkpoints: t.checkpointCounter(),
		listing:     newPerPlace(func(p place) *call { return t.callOf(p, trace.SpanKindClient, opList, nil) }),
		claiming:    newPerPlace(func(p place) *call { return t.callOf(p, trace.SpanKindClient, opClaim, nil) }),
		updating: newPerPlace(func(p place) *call {
			return t.callOf(p, trace.SpanKindClient, opCheckpoint, []attribute.KeyValue{semconv.MessagingOperationTypeSettle})
		}),
		checkpointOutcomes: newPerPlace(func(p place) outcomes { return t.outcomesOf(p, written, stale, rewound, failed) }),
		claimOutcomes:      newPerPlace(func(p place) outcomes { return t.outcomesOf(p, won, renewed, released, lost, failed) }),
		wins:               make(map[place]win),
	}
}

type store struct {
	*telemetry
	next checkpointstore.CheckpointStore

	duration            metric.Float64Histogram
	claims, checkpoints metric.Int64Counter

	listing, claiming, updating       *perPlace[*call]
	checkpointOutcomes, claimOutcomes *perPlace[outcomes]

	mu   sync.Mutex
	wins map[place]win // the last one of each partition
}

// win is a claim that was won.
type win struct {
	ownerID string
	etag    azcore.ETag
}

func (t *telemetry) operationDuration() metric.Float64Histogram {
	return instrument(messagingconv.NewClientOperationDuration(t.meter, metric.WithExplicitBucketBoundaries(durations...))).Inst()
}

func (t *telemetry) checkpointCounter() metric.Int64Counter {
	return instrument(t.meter.Int64Counter("checkpointstore.checkpoints", metric.WithUnit("{checkpoint}"), metric.WithDescription("Checkpoints, by outcome.")))
}

// begin begins a call.
func (s *store) begin(ctx context.Context, c *call) (context.Context, trace.Span, time.Time) {
	ctx, span := s.startSpan(ctx, c.span, c.start)
	var begun time.Time
	if s.duration.Enabled(ctx) {
		begun = time.Now()
	}
	return ctx, span, begun
}

// end ends a call, which made claims if it is one of ClaimOwnership.
func (s *store) end(ctx context.Context, c *call, span trace.Span, begun time.Time, err error, claims ...checkpointstore.Ownership) {
	if !begun.IsZero() {
		s.duration.Record(ctx, time.Since(begun).Seconds(), c.endedWith(err)...)
	}
	if err != nil && span.IsRecording() {
		kind := errorType(err)
		text, ok := shownText(err)
		if !ok || !s.WithOwnerID && mayName(err, text, claims) {
			text = kind
		}
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		span.SetStatus(codes.Error, text)
	}
	span.End()
}

// shownText returns the text of the error of this module that err is or wraps. It has
// no credential, unlike the texts of other errors: that of a failed request may have
// its URL.
func shownText(err error) (string, bool) {
	var each *checkpointstore.PartitionErrors
	var own *checkpointstore.Error
	switch {
	case errors.As(err, &each):
		return each.Error(), true
	case errors.As(err, &own):
		return own.Error(), true
	}
	return "", false
}

// mayName reports whether the text of an error may have the owner id of a claim. That
// of an invalid argument has a part of it.
func mayName(err error, text string, claims []checkpointstore.Ownership) bool {
	if len(claims) > 0 && errors.Is(err, checkpointstore.ErrInvalidArgument) {
		return true
	}
	return slices.ContainsFunc(claims, func(c checkpointstore.Ownership) bool {
		quoted := strconv.Quote(c.OwnerID)
		return c.OwnerID != "" && (strings.Contains(text, c.OwnerID) || strings.Contains(text, quoted[1:len(quoted)-1]))
	})
}

func placeOf(namespace, eventHub, group, partitionID string) place {
	return place{checkpointstore.Scope{FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group}, partitionID}
}

// ListOwnership implements [checkpointstore.CheckpointStore].
func (s *store) ListOwnership(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	return list(s, ctx, placeOf(namespace, eventHub, group, ""), "ownership", func(ctx context.Context) ([]checkpointstore.Ownership, error) {
		return s.next.ListOwnership(ctx, namespace, eventHub, group, options)
	})
}

// ListCheckpoints implements [checkpointstore.CheckpointStore].
func (s *store) ListCheckpoints(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	return list(s, ctx, placeOf(namespace, eventHub, group, ""), "checkpoint", func(ctx context.Context) ([]checkpointstore.Checkpoint, error) {
		return s.next.ListCheckpoints(ctx, namespace, eventHub, group, options)
	})
}

func list[Record any](s *store, ctx context.Context, p place, kind string, next func(context.Context) ([]Record, error)) ([]Record, error) {
	c := s.listing.get(p)
	ctx, span, begun := s.begin(ctx, c)
	records, err := next(ctx)
	if span.IsRecording() {
		span.SetAttributes(attribute.String("checkpointstore.record.kind", kind), attribute.Int("checkpointstore.records", len(records)))
	}
	s.end(ctx, c, span, begun, err)
	return records, err
}

// UpdateCheckpoint implements [checkpointstore.CheckpointStore].
func (s *store) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	p := placeOf(c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID)
	of := s.updating.get(p)
	ctx, span, begun := s.begin(ctx, of)
	err := s.next.UpdateCheckpoint(ctx, c, options)
	outcome, failure := written, error(nil)
	switch {
	case err == nil:
	case errors.Is(err, checkpointstore.ErrRewound):
		outcome = rewound
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
		outcome = stale
	default:
		outcome, failure = failed, err
	}
	if s.checkpoints.Enabled(ctx) {
		s.checkpoints.Add(ctx, 1, s.checkpointOutcomes.get(p)[outcome]...)
	}
	if span.IsRecording() {
		span.SetAttributes(outcomeKey.String(outcome))
		if c.SequenceNumber != nil {
			span.SetAttributes(attribute.Int64("checkpointstore.sequence_number", *c.SequenceNumber))
		}
	}
	s.end(ctx, of, span, begun, failure)
	return err
}

// ClaimOwnership implements [checkpointstore.CheckpointStore].
func (s *store) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if len(claims) == 0 {
		return s.next.ClaimOwnership(ctx, claims, options)
	}
	first := claims[0]
	c := s.claiming.get(placeOf(first.FullyQualifiedNamespace, first.EventHubName, first.ConsumerGroup, ""))
	ctx, span, begun := s.begin(ctx, c)
	wins, err := s.next.ClaimOwnership(ctx, claims, options)
	if s.traces || s.claims.Enabled(ctx) { // not only of spans that are recorded: wins are remembered
		s.count(ctx, span, claims, s.outcomesOfClaims(claims, wins, err))
	}
	s.end(ctx, c, span, begun, err, claims...)
	return wins, err
}

// count reports the outcomes of claims.
func (s *store) count(ctx context.Context, span trace.Span, claims []checkpointstore.Ownership, results []string) {
	counts := make(map[string]int)
	for i, outcome := range results {
		counts[outcome]++
		s.claims.Add(ctx, 1, s.claimOutcomes.get(placeOfClaim(claims[i]))[outcome]...)
	}
	for _, outcome := range []string{won, renewed, released, lost, failed} {
		span.SetAttributes(attribute.Int("checkpointstore.claims."+outcome, counts[outcome]))
	}
	if s.WithOwnerID && claims[0].OwnerID != "" {
		span.SetAttributes(semconv.MessagingClientID(claims[0].OwnerID))
	}
}

func placeOfClaim(o checkpointstore.Ownership) place {
	return placeOf(o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, o.PartitionID)
}

// outcomesOfClaims returns the outcome of each claim, and remembers the wins.
func (s *store) outcomesOfClaims(claims, wins []checkpointstore.Ownership, err error) []string {
	of := make(map[place]checkpointstore.Ownership, len(wins))
	for _, w := range wins {
		of[placeOfClaim(w)] = w
	}
	undecided := func(string) bool { return err != nil }
	var each *checkpointstore.PartitionErrors
	if errors.As(err, &each) {
		failures := make(map[string]bool, len(each.Errors))
		for _, e := range each.Errors {
			failures[e.PartitionID] = true
		}
		undecided = func(id string) bool { return failures[id] }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wins) > maxPlaces {
		clear(s.wins)
	}
	results := make([]string, len(claims))
	for i, claim := range claims {
		p := placeOfClaim(claim)
		w, isWon := of[p]
		last := s.wins[p]
		switch {
		case !isWon && undecided(claim.PartitionID):
			results[i] = failed
		case !isWon: // the last win may be another owner's, who shares this store
			results[i] = lost
		case claim.OwnerID == "":
			results[i] = released
			delete(s.wins, p)
		case last.ownerID == claim.OwnerID && claim.ETag != nil && last.etag == unquoted(*claim.ETag):
			results[i] = renewed
		default:
			results[i] = won
		}
		if isWon && claim.OwnerID != "" && w.ETag != nil {
			s.wins[p] = win{claim.OwnerID, unquoted(*w.ETag)}
		}
	}
	return results
}

// unquoted returns an ETag without quotes: stores may write it in either form.
func unquoted(e azcore.ETag) azcore.ETag { return azcore.ETag(strings.Trim(string(e), `"`)) }

// outcomes are the attributes of a measurement for each outcome.
type outcomes map[string][]metric.AddOption

func (t *telemetry) outcomesOf(p place, names ...string) outcomes {
	all := make(outcomes, len(names))
	for _, name := range names {
		all[name] = []metric.AddOption{measuredWith(t.ofMetrics(p).attributes(outcomeKey.String(name)))}
	}
	return all
}
