package ops

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore"
)

// DefaultExpiration is the time without renewal after which an ownership counts as
// expired. It is the default of azeventhubs' Processor and of package processor.
const DefaultExpiration = time.Minute

// State says whether a partition has an owner.
type State string

const (
	Live         State = "live"         // owned, and renewed within the expiration
	Expired      State = "expired"      // owned, and not renewed for longer
	Relinquished State = "relinquished" // the ownership record has no owner ID
	NeverOwned   State = "never owned"  // there is no ownership record

	// NotOfHub is set only by [Snapshot.WithHub]: the partition has no live owner, and
	// the event hub does not have it.
	NotOfHub State = "not a partition of the hub"
)

// Snapshot is what a store held for a consumer group at one time.
type Snapshot struct {
	Scope      Scope         // as the caller spelled it
	Spelling   Scope         // as the store writes it
	Time       time.Time     // the store's clock when it responded; ages are relative to it
	Expiration time.Duration // the age from which an ownership counts as expired
	Partitions []Partition   // sorted by ID, numbers first
}

// Partition is one partition of a [Snapshot].
//
// There may be records under the store's own spelling of the names and under the other
// one. Ownership is then the one under the store's own spelling. Checkpoint is the one
// that ListCheckpoints of the store returns: with the default BlobNaming the one that
// was modified last, otherwise the one under the store's own spelling.
type Partition struct {
	ID    string
	State State // the state of Ownership

	// Ownership is nil if the partition was never owned under the store's spelling.
	Ownership    *checkpointstore.Ownership
	OwnershipAge time.Duration // since it was written

	// Checkpoint is nil if there is none. Its SequenceNumber and Offset are nil if they
	// cannot be read.
	Checkpoint    *checkpointstore.CheckpointRecord
	CheckpointAge time.Duration // since it was written

	// Own is the checkpoint under the store's own spelling, or nil if there is none. It
	// differs from Checkpoint if the one under the other spelling was modified later.
	Own *checkpointstore.CheckpointRecord

	// Other has the records under the other spelling, or is nil if there are none.
	Other *OtherSpelling
}

// OtherSpelling has the records of a partition under the spelling of the names that
// the store does not write.
type OtherSpelling struct {
	Scope      Scope
	State      State
	Ownership  *checkpointstore.Ownership        // nil if there is none
	Checkpoint *checkpointstore.CheckpointRecord // nil if there is none
}

// ReadOptions are the options of Read. Nil is the same as the zero value.
type ReadOptions struct {
	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// Read returns what the store holds for a consumer group. A group without records is
// not an error: its snapshot has no partitions.
//
// Errors and requests are those of the store's ListRecords: on blobs one list request
// for up to 2,500 partitions, and as many again if the names are not in lower case.
func Read(ctx context.Context, store Store, scope Scope, options *ReadOptions) (*Snapshot, error) {
	if options == nil {
		options = &ReadOptions{}
	}
	spellings, err := store.ListRecords(ctx, scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Scope: scope, Expiration: cmp.Or(options.Expiration, DefaultExpiration)}
	byID := make(map[string]*Partition)
	partition := func(id string) *Partition {
		p := byID[id]
		if p == nil {
			p = &Partition{ID: id, State: NeverOwned}
			byID[id] = p
		}
		return p
	}
	for i, records := range spellings {
		if i == 0 {
			s.Time = records.Time
			s.Spelling = spellingOf(records)
		}
		for _, o := range records.Ownerships {
			p := partition(o.PartitionID)
			if i == 0 {
				p.Ownership = &o
				p.OwnershipAge = age(s.Time, o.LastModifiedTime)
				p.State = s.stateOf(o)
				continue
			}
			other := p.other(records)
			other.Ownership, other.State = &o, s.stateOf(o)
		}
		for _, c := range records.Checkpoints {
			p := partition(c.PartitionID)
			if i == 0 {
				p.Checkpoint, p.Own = &c, &c
				continue
			}
			p.other(records).Checkpoint = &c
			if records.Listed && (p.Checkpoint == nil || c.LastModifiedTime.After(p.Checkpoint.LastModifiedTime)) {
				p.Checkpoint = &c
			}
		}
	}
	for _, p := range byID {
		if p.Checkpoint != nil {
			p.CheckpointAge = age(s.Time, p.Checkpoint.LastModifiedTime)
		}
		s.Partitions = append(s.Partitions, *p)
	}
	slices.SortFunc(s.Partitions, func(a, b Partition) int { return CompareIDs(a.ID, b.ID) })
	return s, nil
}

// Partition returns the partition with an id. If it has no records, only its ID and
// its State, [NeverOwned], are set.
func (s *Snapshot) Partition(id string) Partition {
	i, found := slices.BinarySearchFunc(s.Partitions, id, func(p Partition, id string) int { return CompareIDs(p.ID, id) })
	if !found {
		return Partition{ID: id, State: NeverOwned}
	}
	return s.Partitions[i]
}

// WithHub returns a copy of the snapshot for display, compared with an event hub. It
// adds the hub's partitions that have no records, and sets the State of partitions
// that the hub does not have to [NotOfHub], unless they have a live owner.
func (s *Snapshot) WithHub(hub *Hub) *Snapshot {
	shown := *s
	shown.Partitions = slices.Clone(s.Partitions)
	for i := range shown.Partitions {
		p := &shown.Partitions[i]
		if _, found := hub.Partition(p.ID); !found && p.State != Live {
			p.State = NotOfHub
		}
	}
	for _, p := range hub.Partitions {
		i, found := slices.BinarySearchFunc(shown.Partitions, p.ID, func(p Partition, id string) int { return CompareIDs(p.ID, id) })
		if !found {
			shown.Partitions = slices.Insert(shown.Partitions, i, Partition{ID: p.ID, State: NeverOwned})
		}
	}
	return &shown
}

func (s *Snapshot) stateOf(o checkpointstore.Ownership) State {
	switch {
	case o.OwnerID == "":
		return Relinquished
	case age(s.Time, o.LastModifiedTime) > s.Expiration:
		return Expired
	}
	return Live
}

func (p *Partition) other(records checkpointstore.ScopeRecords) *OtherSpelling {
	if p.Other == nil {
		p.Other = &OtherSpelling{
			Scope: spellingOf(records),
			State: NeverOwned,
		}
	}
	return p.Other
}

func spellingOf(records checkpointstore.ScopeRecords) Scope {
	return Scope{
		FullyQualifiedNamespace: records.FullyQualifiedNamespace,
		EventHubName:            records.EventHubName,
		ConsumerGroup:           records.ConsumerGroup,
	}
}

// age returns the time since at, never negative: a record may be written after the
// response's time was set.
func age(now, at time.Time) time.Duration { return max(0, now.Sub(at)) }

// CompareIDs orders the IDs of partitions, as cmp.Compare does: numbers by value, and
// before all other texts.
func CompareIDs(a, b string) int {
	m, errA := strconv.ParseUint(a, 10, 64)
	n, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Or(cmp.Compare(m, n), cmp.Compare(a, b))
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}
