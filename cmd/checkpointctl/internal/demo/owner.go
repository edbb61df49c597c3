package demo

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

const (
	// renewEvery is the time between two rounds of an owner, a second more or less.
	renewEvery = 4 * time.Second

	// checkpointEvery is the time between two checkpoints of a partition, a second more or less.
	checkpointEvery = 5 * time.Second
)

// owner is a consumer: it renews and claims ownerships, handles events, and stores
// checkpoints.
type owner struct {
	group  *group
	id     string
	store  *memstore.Store // of its own, as in a process of its own
	next   time.Time       // when the next round is due
	paused time.Time       // until when it stands still
	held   map[string]*held
	order  []string // the keys of held, sorted
}

// held is a partition that the owner believes to own.
type held struct {
	ownership checkpointstore.Ownership
	position  int64 // sequence number of the last event that was handled
	part      float64
	stored    int64     // of the latest checkpoint
	due       time.Time // when the next checkpoint is
}

// tick lets a moment pass.
func (o *owner) tick(ctx context.Context, now time.Time) error {
	if !now.Before(o.next) {
		if err := o.round(ctx, now); err != nil {
			return err
		}
		o.next = now.Add(o.group.between(renewEvery-time.Second, renewEvery+time.Second))
	}
	return o.handle(ctx, now)
}

// round renews, and claims up to a fair share: free partitions first, then those of
// owners that have more than theirs.
func (o *owner) round(ctx context.Context, now time.Time) error {
	if err := o.renew(ctx); err != nil {
		return err
	}
	s := o.group.scope()
	records, err := o.store.ListOwnership(ctx, s.FullyQualifiedNamespace, s.EventHubName, s.ConsumerGroup, nil)
	if err != nil {
		return err
	}
	taken := make(map[string]checkpointstore.Ownership)
	byOwner := map[string]int{o.id: 0}
	for _, r := range records {
		taken[r.PartitionID] = r
		if alive(r, now) {
			byOwner[r.OwnerID]++
		}
	}
	n := len(o.group.hub.partitions)
	least := n / len(byOwner)
	share := (n + len(byOwner) - 1) / len(byOwner)
	var claims []checkpointstore.Ownership
	for _, i := range o.group.fleet.random.Perm(n) {
		id := strconv.Itoa(i)
		if r := taken[id]; o.held[id] == nil && !alive(r, now) && len(o.held)+len(claims) < share {
			claims = append(claims, o.claim(id, r))
		}
	}
	for _, r := range records {
		if alive(r, now) && r.OwnerID != o.id && byOwner[r.OwnerID] > least && len(o.held)+len(claims) < least {
			claims = append(claims, o.claim(r.PartitionID, r))
			byOwner[r.OwnerID]--
		}
	}
	if len(claims) == 0 {
		return nil
	}
	won, err := o.store.ClaimOwnership(ctx, claims, nil)
	if err != nil {
		return err
	}
	for _, w := range won {
		if err := o.take(ctx, w, now); err != nil {
			return err
		}
	}
	return nil
}

func alive(r checkpointstore.Ownership, now time.Time) bool {
	return r.OwnerID != "" && now.Sub(r.LastModifiedTime) <= Expiration
}

// claim is a claim of a partition whose record was read, or of one without a record.
func (o *owner) claim(id string, r checkpointstore.Ownership) checkpointstore.Ownership {
	s := o.group.scope()
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: s.FullyQualifiedNamespace, EventHubName: s.EventHubName, ConsumerGroup: s.ConsumerGroup,
		PartitionID: id, OwnerID: o.id, ETag: r.ETag,
	}
}

// renew claims what the owner has again, and drops what it lost.
func (o *owner) renew(ctx context.Context) error {
	if len(o.order) == 0 {
		return nil
	}
	claims := make([]checkpointstore.Ownership, 0, len(o.order))
	for _, id := range o.order {
		claims = append(claims, o.held[id].ownership)
	}
	won, err := o.store.ClaimOwnership(ctx, claims, nil)
	if err != nil {
		return err
	}
	kept := make(map[string]bool, len(won))
	for _, w := range won {
		o.held[w.PartitionID].ownership = w
		kept[w.PartitionID] = true
	}
	o.drop(func(id string) bool { return !kept[id] })
	return nil
}

