package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor/internal/balance"
)

// hubRounds is after how many rounds the hub's properties are read again, and the
// checkpoints are looked at.
const hubRounds = 6

// round is the state that the goroutine of Run keeps from round to round.
type round struct {
	partitionIDs []string // of the hub
	sightings    balance.Sightings
	reachableAt  time.Time            // when the ownerships were listed last, or the first round began
	listed       bool                 // whether they ever were
	unsure       bool                 // a write since the last list has an unknown outcome
	cooling      map[string]time.Time // released because of their links: not claimed until then
	notInHub     map[string]bool      // ids of records that the hub did not have
	deleted      map[string]bool      // owned when their records were deleted; to be claimed again

	hubFailures int  // in a row
	hubAge      int  // rounds since its properties were read
	rewindAge   int  // rounds since the checkpoints were looked at for rewinds
	unknownID   bool // a record's partition was not in the hub when that was read
}

// storeTimeout bounds a request to the store, so that several fit before records
// expire.
func (p *Processor) storeTimeout() time.Duration { return p.options.PartitionExpirationDuration / 4 }

// hubTimeout bounds a call to Event Hubs other than a receive, for the same reason.
func (p *Processor) hubTimeout() time.Duration { return min(10*time.Second, p.storeTimeout()) }

// runRound lists, decides, claims, starts and ends. Partitions that are about to
// move take more than one pass.
func (p *Processor) runRound(ctx, handlers context.Context) {
	if p.partitionIDs == nil && !p.readHub(ctx) {
		return
	}
	for range balance.Passes {
		again, lost := p.pass(ctx, handlers)
		if again && !lost { // owners that start together see each other first
			sleep(ctx, p.options.UpdateInterval/10)
		}
		if !again && !lost || ctx.Err() != nil {
			break
		}
	}
	if p.rewindAge++; p.rewindAge >= hubRounds && ctx.Err() == nil {
		p.rewindAge = 0
		p.findRewinds(ctx)
	}
	if p.hubAge++; p.hubAge >= hubRounds || p.hubIsDue() {
		p.readHub(ctx)
	}
}

// pass returns whether the round takes another one: because of the decision, or of
// a lost claim.
func (p *Processor) pass(ctx, handlers context.Context) (again, lost bool) {
	begun := time.Now()
	p.noteRound()
	records, ok := p.list(ctx)
	if !ok {
		return false, false
	}
	p.compare(begun, records)
	view := p.view(records)
	if orphans := p.orphans(records); len(orphans) > 0 && p.relinquish(ctx, orphans) {
		return false, true // as they are free now
	}
	decision := view.Decide(p.random)
	claims := p.renewals(decision)
	renewals := len(claims)
	if p.hubFailures == 0 && ctx.Err() == nil { // a stop may have begun while the orphans were released
		claims = append(claims, p.newClaims(decision, records)...)
	}
	won, lost, err := p.write(ctx, p.storeTimeout(), claims)
	if isOutage(won, err) {
		p.sightings.Unwritable()
	}
	var unread []checkpointstore.Ownership
	for _, record := range won {
		switch t := p.tenures[record.PartitionID]; {
		case t != nil:
			t.record = record
		case ctx.Err() != nil:
			unread = append(unread, record)
		default:
			p.start(handlers, record)
		}
	}
	p.relinquish(ctx, unread)
	for _, id := range decision.GiveUp {
		if t := p.tenures[id]; t != nil {
			t.end(ErrRebalanced)
		}
	}
	return decision.Again && len(claims) > renewals && err == nil, lost
}

