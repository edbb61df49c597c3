package ops_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore/ops"
)

// noon is when the event with sequence number 0 was enqueued; one follows each second.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func offsetOf(n int64) string {
	if n < 0 {
		return "-1"
	}
	return strconv.FormatInt(n*100, 10)
}

func event(n int64) ops.Event {
	return ops.Event{SequenceNumber: n, Offset: offsetOf(n), EnqueuedTime: noon.Add(time.Duration(n) * time.Second)}
}

// fakeHub is an event hub in memory. An event's offset is its number times 100.
type fakeHub struct {
	mu         sync.Mutex
	partitions map[string]fakePartition
	reads      int
	fail       map[string]error // of PartitionProperties
}

// fakePartition has the events from first to last but those missing.
type fakePartition struct {
	first, last int64
	missing     func(int64) bool
}

func newHub(partitions map[string]fakePartition) *fakeHub { return &fakeHub{partitions: partitions} }

func (p fakePartition) has(n int64) bool {
	return n >= p.first && n <= p.last && (p.missing == nil || !p.missing(n))
}

func (h *fakeHub) PartitionIDs(context.Context) ([]string, error) {
	var ids []string
	for id := range h.partitions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func (h *fakeHub) PartitionProperties(_ context.Context, id string) (ops.PartitionProperties, error) {
	if err := h.fail[id]; err != nil {
		return ops.PartitionProperties{}, err
	}
	p, found := h.partitions[id]
	if !found {
		return ops.PartitionProperties{}, fmt.Errorf("no partition %q", id)
	}
	last := event(p.last)
	if p.last < 0 {
		last.EnqueuedTime = time.Time{}
	}
	return ops.PartitionProperties{
		BeginningSequenceNumber:    p.first,
		LastEnqueuedSequenceNumber: p.last,
		LastEnqueuedOffset:         last.Offset,
		LastEnqueuedTime:           last.EnqueuedTime,
		IsEmpty:                    p.first > p.last,
	}, nil
}

func (h *fakeHub) ReadEvent(ctx context.Context, id string, from ops.ReadFrom) (*ops.Event, error) {
	h.mu.Lock()
	h.reads++
	h.mu.Unlock()
	p := h.partitions[id]
	for n := p.first; n <= p.last; n++ {
		e := event(n)
		offset, _ := strconv.ParseInt(from.Offset, 10, 64)
		switch {
		case !p.has(n),
			from.SequenceNumber != nil && n < *from.SequenceNumber,
			from.EnqueuedTime != nil && e.EnqueuedTime.Before(*from.EnqueuedTime),
			from.Offset != "" && n*100 < offset:
			continue
		}
		return &e, nil
	}
	<-ctx.Done() // nothing to deliver: as a real one, it waits
	return nil, nil
}