// take begins to read a partition where its checkpoint is.
func (o *owner) take(ctx context.Context, w checkpointstore.Ownership, now time.Time) error {
	h := &held{ownership: w, position: -1}
	c, err := o.store.GetCheckpoint(ctx, w.FullyQualifiedNamespace, w.EventHubName, w.ConsumerGroup, w.PartitionID, nil)
	switch {
	case err == nil:
		h.position = *c.SequenceNumber
	case !errors.Is(err, checkpointstore.ErrNotFound):
		return err
	}
	h.stored = h.position
	h.due = now.Add(o.group.between(0, checkpointEvery))
	o.held[w.PartitionID] = h
	i, _ := slices.BinarySearch(o.order, w.PartitionID)
	o.order = slices.Insert(o.order, i, w.PartitionID)
	return nil
}

func (o *owner) drop(which func(id string) bool) {
	o.order = slices.DeleteFunc(o.order, func(id string) bool {
		if which(id) {
			delete(o.held, id)
			return true
		}
		return false
	})
}

// handle handles events, and stores the checkpoints that are due.
func (o *owner) handle(ctx context.Context, now time.Time) error {
	if len(o.order) == 0 {
		return nil
	}
	each := o.group.capacity * tick.Seconds() / float64(len(o.order))
	lost := make(map[string]bool)
	for _, id := range o.order {
		h := o.held[id]
		p, err := o.group.hub.partition(id)
		if err != nil {
			return err
		}
		if _, stuck := o.group.stuck[id]; !stuck {
			h.position = max(h.position, p.first(now)-1)
			// A partition may use more than an equal part of the capacity, as others
			// use less.
			room := max(each, 4*p.rate*tick.Seconds()) + h.part
			whole := math.Floor(room)
			h.part = room - whole
			h.position = min(p.last, h.position+int64(whole))
		}
		if h.position <= h.stored || now.Before(h.due) {
			continue
		}
		h.due = now.Add(o.group.between(checkpointEvery-time.Second, checkpointEvery+time.Second))
		err = o.checkpoint(ctx, id, p.event(h.position).EnqueuedTime)
		switch {
		case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
			lost[id] = true // somebody else has it, or it was rewound
		case err != nil:
			return err
		}
	}
	if len(lost) > 0 {
		o.drop(func(id string) bool { return lost[id] })
	}
	return nil
}

func (o *owner) checkpoint(ctx context.Context, id string, enqueued time.Time) error {
	h := o.held[id]
	offset := offsetOf(h.position)
	err := o.store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
		FullyQualifiedNamespace: h.ownership.FullyQualifiedNamespace, EventHubName: h.ownership.EventHubName,
		ConsumerGroup: h.ownership.ConsumerGroup, PartitionID: id, SequenceNumber: &h.position, Offset: &offset,
	}, &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &enqueued})
	if err == nil {
		h.stored = h.position
	}
	return err
}

// relinquish gives all partitions up.
func (o *owner) relinquish(ctx context.Context) error { return o.giveUp(ctx, slices.Clone(o.order)) }

// giveUp relinquishes partitions, so that others can claim them at once.
func (o *owner) giveUp(ctx context.Context, ids []string) error {
	var claims []checkpointstore.Ownership
	gone := make(map[string]bool)
	for _, id := range ids {
		c := o.held[id].ownership
		c.OwnerID = ""
		claims = append(claims, c)
		gone[id] = true
	}
	if len(claims) == 0 {
		return nil
	}
	if _, err := o.store.ClaimOwnership(ctx, claims, nil); err != nil {
		return err
	}
	o.drop(func(id string) bool { return gone[id] })
	return nil
}
