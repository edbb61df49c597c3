package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor"
)

// ledger is what one owner did, counted without package otel: by the store beneath
// otel.Store, by the function within otel.Handler and the processor.Handler around it,
// by the transport beneath otel.Policy and, for the number of receives, by hooks beside
// otel.Hooks.
type ledger struct {
	scope   checkpointstore.Scope
	ownerID string

	mu         sync.Mutex
	counts     map[string]map[string]float64 // by instrument and attributes
	durations  map[string]map[string]time.Duration
	spans      map[string]int // by what they say
	partitions map[string]*partitionLedger
}

// partitionLedger is what one owner did in a partition.
type partitionLedger struct {
	owned      bool // as far as this owner has seen
	wins       int  // that began a tenure
	wonAt      time.Time
	unsettled  []int64       // events that the handler was done with, and no checkpoint since has settled
	writtenAt  time.Time     // of the last checkpoint that was written: its answer came
	reportedAt time.Time     // and was reported
	block      chan struct{} // if set, the handler waits until it is closed
	poison     int64         // the event that the handler cannot handle; 0 is none

	// Since the handler was opened, or when it was.
	opens      int
	openedAt   time.Time
	openedWins int
	received   map[int64]bool
	lastDone   *int64
	calledAt   time.Time // of the last call
	ended      string    // error.type of the end of the handler before
}

func newLedger(scope checkpointstore.Scope, ownerID string) *ledger {
	return &ledger{
		scope:      scope,
		ownerID:    ownerID,
		counts:     make(map[string]map[string]float64),
		durations:  make(map[string]map[string]time.Duration),
		spans:      make(map[string]int),
		partitions: make(map[string]*partitionLedger),
	}
}

// separator is between the attributes of a set.
const separator = ", "

// textOf writes a set of attributes. Those without a value are left out.
func textOf(attributes ...string) string {
	attributes = slices.DeleteFunc(attributes, func(a string) bool { return strings.HasSuffix(a, "=") })
	slices.Sort(attributes)
	return strings.Join(attributes, separator)
}

// in is a set of attributes with the common ones, and that of a partition unless it is
// empty.
func (l *ledger) in(partition string, more ...string) string {
	return textOf(append([]string{
		"messaging.system=eventhubs",
		"messaging.destination.name=" + l.scope.EventHubName,
		"messaging.consumer.group.name=" + l.scope.ConsumerGroup,
		"server.address=" + l.scope.FullyQualifiedNamespace,
		"messaging.destination.partition.id=" + partition,
	}, more...)...)
}

// add counts n measurements, which took at least d together. The caller has the lock.
func (l *ledger) add(instrument, attributes string, n int, d time.Duration) {
	if l.counts[instrument] == nil {
		l.counts[instrument] = make(map[string]float64)
		l.durations[instrument] = make(map[string]time.Duration)
	}
	l.counts[instrument][attributes] += float64(n)
	l.durations[instrument][attributes] += d
}

// of returns what is known of a partition. The caller has the lock.
func (l *ledger) of(partition string) *partitionLedger {
	p := l.partitions[partition]
	if p == nil {
		p = &partitionLedger{}
		l.partitions[partition] = p
	}
	return p
}

// count returns a sum of what was counted, of the sets of attributes that have all of
// the parts.
func (l *ledger) count(instrument string, parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for attributes, value := range l.counts[instrument] {
		of := strings.Split(attributes, separator)
		if !slices.ContainsFunc(parts, func(part string) bool { return !slices.Contains(of, part) }) {
			n += int(value)
		}
	}
	return n
}

// kindOf is error.type of what fails in this script.
func kindOf(err error) string {
	var unanswered *url.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, processor.ErrRebalanced): // the cause with which a handler's context has ended
		return "rebalanced"
	case errors.Is(err, processor.ErrRewound):
		return "rewound"
	case errors.Is(err, processor.ErrStopping):
		return "stopping"
	case errors.Is(err, processor.ErrPartitionLost):
		return "partition_lost"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &unanswered): // such as a connection that is refused
		return "*url.Error"
	}
	return "unexpected: " + err.Error()
}

// ledgerStore counts the calls of a store.
type ledgerStore struct {
	next checkpointstore.CheckpointStore
	*ledger
}

func (s *ledgerStore) ListOwnership(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	begun := time.Now()
	records, err := s.next.ListOwnership(ctx, namespace, eventHub, group, options)
	s.listed("ownership", len(records), time.Since(begun), err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		if r.OwnerID != s.ownerID { // somebody stole it
			s.of(r.PartitionID).owned = false
		}
	}
	return records, err
}

