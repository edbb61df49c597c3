package live

import (
	"time"

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
	LagTime             *seconds          `json:"lagSeconds"`
	LagUnknown          int               `json:"lagUnknownPartitions"`
	Lost                *int64            `json:"lost"`
	OldestCheckpointAge *seconds          `json:"oldestCheckpointAgeSeconds"`
	Error               *string           `json:"error"`
}

// Partition is one partition of a consumer group in JSON, with the fields of
// checkpointctl status.
type Partition struct {
	ID             string     `json:"partitionId"`
	State          ops.State  `json:"state"`
	OwnerID        *string    `json:"ownerId"`
	OwnershipAge   *seconds   `json:"ownershipAgeSeconds"`
	SequenceNumber *int64     `json:"sequenceNumber"`
	Offset         *string    `json:"offset"`
	Generation     *int64     `json:"generation"`
	Writer         *string    `json:"writer"`
	EnqueuedTime   *time.Time `json:"enqueuedTime"`
	CheckpointTime *time.Time `json:"checkpointTime"`
	CheckpointAge  *seconds   `json:"checkpointAgeSeconds"`
	Spelling       *string    `json:"checkpointSpelling"`
	LagState       *string    `json:"lagState"`
	Lag            *int64     `json:"lag"`
	Kept           *int64     `json:"kept"`
	Lost           *int64     `json:"lost"`
	Ahead          *int64     `json:"ahead"`
	LagTime        *seconds   `json:"lagSeconds"`
	LagMethod      *string    `json:"lagMethod"`
}

// seconds is a duration in JSON, to the millisecond.
type seconds float64

func secondsOf(d time.Duration) *seconds {
	s := seconds(d.Round(time.Millisecond).Seconds())
	return &s
}

// partitionsOf returns the partitions of a consumer group's snapshot and those that
// only its event hub has, in the order of the event hub.
func partitionsOf(g *group) []Partition {
	known := make(map[string]bool)
	partitions := make([]Partition, 0, max(len(g.lags), len(g.snapshot.Partitions)))
	for _, p := range g.snapshot.Partitions {
		known[p.ID] = true
		partitions = append(partitions, partitionOf(g, p))
	}
	added := false
	for id := range g.lags {
		if !known[id] {
			partitions, added = append(partitions, partitionOf(g, g.snapshot.Partition(id))), true
		}
	}
	if added {
		sortPartitions(partitions)
	}
	return partitions
}

func partitionOf(g *group, p ops.Partition) Partition {
	out := Partition{ID: p.ID, State: p.State}
	if o := p.Ownership; o != nil {
		out.OwnershipAge = secondsOf(p.OwnershipAge)
		if o.OwnerID != "" {
			out.OwnerID = &o.OwnerID
		}
	}
	if c := p.Checkpoint; c != nil {
		spelling := c.FullyQualifiedNamespace + "/" + c.EventHubName + "/" + c.ConsumerGroup
		out.SequenceNumber, out.Offset, out.Generation, out.EnqueuedTime = c.SequenceNumber, c.Offset, &c.Generation, c.EnqueuedTime
		out.CheckpointTime, out.CheckpointAge, out.Spelling = &c.LastModifiedTime, secondsOf(p.CheckpointAge), &spelling
		if c.ClientID != "" {
			out.Writer = &c.ClientID
		}
	}
	if g.hub != nil {
		out.addLag(g.lags[p.ID])
	}
	return out
}

// addLag adds a lag. The zero value is one that is not known yet.
func (p *Partition) addLag(l ops.Lag) {
	state := string(l.State)
	if l.State == "" {
		state = string(ops.LagUnknown)
	}
	p.LagState, p.Lag, p.Kept = &state, l.Events, l.Kept
	switch l.State {
	case ops.LagExpired:
		p.Lost = &l.Lost
	case ops.LagAhead:
		p.Ahead = &l.Ahead
	}
	if l.Time != nil {
		p.LagTime = secondsOf(*l.Time)
	}
	if l.Method != "" {
		method := string(l.Method)
		p.LagMethod = &method
	}
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
func longer(a, b *seconds) *seconds {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}
