package demo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore/ops"
)

const (
	// bytesPerEvent makes offsets of sequence numbers.
	bytesPerEvent = 512

	// markEvery is how often a partition notes when its last event was enqueued. Times
	// between two marks are interpolated.
	markEvery = 10 * time.Second
)

// hub is an event hub without events: it only counts them. It belongs to the fleet,
// whose lock guards it.
type hub struct {
	fleet      *Fleet
	name       string
	partitions []*hubPartition
}

// hubPartition counts the events of a partition.
type hubPartition struct {
	rate   float64       // events per second, on average
	keep   time.Duration // how long events are kept
	phase  float64       // of the waves in it
	part   float64       // of an event that is not there yet
	last   int64         // sequence number of the last event, -1 for none
	lastAt time.Time
	marks  []mark // in the order of time
}

// mark is when an event was enqueued.
type mark struct {
	number int64
	at     time.Time
}

// enqueue adds the events of a moment.
func (p *hubPartition) enqueue(now time.Time, events float64) {
	p.part += events
	n := int64(p.part)
	p.part -= float64(n)
	if n > 0 {
		p.last += n
		p.lastAt = now
	}
	if p.last >= 0 && (len(p.marks) == 0 || now.Sub(p.marks[len(p.marks)-1].at) >= markEvery) {
		p.marks = append(p.marks, mark{p.last, p.lastAt})
		// The oldest mark is the last one before those events that are kept.
		old := 0
		for old+1 < len(p.marks) && now.Sub(p.marks[old+1].at) > p.keep {
			old++
		}
		p.marks = slices.Delete(p.marks, 0, old)
	}
}

// first is the sequence number of the oldest event that is kept.
func (p *hubPartition) first(now time.Time) int64 {
	if len(p.marks) > 0 && now.Sub(p.marks[0].at) > p.keep {
		return p.marks[0].number + 1
	}
	return 0
}

// enqueued returns when an event was enqueued, by the marks around it.
func (p *hubPartition) enqueued(number int64) time.Time {
	i, _ := slices.BinarySearchFunc(p.marks, number, func(m mark, n int64) int { return int(min(max(m.number-n, -1), 1)) })
	switch {
	case i == len(p.marks):
		return p.lastAt
	case i == 0 || p.marks[i].number == number:
		return p.marks[i].at
	}
	a, b := p.marks[i-1], p.marks[i]
	part := float64(number-a.number) / float64(b.number-a.number)
	return a.at.Add(time.Duration(part * float64(b.at.Sub(a.at))))
}

// numberAt returns the sequence number of the first event at or after a time.
func (p *hubPartition) numberAt(at time.Time) int64 {
	low, high := int64(0), p.last+1
	for low < high {
		middle := (low + high) / 2
		if p.enqueued(middle).Before(at) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

func (p *hubPartition) event(number int64) *ops.Event {
	return &ops.Event{SequenceNumber: number, Offset: offsetOf(number), EnqueuedTime: p.enqueued(number)}
}

func offsetOf(number int64) string { return strconv.FormatInt(number*bytesPerEvent, 10) }

// PartitionIDs implements [ops.EventHub].
func (h *hub) PartitionIDs(context.Context) ([]string, error) {
	ids := make([]string, len(h.partitions))
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids, nil
}

func (h *hub) partition(id string) (*hubPartition, error) {
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(h.partitions) {
		return nil, fmt.Errorf("event hub %s has no partition %q", h.name, id)
	}
	return h.partitions[i], nil
}

// PartitionProperties implements [ops.EventHub].
func (h *hub) PartitionProperties(_ context.Context, id string) (ops.PartitionProperties, error) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	return h.properties(id)
}

func (h *hub) properties(id string) (ops.PartitionProperties, error) {
	p, err := h.partition(id)
	if err != nil {
		return ops.PartitionProperties{}, err
	}
	if p.last < 0 {
		return ops.PartitionProperties{LastEnqueuedSequenceNumber: -1, LastEnqueuedOffset: "-1", IsEmpty: true}, nil
	}
	first := p.first(h.fleet.Now())
	return ops.PartitionProperties{
		BeginningSequenceNumber:    first,
		LastEnqueuedSequenceNumber: p.last,
		LastEnqueuedOffset:         offsetOf(p.last),
		LastEnqueuedTime:           p.lastAt,
		IsEmpty:                    first > p.last,
	}, nil
}

// ReadEvent implements [ops.EventHub].
func (h *hub) ReadEvent(_ context.Context, id string, from ops.ReadFrom) (*ops.Event, error) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	return h.readEvent(id, from)
}

func (h *hub) readEvent(id string, from ops.ReadFrom) (*ops.Event, error) {
	p, err := h.partition(id)
	if err != nil {
		return nil, err
	}
	var number int64
	switch {
	case from.SequenceNumber != nil:
		number = *from.SequenceNumber
	case from.EnqueuedTime != nil:
		number = p.numberAt(*from.EnqueuedTime)
	default:
		bytes, err := strconv.ParseInt(from.Offset, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("event hub %s has no offset %q", h.name, from.Offset)
		}
		number = (bytes + bytesPerEvent - 1) / bytesPerEvent
	}
	if number = max(number, p.first(h.fleet.Now())); number > p.last {
		return nil, nil
	}
	return p.event(number), nil
}

// unlocked is the same event hub for the fleet itself, which holds the lock.
type unlocked struct{ *hub }

func (h unlocked) PartitionProperties(_ context.Context, id string) (ops.PartitionProperties, error) {
	return h.properties(id)
}

func (h unlocked) ReadEvent(_ context.Context, id string, from ops.ReadFrom) (*ops.Event, error) {
	return h.readEvent(id, from)
}
