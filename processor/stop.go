package processor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore"
)

// stop waits for the handlers, which have been told, and releases each partition
// when its handler has returned. It renews the others meanwhile, and claims nothing.
func (p *Processor) stop(ctx context.Context) error {
	begun := time.Now()
	if at := p.stoppedAt.Load(); at != nil { // before the request that was under way
		begun = *at
	}
	deadline := begun.Add(p.options.ShutdownTimeout)
	timeout := time.NewTimer(time.Until(deadline))
	defer timeout.Stop()
	end, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(releaseTimeout))
	defer cancel()
	renew := time.NewTicker(p.options.UpdateInterval)
	defer renew.Stop()
	for waiting := true; waiting && len(p.tenures) > 0; {
		select {
		case t := <-p.ended:
			p.release(end, append(p.alsoEnded(), t))
		case <-renew.C:
			p.renewAll(end)
		case <-timeout.C:
			waiting = false
		}
	}
	p.release(end, p.alsoEnded())
	if p.unsure && p.listed {
		p.releaseRest(end)
	}
	if len(p.tenures) == 0 {
		return nil
	}
	var ids []string
	for id := range p.tenures {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return fmt.Errorf("processor: the handlers of partitions %s did not return within %v; these partitions are not released", strings.Join(ids, ", "), p.options.ShutdownTimeout)
}

// renewAll renews what the handlers still work on, if it is due.
func (p *Processor) renewAll(ctx context.Context) {
	view := p.sightings.View(time.Now(), p.hub.OwnerID(), p.partitionIDs)
	view.Stopping = true
	var claims []checkpointstore.Ownership
	for _, id := range view.Decide(p.random).Renew {
		if t := p.tenures[id]; t != nil && t.renewable() {
			claims = append(claims, t.record)
		}
	}
	won, _, _ := p.write(ctx, releaseTimeout, claims)
	for _, record := range won {
		p.tenures[record.PartitionID].record = record
	}
}

// releaseRest lists once more and relinquishes what is in this owner's name after
// writes whose outcome is not known.
func (p *Processor) releaseRest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	list, err := p.store.ListOwnership(ctx, p.names.FullyQualifiedNamespace, p.names.EventHubName, p.names.ConsumerGroup, nil)
	if err != nil {
		p.log.Warn("partitions may be left owned until they expire, because the ownerships cannot be listed", "error", err)
		return
	}
	list = slices.DeleteFunc(list, func(r checkpointstore.Ownership) bool {
		return r.OwnerID != p.hub.OwnerID() || p.tenures[r.PartitionID] != nil
	})
	p.relinquish(ctx, list)
}
