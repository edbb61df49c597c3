package processor

import (
	"context"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
)

// release relinquishes what the Processor that calls owns. The records that it
// gives name its partitions as of its last finished round, and may be none.
func (a *adapter) release(ctx context.Context, given []checkpointstore.Ownership) ([]azeventhubs.Ownership, error) {
	leaving := a.leaving(ctx, given)
	for _, l := range leaving {
		awaitHandlers(ctx, l.owner.run)
	}
	claims, unsure := a.toRelinquish(given, leaving)
	if len(claims) == 0 && !unsure {
		a.forget(leaving)
		return nil, nil
	}
	released, err := a.relinquish(ctx, claims)
	if err != nil || unsure || len(released) < len(claims) {
		var again []checkpointstore.Ownership
		again, err = a.relinquishRest(ctx, leaving, err)
		released = append(released, again...)
	}
	a.forget(leaving)
	if err != nil {
		a.log.Warn("not everything was relinquished; the rest has to expire", "relinquished", partitions(released), "error", err)
	} else {
		a.log.Info("ownerships relinquished", "partitions", partitions(released))
	}
	return toHub(released), err
}

// leaver is an owner that ends.
type leaver struct {
	names names
	owner *owner
}

// leaving tells whose Processor ends. The records carry no owner id any more, but
// an ETag that only one owner won. No records at all are what a Processor gives
// that won nothing in its last finished round, and also what one asks that has
// nothing to claim: only the first has a deadline, and was told to stop or given
// an error.
func (a *adapter) leaving(ctx context.Context, given []checkpointstore.Ownership) []leaver {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []leaver
	if _, deadline := ctx.Deadline(); len(given) == 0 && deadline {
		for _, s := range a.scopes {
			for _, o := range s.owners {
				if o.ending != nil || o.orphaned != nil || o.run != nil && o.run.Err() != nil {
					out = append(out, leaver{s.names, o})
				}
			}
		}
	}
	for _, r := range given {
		for _, o := range a.scope(namesOf(r)).owners {
			h := o.held[r.PartitionID]
			known := slices.ContainsFunc(out, func(l leaver) bool { return l.owner == o })
			if h != nil && h.knows(r.ETag) && !known {
				out = append(out, leaver{namesOf(r), o})
			}
		}
	}
	return out
}

// toRelinquish are the claims that give up everything that the owners hold, with
// the ETags of their last wins, and what they gave that nobody here is known to
// hold. It reports whether any holding is in doubt.
func (a *adapter) toRelinquish(given []checkpointstore.Ownership, leaving []leaver) (claims []checkpointstore.Ownership, unsure bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := make(map[scopeKey]map[string]bool)
	for k, s := range a.scopes {
		held[k] = make(map[string]bool)
		for _, o := range s.owners {
			for id, h := range o.held {
				held[k][id] = held[k][id] || h.ours()
			}
		}
	}
	for _, l := range leaving {
		for _, h := range l.owner.held {
			unsure = unsure || h.unsure || h.lost
			if h.ours() {
				claims = append(claims, relinquished(h.record))
			}
		}
	}
	for _, r := range given {
		if !held[namesOf(r).key()][r.PartitionID] {
			claims = append(claims, relinquished(r))
		}
	}
	return claims, unsure
}

// ours reports whether the holding was won and, as far as is known, not lost.
func (h *holding) ours() bool { return h.record.ETag != nil && !h.lost }

func relinquished(r checkpointstore.Ownership) checkpointstore.Ownership {
	r.OwnerID = ""
	return r
}

func (a *adapter) relinquish(ctx context.Context, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	return a.store.ClaimOwnership(ctx, claims, nil)
}

// relinquishRest looks once, and relinquishes what is still in the owners' names.
// It returns the error that says why something may be left, which is cause if
// nothing else was found.
func (a *adapter) relinquishRest(ctx context.Context, leaving []leaver, cause error) ([]checkpointstore.Ownership, error) {
	if len(leaving) == 0 {
		return nil, cause
	}
	var released []checkpointstore.Ownership
	var failed error
	for _, l := range leaving {
		records, err := a.store.ListOwnership(ctx, l.names.namespace, l.names.eventHub, l.names.consumerGroup, nil)
		if err != nil {
			failed = err
			continue
		}
		var claims []checkpointstore.Ownership
		for _, r := range records {
			if r.OwnerID == l.owner.id {
				claims = append(claims, relinquished(r))
			}
		}
		won, err := a.relinquish(ctx, claims)
		released = append(released, won...)
		if err != nil {
			failed = err
		}
	}
	return released, failed
}

// forget drops the owners: their Processors have ended.
func (a *adapter) forget(leaving []leaver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range leaving {
		s := a.scope(l.names)
		if s.owners[l.owner.id] == l.owner {
			delete(s.owners, l.owner.id)
		}
	}
}

// awaitHandlers waits for the handlers of the Processor that runs with that
// context, if [Run] made it: they end before their partitions are relinquished.
// Half of the time that the release has is left to it.
func awaitHandlers(ctx, run context.Context) {
	if run == nil {
		return
	}
	h, ok := run.Value(handlersKey{}).(*handlers)
	if !ok {
		return
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	h.stop(ctx)
}
