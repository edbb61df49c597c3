package ops

import (
	"slices"
	"sync"
	"time"
)

// History remembers the last events that a hub's partitions had at several times, to
// estimate when an event was enqueued without reading it. Its size is bounded, and it
// is safe for concurrent use. Create it with [NewHistory].
//
// The method is that of kafka-lag-exporter: each response of the hub says when its last
// event was enqueued, and times between two responses are interpolated linearly.
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

// NewHistory returns a history that keeps the latest n points of each partition. Zero
// means 360.
func NewHistory(n int) *History {
	if n <= 0 {
		n = 360
	}
	return &History{max: max(n, 2), points: make(map[string][]point)}
}

// Add adds a response of the hub. It ignores partitions whose request failed and those
// that never had an event. If a partition's sequence numbers or times went back, as
// after the hub was created anew, its earlier points are dropped.
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

// EnqueuedTime returns an estimate of when the event with a sequence number was
// enqueued, or nil if the number is not within the history.
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
