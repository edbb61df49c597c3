package processor

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// claim claims, and returns what was won. It keeps to itself that some were not
// decided for a passing reason.
func (a *adapter) claim(ctx context.Context, asked []checkpointstore.Ownership) ([]azeventhubs.Ownership, error) {
	a.announce(ctx, asked)
	if asked = a.claimable(ctx, asked); len(asked) == 0 {
		return nil, nil
	}
	won, err := a.store.ClaimOwnership(ctx, asked, nil)
	undecided := undecided(asked, won, err)
	a.remember(asked, won, undecided)

	switch {
	case err == nil:
	case ctx.Err() != nil:
		return toHub(won), err
	case Lasting(err):
		a.endOwners(asked, err)
		return toHub(won), err
	default:
		a.log.Warn("claims were not decided; not claimed in this round",
			"scope", namesOf(asked[0]).String(), "asked", len(asked), "won", len(won), "undecided", partitions(undecided), "error", err)
	}
	return toHub(won), nil
}

// announce notes whose context this is, before the call, so that what it wins is
// known to be somebody's even if the call never returns to the Processor.
func (a *adapter) announce(ctx context.Context, asked []checkpointstore.Ownership) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range asked {
		if r.OwnerID == "" {
			continue
		}
		s := a.scope(namesOf(r))
		o := s.owner(r.OwnerID)
		o.run, o.ending = ctx, nil
		if r.ETag == nil && !s.isPartition(r.PartitionID) {
			s.asked[r.PartitionID] = true
		}
	}
}

// claimable leaves out the partitions that the Processor's own handlers, if [Run]
// made it, still read although it lost them. The handlers are told to return.
// Winning would make their late checkpoints pass for a new owner's.
func (a *adapter) claimable(ctx context.Context, asked []checkpointstore.Ownership) []checkpointstore.Ownership {
	reading, ok := ctx.Value(handlersKey{}).(*handlers)
	if !ok {
		return asked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []checkpointstore.Ownership
	for _, r := range asked {
		if !a.scope(namesOf(r)).renews(r) && reading.end(r.PartitionID) {
			a.log.Info("a partition that was lost is claimed again when its handler has returned", "partition", r.PartitionID)
			continue
		}
		out = append(out, r)
	}
	return out
}

// renews reports whether the claim goes on with what its owner has won: with one
// of its own ETags, or without one because the record was deleted. It must be
// called with a.mu held.
func (s *scope) renews(r checkpointstore.Ownership) bool {
	o := s.owners[r.OwnerID]
	if o == nil || o.held[r.PartitionID] == nil {
		return false
	}
	h := o.held[r.PartitionID]
	return h.record.ETag != nil && (r.ETag == nil || !h.lost && h.knows(r.ETag))
}

func (a *adapter) endOwners(asked []checkpointstore.Ownership, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range asked {
		if o := a.scope(namesOf(r)).owners[r.OwnerID]; o != nil {
			o.ending = err
		}
	}
}

// undecided are the claims that may or may not have been won: those that the
// error names or, if it names none, all that are not known to be won.
func undecided(asked, won []checkpointstore.Ownership, err error) []checkpointstore.Ownership {
	if err == nil {
		return nil
	}
	failed := make(map[string]bool)
	var each *checkpointstore.PartitionErrors
	named := errors.As(err, &each)
	if named {
		for _, e := range each.Errors {
			failed[e.PartitionID] = true
		}
	}
	winners := byPartition(won)
	var out []checkpointstore.Ownership
	for _, r := range asked {
		if _, ok := winners[r.PartitionID]; !ok && (!named || failed[r.PartitionID]) {
			out = append(out, r)
		}
	}
	return out
}

// remember takes in the outcome of a claim.
func (a *adapter) remember(asked, won, undecided []checkpointstore.Ownership) {
	a.mu.Lock()
	defer a.mu.Unlock()
	winners, unsure := byPartition(won), byPartition(undecided)
	for _, r := range asked {
		s := a.scope(namesOf(r))
		o := s.owner(r.OwnerID) // a new one if it ended in the meantime
		h := o.held[r.PartitionID]
		w, isWon := winners[r.PartitionID]
		_, isUnsure := unsure[r.PartitionID]
		switch {
		case isWon:
			for _, other := range s.owners {
				if other != o {
					delete(other.held, r.PartitionID)
				}
			}
			t := a.next()
			if h == nil {
				h = &holding{lost: true}
				o.held[r.PartitionID] = h
			}
			if h.lost || h.record.ETag == nil {
				h.since = t
			}
			h.unsure, h.lost = false, false
			h.now(w, t)
		case isUnsure && h != nil:
			h.unsure = true
		case isUnsure:
			o.held[r.PartitionID] = &holding{record: checkpointstore.Ownership{PartitionID: r.PartitionID}, unsure: true}
		case h != nil: // the next list tells to whom, or whether the record is gone
			h.unsure, h.lost = false, true
		}
	}
}

// now makes r the record of the holding.
func (h *holding) now(r checkpointstore.Ownership, t turn) {
	h.record, h.won = r, t
	if r.ETag == nil || h.knows(r.ETag) {
		return
	}
	h.etags = append(h.etags, *r.ETag)
	if len(h.etags) > maxETags {
		h.etags = h.etags[1:]
	}
}

func byPartition(records []checkpointstore.Ownership) map[string]checkpointstore.Ownership {
	m := make(map[string]checkpointstore.Ownership, len(records))
	for _, r := range records {
		m[r.PartitionID] = r
	}
	return m
}

func partitions(records []checkpointstore.Ownership) []string {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.PartitionID
	}
	return ids
}