func (s *ledgerStore) ListCheckpoints(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	begun := time.Now()
	records, err := s.next.ListCheckpoints(ctx, namespace, eventHub, group, options)
	s.listed("checkpoint", len(records), time.Since(begun), err)
	return records, err
}

func (s *ledgerStore) listed(kind string, records int, d time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add("messaging.client.operation.duration", s.in("", "messaging.operation.name=list", "error.type="+kindOf(err)), 1, d)
	s.spans[fmt.Sprintf("client list %s kind=%s records=%d error=%s", s.scope.EventHubName, kind, records, kindOf(err))]++
}

func (s *ledgerStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	begun := time.Now()
	won, err := s.next.ClaimOwnership(ctx, claims, options)
	d := time.Since(begun)
	s.mu.Lock()
	defer s.mu.Unlock()
	wins := make(map[string]bool)
	for _, w := range won {
		wins[w.PartitionID] = true
	}
	failures := make(map[string]bool)
	var each *checkpointstore.PartitionErrors
	if errors.As(err, &each) {
		for _, e := range each.Errors {
			failures[e.PartitionID] = true
		}
	}
	counts := make(map[string]int)
	for _, claim := range claims {
		p, outcome := s.of(claim.PartitionID), "lost"
		switch {
		case failures[claim.PartitionID]:
			outcome = "failed"
		case !wins[claim.PartitionID]:
			p.owned = false
		case claim.OwnerID == "":
			outcome, p.owned = "released", false
		case p.owned:
			outcome = "renewed"
		default:
			outcome, p.owned = "won", true
			p.wins++
			p.wonAt = time.Now()
		}
		counts[outcome]++
		s.add("checkpointstore.claims", s.in(claim.PartitionID, "outcome="+outcome), 1, 0)
	}
	s.add("messaging.client.operation.duration", s.in("", "messaging.operation.name=claim", "error.type="+kindOf(err)), 1, d)
	s.spans[fmt.Sprintf("client claim %s won=%d renewed=%d released=%d lost=%d failed=%d error=%s", s.scope.EventHubName,
		counts["won"], counts["renewed"], counts["released"], counts["lost"], counts["failed"], kindOf(err))]++
	return won, err
}

func (s *ledgerStore) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	begun := time.Now()
	err := s.next.UpdateCheckpoint(ctx, c, options)
	d := time.Since(begun)
	s.mu.Lock()
	defer s.mu.Unlock()
	outcome, kind := "written", ""
	switch {
	case err == nil:
		s.of(c.PartitionID).writtenAt = time.Now()
	case errors.Is(err, checkpointstore.ErrRewound):
		outcome = "rewound"
	case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
		outcome = "stale"
	default:
		outcome, kind = "failed", kindOf(err)
	}
	p := s.of(c.PartitionID)
	if i := slices.Index(p.unsettled, *c.SequenceNumber); i >= 0 && outcome != "failed" { // will not be tried again
		p.unsettled = p.unsettled[i+1:]
		s.add("checkpointstore.checkpoints", s.in(c.PartitionID, "outcome=coalesced"), i, 0)
	}
	s.add("checkpointstore.checkpoints", s.in(c.PartitionID, "outcome="+outcome), 1, 0)
	s.add("messaging.client.operation.duration",
		s.in(c.PartitionID, "messaging.operation.name=checkpoint", "messaging.operation.type=settle", "error.type="+kind), 1, d)
	s.spans[fmt.Sprintf("client checkpoint %s partition=%s sequence=%d outcome=%s error=%s", s.scope.EventHubName, c.PartitionID, *c.SequenceNumber, outcome, kind)]++
	return err
}

// opened and closed are called before and after each call of the processor.Handler.
func (l *ledger) opened(partition string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of(partition)
	if p.opens > 0 && p.openedWins == p.wins { // in the same tenure
		l.add("checkpointstore.processor.restarts", l.in(partition, "error.type="+p.ended), 1, 0)
	}
	p.opens++
	p.openedAt, p.openedWins = time.Now(), p.wins
	p.received, p.lastDone = make(map[int64]bool), nil
}

func (l *ledger) closed(partition string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hub *azeventhubs.Error
	switch {
	case errors.Is(err, processor.ErrPartitionLost): // somebody took the link
		l.of(partition).ended = "partition_lost"
	case errors.As(err, &hub):
		l.of(partition).ended = string(hub.Code)
	default:
		l.of(partition).ended = "unexpected"
	}
}

// called and returned are called within otel.Handler.
func (l *ledger) called(b *processor.Batch) (blocked <-chan struct{}, poison int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of(b.PartitionID)
	p.calledAt = time.Now()
	for _, e := range b.Events {
		if !p.received[e.SequenceNumber] {
			p.received[e.SequenceNumber] = true
			l.add("messaging.client.consumed.messages", l.in(b.PartitionID, "messaging.operation.name=receive"), 1, 0)
			l.add("messaging.eventhubs.consumer.lag", l.in(b.PartitionID), 1, 0)
		}
	}
	return p.block, p.poison
}