// list lists the ownerships by partition.
func (p *Processor) list(ctx context.Context) (map[string]checkpointstore.Ownership, bool) {
	begun := time.Now()
	if p.reachableAt.IsZero() {
		p.reachableAt = begun
	}
	listing, cancel := context.WithTimeout(ctx, p.storeTimeout())
	defer cancel()
	list, err := p.store.ListOwnership(listing, p.names.FullyQualifiedNamespace, p.names.EventHubName, p.names.ConsumerGroup, nil)
	if ctx.Err() != nil {
		return nil, false
	}
	p.report(listingOwnerships, err)
	now := time.Now()
	if err != nil {
		p.sightings.Unreachable(begun)
		if now.Sub(p.reachableAt) > p.options.MaxOutage {
			for _, t := range p.tenures {
				t.lost = true // its record can neither be renewed nor released
				t.end(fmt.Errorf("%w: %w", ErrOutage, err))
			}
		}
		return nil, false
	}
	p.sightings.Listed(begun, now, list)
	p.reachableAt, p.listed, p.unsure = now, true, false
	p.mu.Lock()
	p.listedAt = now
	p.mu.Unlock()
	records := make(map[string]checkpointstore.Ownership, len(list))
	for _, r := range list {
		records[r.PartitionID] = r
	}
	return records, true
}

// compare brings the tenures in line with a list, which began after all writes. A
// tenure goes on only while its record is that of its last win: to the store, a
// claim on any other record begins a new tenure, in which the handler of this one
// must not write.
func (p *Processor) compare(begun time.Time, records map[string]checkpointstore.Ownership) {
	for id := range records {
		if !p.notInHub[id] && !slices.Contains(p.partitionIDs, id) {
			p.notInHub[id], p.unknownID = true, true
		}
	}
	for id := range p.deleted {
		if _, found := records[id]; found { // somebody has it
			delete(p.deleted, id)
		}
	}
	for id, t := range p.tenures {
		record, found := records[id]
		switch {
		case t.lost:
		case !found: // a claim would begin a new tenure in the store
			t.lost, t.deleted = true, true
			t.log.Info("partition lost, because its ownership record was deleted")
			t.end(fmt.Errorf("%w: its ownership record was deleted", ErrPartitionLost))
		case record.OwnerID != p.hub.OwnerID():
			t.lost = true
			t.log.Info("partition lost", "owner", record.OwnerID)
			t.end(ErrPartitionLost)
		case t.foreign || !sameETag(record, t.record): // a renewal would begin one, too
			if !t.foreign {
				t.log.Info("partition lost, because its ownership record was written again")
			}
			t.record, t.foreign = record, true
			t.end(fmt.Errorf("%w: its ownership record was written again", ErrPartitionLost))
		default:
			t.record = record
			select {
			case <-t.confirmed:
			default:
			}
			t.confirmed <- begun
		}
	}
}

// view is what to decide about. Partitions whose records were deleted still count
// as this owner's, which claims them again.
func (p *Processor) view(records map[string]checkpointstore.Ownership) balance.View {
	now := time.Now()
	var ids []string
	for _, id := range p.partitionIDs {
		if until, cooling := p.cooling[id]; cooling && now.Before(until) {
			continue
		}
		ids = append(ids, id)
	}
	v := p.sightings.View(now, p.hub.OwnerID(), ids)
	for id, t := range p.tenures {
		_, found := records[id]
		if t.deleted && !found {
			v.Records = append(v.Records, balance.Record{PartitionID: id, OwnerID: p.hub.OwnerID()})
		}
		if t.ctx.Err() != nil && (!t.lost || t.deleted && !found) {
			v.Leaving = append(v.Leaving, id)
		}
	}
	for id := range p.deleted {
		v.Records = append(v.Records, balance.Record{PartitionID: id, OwnerID: p.hub.OwnerID()})
	}
	return v
}

// renewals are the claims that are due of what this owner has.
func (p *Processor) renewals(d balance.Decision) []checkpointstore.Ownership {
	var claims []checkpointstore.Ownership
	for _, id := range d.Renew {
		if t := p.tenures[id]; t != nil && t.renewable() {
			claims = append(claims, t.record)
		}
	}
	return claims
}

