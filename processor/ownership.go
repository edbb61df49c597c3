package processor

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore"
)

// releaseTimeout bounds the release of partitions. It is also what requests that
// are under way have when Run stops.
const releaseTimeout = 5 * time.Second

// write sends claims, and returns those won and whether any was lost. A claim whose
// outcome is unknown is neither; the next list shows it. The end of ctx leaves the
// request releaseTimeout.
func (p *Processor) write(ctx context.Context, timeout time.Duration, claims []checkpointstore.Ownership) (won []checkpointstore.Ownership, lost bool, err error) {
	if len(claims) == 0 {
		return nil, false, nil
	}
	writing, cancel := outlive(ctx, ctx, releaseTimeout)
	defer cancel()
	writing, cancelTimeout := context.WithTimeout(writing, timeout)
	defer cancelTimeout()
	won, err = p.store.ClaimOwnership(writing, claims, nil)
	p.sightings.Won(time.Now(), won...)
	p.report(claiming, err)
	p.hookClaims(claims, won, err)
	p.unsure = p.unsure || err != nil
	unknown := 0
	var each *checkpointstore.PartitionErrors
	switch {
	case errors.As(err, &each):
		unknown = len(each.Errors)
	case err != nil:
		unknown = len(claims) - len(won)
	}
	return won, len(won)+unknown < len(claims), err
}

// relinquish writes records without an owner, and returns whether that went well.
func (p *Processor) relinquish(ctx context.Context, records []checkpointstore.Ownership) bool {
	for i := range records {
		records[i].OwnerID = ""
	}
	released, lost, err := p.write(ctx, releaseTimeout, records)
	p.unsure = p.unsure || lost // to another owner, or to a renewal that went unanswered
	for _, r := range released {
		p.log.Info("partition released", "partition", r.PartitionID)
	}
	if err != nil {
		p.log.Warn("not every partition was released; others can claim the rest when it has expired", "error", err)
	}
	return err == nil
}

// release takes tenures off that have ended, and relinquishes those that are owned.
// It wakes the next round when the last of those has ended whose records somebody
// deleted or wrote, so that one round claims them all.
func (p *Processor) release(ctx context.Context, ended []*tenure) {
	var records []checkpointstore.Ownership
	wake := false
	for _, t := range ended {
		p.mu.Lock()
		delete(p.tenures, t.id)
		p.mu.Unlock()
		if cause := context.Cause(t.ctx); errors.Is(cause, ErrLinkFailed) || errors.Is(cause, ErrRelinquished) {
			p.cooling[t.id] = time.Now().Add(max(2*p.options.UpdateInterval, p.options.MaxBackoff))
		}
		if !t.lost {
			records = append(records, t.record)
		}
		if t.deleted {
			p.deleted[t.id] = true
		}
		wake = wake || t.deleted || t.foreign
	}
	p.relinquish(ctx, records)
	for _, t := range p.tenures {
		wake = wake && !t.deleted && !t.foreign
	}
	if wake {
		p.wakeUp()
	}
}

// alsoEnded are the tenures that have ended at the same time.
func (p *Processor) alsoEnded() (ended []*tenure) {
	for {
		select {
		case t := <-p.ended:
			ended = append(ended, t)
		default:
			return ended
		}
	}
}

// sameETag reports whether two records are the same version. Stores may quote the
// ETag in one place and not in another.
func sameETag(a, b checkpointstore.Ownership) bool {
	return a.ETag != nil && b.ETag != nil && strings.Trim(string(*a.ETag), `"`) == strings.Trim(string(*b.ETag), `"`)
}
