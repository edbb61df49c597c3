package ops

import (
	"slices"
	"sync"
	"time"
)

// History keeps where the partitions of an event hub ended at several times, to tell
// when an event was enqueued without reading it. It is bounded, and safe for
// concurrent use. Make one with [NewHistory].
//
// The method is that of kafka-lag-exporter: each answer of the hub says when its last
// event was enqueued; between two answers, a straight line is assumed.
type History struct {
	max int

	mu     sync.Mutex
	points map[string][]point // by partition, in the order of sequence numbers and times
}

// point is the last event of a partition at some time.
type point struct {
	sequenceNumber int64
	enqueued       time.Time
}

// NewHistory returns a history that keeps up to n points of each partition. It
// forgets the oldest. 0 is 360.
func NewHistory(n int) *History {
	if n <= 0 {
		n = 360
	}
	return &History{max: max(n, 2), points: make(map[string][]point)}
}

// Add adds an answer of the hub. It leaves out partitions that failed and those that
// never had an event, and forgets those whose numbers went back, as of a hub that was
// created anew.
func (h *History) Add(hub *Hub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range hub.Partitions {
		at := point{p.Properties.LastEnqueuedSequenceNumber, p.Properties.LastEnqueuedTime}
		if p.Err != nil || at.sequenceNumber < 0 {
			continue
		}
		points := h.points[p.ID]
		if n := len(points); n > 0 {
			last := points[n-1]
			if at.sequenceNumber < last.sequenceNumber || at.enqueued.Before(last.enqueued) {
				points = nil
			} else if at.sequenceNumber == last.sequenceNumber {
				continue
			}
		}
		points = append(points, at)
		if len(points) > h.max {
			points = slices.Delete(points, 0, len(points)-h.max)
		}
		h.points[p.ID] = points
	}
}

// EnqueuedTime returns when the event with a sequence number was enqueued, as far as
// two answers of the hub enclose it, else nil.
func (h *History) EnqueuedTime(partitionID string, sequenceNumber int64) *time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	points := h.points[partitionID]
	i, exact := slices.BinarySearchFunc(points, sequenceNumber, func(p point, n int64) int {
		switch {
		case p.sequenceNumber < n:
			return -1
		case p.sequenceNumber > n:
			return 1
		}
		return 0
	})
	switch {
	case exact:
		at := points[i].enqueued
		return &at
	case i == 0 || i == len(points):
		return nil
	}
	a, b := points[i-1], points[i]
	part := float64(sequenceNumber-a.sequenceNumber) / float64(b.sequenceNumber-a.sequenceNumber)
	at := a.enqueued.Add(time.Duration(part * float64(b.enqueued.Sub(a.enqueued))))
	return &at
}
