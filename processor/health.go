package processor

import (
	"fmt"
	"time"
)

// Health is the result of the two probes of a container.
type Health struct {
	// Live is nil unless a restart of the process would help. It says why: Run has
	// returned, no round has begun for three times the expiration, Event Hubs'
	// clients hang, or an event has been pending for longer than
	// Options.MaxPendingAge. An outage is no reason: a restart does not end it.
	Live error

	// Ready is nil if the Processor does all of its work. Otherwise it says why not:
	// the first round is not over, Run is stopping, the ownerships or the event hub
	// could not be read, or a partition that it owns is not being read. A Processor
	// that owns no partition, because others own all, is ready. One that is not live
	// is not ready.
	Ready error
}

// Healthy returns the Processor's health, for a liveness and a readiness probe. It
// sends no request, and may be called at any time from any goroutine.
func (p *Processor) Healthy() Health {
	h := Health{Live: p.live()}
	if h.Ready = h.Live; h.Ready == nil {
		h.Ready = p.ready()
	}
	return h
}

func (p *Processor) live() error {
	select {
	case <-p.returned:
		return fmt.Errorf("processor: Run has returned")
	default:
	}
	p.mu.Lock()
	round := p.roundAt
	p.mu.Unlock()
	most := 3 * p.options.PartitionExpirationDuration
	if age := time.Since(round); !round.IsZero() && p.stoppedAt.Load() == nil && age > most {
		return fmt.Errorf("processor: no round has begun for %v", age.Round(time.Second))
	}
	if hung := p.hung.Load(); hung >= maxHung {
		return fmt.Errorf("processor: %d calls to Event Hubs have not returned", hung)
	}
	if p.options.MaxPendingAge == 0 {
		return nil
	}
	for _, s := range p.Status().Partitions {
		if s.OldestPending > p.options.MaxPendingAge {
			return fmt.Errorf("processor: partition %s: sequence number %d is pending for %v", s.PartitionID, *s.OldestSequenceNumber, s.OldestPending.Round(time.Second))
		}
	}
	return nil
}

func (p *Processor) ready() error {
	p.mu.Lock()
	claimed := p.firstRoundOver // read before the partitions that it claimed
	p.mu.Unlock()
	s := p.Status()
	switch {
	case p.stoppedAt.Load() != nil:
		return fmt.Errorf("processor: Run is stopping")
	case s.EventHubError != nil:
		return fmt.Errorf("processor: the event hub cannot be read: %w", s.EventHubError)
	case s.StoreError != nil:
		return fmt.Errorf("processor: the store cannot be read or written: %w", s.StoreError)
	case !claimed:
		return fmt.Errorf("processor: the first round is not over")
	}
	for _, partition := range s.Partitions {
		switch {
		case partition.Reading || partition.Ending != nil:
		case partition.LastError != nil:
			return fmt.Errorf("processor: partition %s is not read: %w", partition.PartitionID, partition.LastError)
		default:
			return fmt.Errorf("processor: partition %s is not read yet", partition.PartitionID)
		}
	}
	return nil
}