// newClaims are the claims of what this owner does not have. A partition whose
// handler of an earlier tenure has not returned is left out: its late checkpoints
// would pass for the new tenure's.
func (p *Processor) newClaims(d balance.Decision, records map[string]checkpointstore.Ownership) []checkpointstore.Ownership {
	var again []string
	for _, id := range p.partitionIDs {
		if p.deleted[id] {
			again = append(again, id)
		}
	}
	var claims []checkpointstore.Ownership
	for _, id := range slices.Concat(again, d.Claim, d.Steal) {
		if p.tenures[id] != nil {
			continue
		}
		record, found := records[id]
		if !found {
			record = checkpointstore.Ownership{
				FullyQualifiedNamespace: p.names.FullyQualifiedNamespace,
				EventHubName:            p.names.EventHubName,
				ConsumerGroup:           p.names.ConsumerGroup,
				PartitionID:             id,
			}
		}
		record.OwnerID = p.hub.OwnerID()
		claims = append(claims, record)
	}
	return claims
}

// orphans are records in this owner's name whose partitions it does not read: of an
// earlier process, of a claim whose outcome was not known, or of a release that
// failed. They are released before they are claimed, because to the store a claim
// would go on with their tenure.
func (p *Processor) orphans(records map[string]checkpointstore.Ownership) []checkpointstore.Ownership {
	var orphans []checkpointstore.Ownership
	for _, id := range p.partitionIDs {
		if records[id].OwnerID == p.hub.OwnerID() && p.tenures[id] == nil {
			orphans = append(orphans, records[id])
		}
	}
	return orphans
}

// start begins a tenure.
func (p *Processor) start(handlers context.Context, record checkpointstore.Ownership) {
	ctx, end := context.WithCancelCause(handlers)
	id := record.PartitionID
	t := &tenure{
		id: id, ctx: ctx, end: end, record: record,
		log:       p.log.With("partition", id),
		confirmed: make(chan time.Time, 1),
		status:    PartitionStatus{PartitionID: id, OwnedSince: time.Now()},
	}
	p.mu.Lock()
	p.tenures[id] = t
	p.mu.Unlock()
	t.log.Info("partition claimed")
	go p.runTenure(t)
}

// readHub reads the names of the hub and its partitions.
func (p *Processor) readHub(ctx context.Context) bool {
	properties, err := bounded(ctx, p.hubTimeout(), &p.hung, p.hub.Properties)
	if ctx.Err() != nil {
		return false
	}
	if err == nil && len(properties.PartitionIDs) == 0 {
		err = errors.New("the event hub has no partitions")
	}
	p.report(readingHub, err)
	if err != nil {
		p.hubFailures++
		p.replaceClient(ctx)
		return false
	}
	first := p.partitionIDs == nil
	p.mu.Lock()
	if first { // read by the goroutines of tenures, so written before there are any
		p.names = properties
	}
	for _, id := range properties.PartitionIDs {
		if !first && !slices.Contains(p.partitionIDs, id) {
			p.added[id] = true
			p.log.Info("the event hub has a new partition", "partition", id)
			p.wakeUp()
		}
	}
	p.partitionCount, p.linkProblems = len(properties.PartitionIDs), 0
	p.mu.Unlock()
	p.partitionIDs = properties.PartitionIDs
	p.hubFailures, p.hubAge, p.unknownID = 0, 0, false
	return true
}

// hubIsDue reports whether there is a reason to read the hub early: it failed, or
// links did, or there are records of unknown partitions.
func (p *Processor) hubIsDue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hubFailures > 0 || p.unknownID || p.linkProblems > 0
}

// replaceClient makes a new client after the hub failed three times in a row.
func (p *Processor) replaceClient(ctx context.Context) {
	hub, ok := p.hub.(*consumerClient)
	if !ok || hub.newClient == nil || p.hubFailures%3 != 0 {
		return
	}
	_, err := bounded(ctx, p.hubTimeout(), &p.hung, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, hub.replaceClient(ctx)
	})
	if err != nil {
		p.log.Warn("the event hub cannot be reached, and the ConsumerClient could not be replaced", "error", err)
	} else {
		p.log.Warn("the ConsumerClient was replaced, because the event hub cannot be reached")
	}
}