func (l *ledger) returned(b *processor.Batch, done int, d time.Duration, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished(b.PartitionID, b.Events[:done])
	l.add("messaging.process.duration", l.in(b.PartitionID, "messaging.operation.name=process", "error.type="+kind), 1, d)
	var links []string
	for _, e := range b.Events {
		if sender := senderOf(b.PartitionID, e.SequenceNumber); sender.key != "" {
			links = append(links, sender.traceID+"-"+sender.spanID)
		}
	}
	l.spans[fmt.Sprintf("consumer process %s partition=%s attempt=%d events=%d links=%s error=%s", l.scope.EventHubName, b.PartitionID, b.Attempt, len(b.Events),
		strings.Join(links, ","), kind)]++
}

// skipped is called for events that processor.Skip gave up.
func (l *ledger) skipped(b *processor.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished(b.PartitionID, b.Events)
}

// finished takes in events that are done. The caller has the lock.
func (l *ledger) finished(partition string, events []*azeventhubs.ReceivedEventData) {
	p := l.of(partition)
	for _, e := range events {
		p.unsettled = append(p.unsettled, e.SequenceNumber)
		p.lastDone = &e.SequenceNumber
	}
}

// hooks count what only hooks can see.
func (l *ledger) hooks() *processor.Hooks {
	return &processor.Hooks{
		Receive: func(i processor.ReceiveInfo) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.add("messaging.client.operation.duration", l.in(i.PartitionID, "messaging.operation.name=receive", "messaging.operation.type=receive"), 1, i.Duration)
		},
		Checkpoint: func(i processor.CheckpointInfo) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.of(i.PartitionID).reportedAt = time.Now()
		},
	}
}

// requested counts a request that the transport has ended.
func (l *ledger) requested(req *http.Request, resp *http.Response, err error, d time.Duration) {
	operation := map[faults.Op]string{
		faults.ListBlobs: "ListBlobs", faults.PutBlob: "PutBlob", faults.SetMetadata: "SetBlobMetadata", faults.GetProperties: "GetBlobProperties",
	}[faults.OpOf(req)]
	status, kind := "", kindOf(err)
	if err == nil {
		status = strconv.Itoa(resp.StatusCode)
		if resp.StatusCode >= 500 {
			kind = resp.Header.Get("x-ms-error-code")
		}
	}
	attributes := textOf("operation="+operation, "server.address="+req.URL.Hostname(), "http.response.status_code="+status, "error.type="+kind)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add("checkpointstore.storage.requests", attributes, 1, 0)
	l.add("checkpointstore.storage.request.duration", attributes, 1, d)
}

// totals are what the counters and histograms must have. While the handler waits in a
// partition, they include the events that have come behind those that it has.
func (l *ledger) totals(last func(partition string) int64) (counts map[string]map[string]float64, durations map[string]map[string]time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts, durations = make(map[string]map[string]float64), make(map[string]map[string]time.Duration)
	for name, of := range l.counts {
		counts[name], durations[name] = maps.Clone(of), maps.Clone(l.durations[name])
		maps.DeleteFunc(counts[name], func(_ string, n float64) bool { return n == 0 })
	}
	for id, p := range l.partitions {
		if p.block != nil && len(p.received) > 0 {
			behind := float64(last(id) - slices.Max(slices.Collect(maps.Keys(p.received))))
			counts["messaging.client.consumed.messages"][l.in(id, "messaging.operation.name=receive")] += behind
			counts["messaging.eventhubs.consumer.lag"][l.in(id)] += behind
		}
	}
	return counts, durations
}

// sender is the context in which an event was sent, and the application property that
// carries it. The key is empty if none does.
type sender struct{ key, traceID, spanID string }

// senderOf says where an event comes from: one in three has no context.
func senderOf(partition string, sequenceNumber int64) sender {
	of := sender{
		key:     []string{"traceparent", "Diagnostic-Id", ""}[sequenceNumber%3],
		traceID: fmt.Sprintf("%028x", sequenceNumber) + fmt.Sprintf("%04x", partition[0]),
		spanID:  fmt.Sprintf("%012x", sequenceNumber) + fmt.Sprintf("%04x", partition[0]),
	}
	return of
}

func (s sender) properties() map[string]string {
	if s.key == "" {
		return nil
	}
	return map[string]string{s.key: "00-" + s.traceID + "-" + s.spanID + "-01"}
}
