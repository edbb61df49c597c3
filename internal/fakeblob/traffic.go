package fakeblob

import "sync/atomic"

// traffic counts requests that reached a connection.
type traffic struct {
	total    atomic.Int64
	byOp     [opCount]atomic.Int64
	inFlight atomic.Int64
	peak     atomic.Int64
}

func (t *traffic) arrive(op Op) {
	t.total.Add(1)
	t.byOp[op].Add(1)
	now := t.inFlight.Add(1)
	for peak := t.peak.Load(); now > peak && !t.peak.CompareAndSwap(peak, now); peak = t.peak.Load() {
	}
}

func (t *traffic) leave() { t.inFlight.Add(-1) }

func (t *traffic) reset() {
	t.total.Store(0)
	for i := range t.byOp {
		t.byOp[i].Store(0)
	}
	t.peak.Store(t.inFlight.Load())
}

// Requests returns how many requests reached a connection, each try counted, also those that a fault dropped or
// answered.
func (s *Service) Requests() int { return int(s.traffic.total.Load()) }

// Count returns how many of the requests asked for an operation.
func (s *Service) Count(op Op) int {
	if op < 0 || op >= opCount {
		return 0
	}
	return int(s.traffic.byOp[op].Load())
}

// Peak returns the highest number of requests that were in flight at once, those that hang included.
func (s *Service) Peak() int { return int(s.traffic.peak.Load()) }
