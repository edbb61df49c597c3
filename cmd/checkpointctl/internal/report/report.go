// Package report has the JSON that the command and its page have in common: one
// partition of a consumer group. What is not known is nil.
package report

import (
	"time"

	"github.com/ea947076/checkpointstore/ops"
)

// Partition is one partition of a consumer group.
type Partition struct {
	PartitionID    string     `json:"partitionId"`
	State          ops.State  `json:"state"`
	OwnerID        *string    `json:"ownerId"`
	OwnershipAge   *Seconds   `json:"ownershipAgeSeconds"`
	SequenceNumber *int64     `json:"sequenceNumber"`
	Offset         *string    `json:"offset"`
	Generation     *int64     `json:"generation"`
	Writer         *string    `json:"writer"`
	EnqueuedTime   *time.Time `json:"enqueuedTime"`
	CheckpointTime *time.Time `json:"checkpointTime"`
	CheckpointAge  *Seconds   `json:"checkpointAgeSeconds"`
	Spelling       *string    `json:"checkpointSpelling"`
	LagState       *string    `json:"lagState"`
	Lag            *int64     `json:"lag"`
	Kept           *int64     `json:"kept"`
	Lost           *int64     `json:"lost"`
	Ahead          *int64     `json:"ahead"`
	LagTime        *Seconds   `json:"lagSeconds"`
	LagMethod      *string    `json:"lagMethod"`
}

// Seconds is a duration in JSON.
type Seconds float64

// SecondsOf converts a duration. Nil stays nil.
func SecondsOf(d *time.Duration) *Seconds {
	if d == nil {
		return nil
	}
	s := Seconds(d.Seconds())
	return &s
}

// Duration converts it back.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// PartitionOf reports a partition of a snapshot, without its lag.
func PartitionOf(p ops.Partition) Partition {
	out := Partition{PartitionID: p.ID, State: p.State}
	if o := p.Ownership; o != nil {
		out.OwnershipAge = SecondsOf(&p.OwnershipAge)
		if o.OwnerID != "" {
			out.OwnerID = &o.OwnerID
		}
	}
	if c := p.Checkpoint; c != nil {
		spelling := c.FullyQualifiedNamespace + "/" + c.EventHubName + "/" + c.ConsumerGroup
		out.SequenceNumber, out.Offset, out.Generation, out.EnqueuedTime = c.SequenceNumber, c.Offset, &c.Generation, c.EnqueuedTime
		out.CheckpointTime, out.CheckpointAge, out.Spelling = &c.LastModifiedTime, SecondsOf(&p.CheckpointAge), &spelling
		if c.ClientID != "" {
			out.Writer = &c.ClientID
		}
	}
	return out
}

// AddLag adds the partition's lag.
func (p *Partition) AddLag(l ops.Lag) {
	state := string(l.State)
	p.LagState, p.Lag, p.Kept, p.LagTime = &state, l.Events, l.Kept, SecondsOf(l.Time)
	switch l.State {
	case ops.LagExpired:
		p.Lost = &l.Lost
	case ops.LagAhead:
		p.Ahead = &l.Ahead
	}
	if l.Method != "" {
		method := string(l.Method)
		p.LagMethod = &method
	}
}
