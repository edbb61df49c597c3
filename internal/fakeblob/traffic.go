package fakeblob

import (
	"sync"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// traffic counts requests.
type traffic struct {
	mu             sync.Mutex // guards what follows
	byOp           map[faults.Op]int
	inFlight, peak int
}

func (t *traffic) arrive(op faults.Op) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byOp[op]++
	t.inFlight++
	t.peak = max(t.peak, t.inFlight)
}

func (t *traffic) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inFlight--
}

func (t *traffic) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byOp)
	t.peak = t.inFlight
}

// Requests returns how many requests were made, each try counted, whatever became of them.
func (s *Service) Requests() (n int) {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	for _, of := range s.traffic.byOp {
		n += of
	}
	return n
}

// Count returns how many of the requests asked for an operation.
func (s *Service) Count(op faults.Op) int {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	return s.traffic.byOp[op]
}

// Peak returns the highest number of requests that were in flight at once, those that hang included.
func (s *Service) Peak() int {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	return s.traffic.peak
}
