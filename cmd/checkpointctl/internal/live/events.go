package live

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
)

// maxEvents is how many events of a consumer group are kept.
const maxEvents = 500

// The kinds of an Event.
const (
	// OwnerChanged: another owner, or none, has the partition.
	OwnerChanged = "owner"

	// Reset: the checkpoint is of a later generation. It was rewound on purpose.
	Reset = "reset"

	// CheckpointBack: the checkpoint went back, or away, in the same generation. A
	// consumer of another package wrote it, or somebody deleted it.
	CheckpointBack = "checkpoint-back"
)

// Event is something that changed from one round to the next.
type Event struct {
	Time        time.Time
	PartitionID string
	Kind        string

	From, To *string // owners of OwnerChanged, nil for none

	Generation           int64  // of Reset
	FromNumber, ToNumber *int64 // sequence numbers of Reset and CheckpointBack
}

// MarshalJSON writes the fields of the event's kind.
func (e Event) MarshalJSON() ([]byte, error) {
	type common struct {
		Time        time.Time `json:"time"`
		PartitionID string    `json:"partitionId"`
		Kind        string    `json:"kind"`
	}
	type numbers struct {
		From *int64 `json:"fromSequenceNumber"`
		To   *int64 `json:"toSequenceNumber"`
	}
	is := common{e.Time.UTC(), e.PartitionID, e.Kind}
	switch e.Kind {
	case OwnerChanged:
		return json.Marshal(struct {
			common
			From *string `json:"from"`
			To   *string `json:"to"`
		}{is, e.From, e.To})
	case Reset:
		return json.Marshal(struct {
			common
			Generation int64 `json:"generation"`
			numbers
		}{is, e.Generation, numbers{e.FromNumber, e.ToNumber}})
	}
	return json.Marshal(struct {
		common
		numbers
	}{is, numbers{e.FromNumber, e.ToNumber}})
}

// addEvents compares the partitions of two rounds, and returns the events with those
// that it found, the newest last. Without a round before there is nothing to compare.
func addEvents(events []Event, at time.Time, before, now []report.Partition) []Event {
	if before == nil {
		return events
	}
	old := make(map[string]report.Partition, len(before))
	for _, p := range before {
		old[p.PartitionID] = p
	}
	var found []Event
	add := func(id string, was, is report.Partition) {
		if !equal(was.OwnerID, is.OwnerID) {
			found = append(found, Event{Time: at, PartitionID: id, Kind: OwnerChanged, From: was.OwnerID, To: is.OwnerID})
		}
		e := Event{Time: at, PartitionID: id, FromNumber: was.SequenceNumber, ToNumber: is.SequenceNumber}
		switch {
		case was.Generation == nil:
		case is.Generation != nil && *is.Generation > *was.Generation:
			e.Kind, e.Generation = Reset, *is.Generation
		case was.SequenceNumber != nil && (is.SequenceNumber == nil || *is.SequenceNumber < *was.SequenceNumber):
			e.Kind = CheckpointBack
		}
		if e.Kind != "" {
			found = append(found, e)
		}
	}
	for _, p := range now {
		add(p.PartitionID, old[p.PartitionID], p)
		delete(old, p.PartitionID)
	}
	for _, p := range before {
		if _, gone := old[p.PartitionID]; gone {
			add(p.PartitionID, p, report.Partition{})
		}
	}
	if len(found) == 0 {
		return events
	}
	all := slices.Concat(events, found)
	return all[max(0, len(all)-maxEvents):]
}

func equal(a, b *string) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
