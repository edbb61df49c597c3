package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// ownershipList is the last good list of a scope.
type ownershipList struct {
	records []checkpointstore.Ownership
	begun   turn // when it was asked for; zero if there was none
}

func (a *adapter) listOwnership(ctx context.Context, n names) ([]azeventhubs.Ownership, error) {
	a.mu.Lock()
	s := a.scope(n)
	err := s.orphanedCaller(ctx)
	begun, start := a.next(), a.now()
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}

	records, err := a.store.ListOwnership(ctx, n.namespace, n.eventHub, n.consumerGroup, nil)

	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.sees(s, n, records, begun)
	case ctx.Err() != nil:
		return nil, err
	case Lasting(err):
		s.end(ctx, err)
		return nil, err
	default:
		if err := a.blinded(s, n, start, err); err != nil {
			s.end(ctx, err)
			return nil, err
		}
	}
	return toHub(a.serve(s, n)), nil
}

// end notes that the callers' Processor gets an error that ends it.
func (s *scope) end(ctx context.Context, err error) {
	for _, o := range s.callers(ctx) {
		o.ending = err
	}
}

// sees takes a good list in.
func (a *adapter) sees(s *scope, n names, records []checkpointstore.Ownership, begun turn) {
	if d := s.blind.see(a.now()); d > 0 {
		a.log.Info("the ownerships can be read again", "scope", n.String(), "blind", d)
	}
	if begun < s.list.begun {
		return // a later one is known already
	}
	s.list = ownershipList{records: slices.Clone(records), begun: begun}
	s.blind.forget(oldestOwned(records))
	for _, o := range s.owners {
		o.update(records, begun)
	}
}

// update brings what an owner holds in line with a list that began after it was
// won: taken by somebody else, or won although no answer came.
func (o *owner) update(records []checkpointstore.Ownership, begun turn) {
	for _, r := range records {
		h := o.held[r.PartitionID]
		switch {
		case h == nil || h.won > begun:
		case r.OwnerID != o.id:
			delete(o.held, r.PartitionID)
		case r.ETag != nil:
			if h.record.ETag == nil {
				h.since, h.won = begun, begun
			}
			if h.lost {
				h.since = begun
			}
			h.now(r, h.won)
			h.unsure, h.lost = false, false
		}
	}
}

// blinded takes a failed list in, and returns an error if there is nothing to
// serve in its place.
func (a *adapter) blinded(s *scope, n names, start time.Time, err error) error {
	first := s.blind.fail(start)
	blind := a.now().Sub(s.blind.since)
	switch {
	case s.list.begun == 0:
		return fmt.Errorf("processor: the ownerships of %s cannot be listed and never were: %w", n, err)
	case blind > a.options.MaxOutage:
		return fmt.Errorf("processor: the ownerships of %s cannot be listed for %v: %w", n, blind.Round(time.Millisecond), err)
	case first:
		a.log.Warn("the ownerships cannot be listed; serving the last list", "scope", n.String(), "error", err)
	default:
		a.log.Debug("the ownerships still cannot be listed", "scope", n.String(), "blind", blind, "error", err)
	}
	return nil
}

// serve makes the list that the Processor sees: the last good one, with what was
// won since, with what was won and is missing, and with the blind time added.
func (a *adapter) serve(s *scope, n names) []checkpointstore.Ownership {
	byPartition := make(map[string]checkpointstore.Ownership, len(s.list.records))
	for _, r := range s.list.records {
		byPartition[r.PartitionID] = r
	}
	for _, o := range s.owners {
		for id, h := range o.held {
			_, listed := byPartition[id]
			switch {
			case h.record.ETag == nil:
			case h.won > s.list.begun:
				byPartition[id] = h.record
			case !listed: // deleted: to be created again
				deleted := h.record
				deleted.ETag = nil
				byPartition[id] = deleted
			}
		}
	}
	now := a.now()
	out := make([]checkpointstore.Ownership, 0, len(byPartition))
	for id, r := range byPartition {
		if !s.isPartition(id) {
			continue
		}
		r.FullyQualifiedNamespace, r.EventHubName, r.ConsumerGroup = n.namespace, n.eventHub, n.consumerGroup
		r.LastModifiedTime = s.blind.moved(r.LastModifiedTime, now)
		out = append(out, r)
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// oldestOwned is the oldest LastModifiedTime of a record with an owner, the zero
// time if there is none. A relinquished record can be claimed at any age.
func oldestOwned(records []checkpointstore.Ownership) time.Time {
	var oldest time.Time
	for _, r := range records {
		if r.OwnerID != "" && (oldest.IsZero() || r.LastModifiedTime.Before(oldest)) {
			oldest = r.LastModifiedTime
		}
	}
	return oldest
}
