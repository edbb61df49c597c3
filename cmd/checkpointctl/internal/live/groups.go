package live

import (
	"slices"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

// Group is a consumer group in JSON. What is not known is nil.
type Group struct {
	ID                  string            `json:"id"`
	Namespace           string            `json:"fullyQualifiedNamespace"`
	EventHub            string            `json:"eventHubName"`
	Group               string            `json:"consumerGroup"`
	Spellings           []string          `json:"spellings"`
	ReadTime            *time.Time        `json:"readTime"` // the store's clock when it was read
	Partitions          int               `json:"partitions"`
	States              map[ops.State]int `json:"states"`
	Owners              int               `json:"owners"` // of live partitions
	Lag                 *int64            `json:"lag"`    // of the partitions that are known
	LagTime             *report.Seconds   `json:"lagSeconds"`
	LagUnknown          int               `json:"lagUnknownPartitions"`
	Lost                *int64            `json:"lost"`
	OldestCheckpointAge *report.Seconds   `json:"oldestCheckpointAgeSeconds"`
	Error               *string           `json:"error"`
}

// rounded is a duration as the page has it, to the millisecond.
func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// partitionsOf returns the partitions of a consumer group's snapshot and those that
// only its event hub has, in the order of their IDs.
func partitionsOf(g *group) []report.Partition {
	known := make(map[string]bool)
	partitions := make([]report.Partition, 0, max(len(g.lags), len(g.snapshot.Partitions)))
	for _, p := range g.snapshot.Partitions {
		known[p.ID] = true
		partitions = append(partitions, partitionOf(g, p))
	}
	for id := range g.lags {
		if !known[id] {
			partitions = append(partitions, partitionOf(g, g.snapshot.Partition(id)))
		}
	}
	slices.SortFunc(partitions, func(a, b report.Partition) int { return ops.CompareIDs(a.PartitionID, b.PartitionID) })
	return partitions
}

func partitionOf(g *group, p ops.Partition) report.Partition {
	p.OwnershipAge, p.CheckpointAge = rounded(p.OwnershipAge), rounded(p.CheckpointAge)
	out := report.PartitionOf(p)
	if g.hub == nil {
		return out
	}
	lag := g.lags[p.ID]
	if lag.State == "" { // it was not asked for yet
		lag.State = ops.LagUnknown
	}
	if lag.Time != nil {
		d := rounded(*lag.Time)
		lag.Time = &d
	}
	out.AddLag(lag)
	return out
}

// summaryOf sums up what is known of a consumer group.
func summaryOf(g *group) Group {
	s := Group{
		ID: g.id, Namespace: g.scope.FullyQualifiedNamespace, EventHub: g.scope.EventHubName, Group: g.scope.ConsumerGroup,
		Spellings: append([]string{}, g.spellings...), Partitions: len(g.partitions),
		States: map[ops.State]int{ops.Live: 0, ops.Expired: 0, ops.Relinquished: 0, ops.NeverOwned: 0},
	}
	if g.err != nil {
		text := g.err.Error()
		s.Error = &text
	} else if g.hub != nil && g.hub.err != nil {
		text := "event hub: " + g.hub.err.Error()
		s.Error = &text
	}
	if g.snapshot != nil {
		s.ReadTime = &g.snapshot.Time
	}
	owners := make(map[string]bool)
	var lag, lost int64
	known := 0
	for _, p := range g.partitions {
		s.States[p.State]++
		if p.State == ops.Live {
			owners[*p.OwnerID] = true
		}
		if p.Lag != nil {
			known++
			lag += *p.Lag
		}
		if p.Lost != nil {
			lost += *p.Lost
		}
		s.LagTime = longer(s.LagTime, p.LagTime)
		s.OldestCheckpointAge = longer(s.OldestCheckpointAge, p.CheckpointAge)
	}
	s.Owners, s.LagUnknown = len(owners), len(g.partitions)-known
	if known > 0 {
		s.Lag, s.Lost = &lag, &lost
	}
	return s
}

// longer returns the longer one of two durations. Nil is not known.
func longer(a, b *report.Seconds) *report.Seconds {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}
