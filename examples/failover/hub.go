package main

import (
	"fmt"
	"sync"
)

// hub is the event hub of the example: partitions with events that are there
// from the beginning, numbered from 0. It keeps count of who handled what.
type hub struct {
	partitions []string
	events     int64 // in each partition

	mu      sync.Mutex
	handled map[string][]int // how often, by partition and sequence number
}

func newHub(partitions int, events int64) *hub {
	h := &hub{events: events, handled: make(map[string][]int)}
	for i := range partitions {
		id := fmt.Sprint(i)
		h.partitions = append(h.partitions, id)
		h.handled[id] = make([]int, events)
	}
	return h
}

// handle handles one event. It reports false at the end of the partition.
func (h *hub) handle(partition string, sequenceNumber int64) bool {
	if sequenceNumber >= h.events {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handled[partition][sequenceNumber]++
	return true
}

// count returns how many events were never handled, and how many more than once.
func (h *hub) count() (never, again int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, times := range h.handled {
		for _, n := range times {
			switch {
			case n == 0:
				never++
			case n > 1:
				again++
			}
		}
	}
	return never, again
}
