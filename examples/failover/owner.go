package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

const (
	namespace     = "example.servicebus.windows.net"
	consumerGroup = "$Default"

	eventsPerRound = 3 // that an owner handles of each of its partitions
	checkpointEach = 5 // events
)

// errKilled is the cause of a context that ends an owner without a farewell.
var errKilled = errors.New("killed")

// pace is how fast things happen.
type pace struct {
	interval time.Duration // between two rounds of an owner
	expiry   time.Duration // after which an ownership that was not renewed is free
}

// owner is one consumer: it shares the partitions of the hub with the others,
// handles events and records how far it got. It is what a real program leaves
// to azeventhubs.Processor, in few lines.
type owner struct {
	id      string
	store   checkpointstore.CheckpointStore
	hub     *hub
	hubName string
	pace    pace
	log     *timeline

	mu   sync.Mutex
	owns map[string]checkpointstore.Ownership
	next map[string]int64 // the next event, by partition that it owns
}

// run works until ctx ends. Unless it is killed, it then relinquishes what it
// owns, so that others need not wait for the expiry.
func (o *owner) run(ctx context.Context) error {
	for {
		if err := o.round(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("owner %s: %w", o.id, err)
		}
		select {
		case <-time.After(o.pace.interval):
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errKilled) {
				return nil
			}
			return o.relinquish(context.WithoutCancel(ctx))
		}
	}
}

// round renews what the owner has, claims what it may, and handles events.
func (o *owner) round(ctx context.Context) error {
	records, err := o.store.ListOwnership(ctx, namespace, o.hubName, consumerGroup, nil)
	if err != nil {
		return err
	}
	won, err := o.store.ClaimOwnership(ctx, o.choose(records), nil)
	o.take(ctx, records, won)
	if err != nil {
		return err
	}
	for _, partition := range o.partitions() {
		if err := o.handle(ctx, partition); err != nil {
			return err
		}
	}
	return nil
}

// choose decides what to claim: its own partitions again, and one more if it has
// fewer than its share: a free one, or one of the owner that has the most.
func (o *owner) choose(records []checkpointstore.Ownership) []checkpointstore.Ownership {
	free := make(map[string]checkpointstore.Ownership)
	for _, id := range o.hub.partitions {
		free[id] = checkpointstore.Ownership{
			FullyQualifiedNamespace: namespace, EventHubName: o.hubName, ConsumerGroup: consumerGroup, PartitionID: id,
		}
	}
	byOwner := map[string][]checkpointstore.Ownership{o.id: nil}
	for _, r := range records {
		if r.OwnerID == "" || time.Since(r.LastModifiedTime) > o.pace.expiry {
			free[r.PartitionID] = r
			continue
		}
		delete(free, r.PartitionID)
		byOwner[r.OwnerID] = append(byOwner[r.OwnerID], r)
	}
	claims := byOwner[o.id]
	share := (len(o.hub.partitions) + len(byOwner) - 1) / len(byOwner)
	if len(claims) < share {
		for _, id := range o.hub.partitions { // in the order of the partitions
			if r, isFree := free[id]; isFree && len(claims) < share {
				claims = append(claims, r)
			}
		}
		for _, theirs := range byOwner {
			if len(claims) < share && len(theirs) > share {
				claims = append(claims, theirs[len(theirs)-1])
			}
		}
	}
	for i := range claims {
		claims[i].OwnerID = o.id
	}
	return claims
}

// take makes what was won the owner's own, and starts new partitions at their
// checkpoints.
func (o *owner) take(ctx context.Context, before, won []checkpointstore.Ownership) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owned := make(map[string]checkpointstore.Ownership)
	var fresh []string
	for _, w := range won {
		owned[w.PartitionID] = w
		if _, had := o.owns[w.PartitionID]; !had {
			fresh = append(fresh, w.PartitionID)
		}
	}
	for id := range o.owns {
		if _, still := owned[id]; !still {
			o.log.printf("%s lost partition %s", o.id, id)
			delete(o.next, id)
		}
	}
	o.owns = owned
	if len(fresh) == 0 {
		return
	}
	checkpoints, err := o.store.ListCheckpoints(ctx, namespace, o.hubName, consumerGroup, nil)
	if err != nil { // the partitions are renewed in the next round, and start then
		for _, id := range fresh {
			delete(o.owns, id)
		}
		return
	}
	for _, id := range fresh {
		o.next[id] = 0
		for _, c := range checkpoints {
			if c.PartitionID == id && c.SequenceNumber != nil {
				o.next[id] = *c.SequenceNumber + 1
			}
		}
		o.log.printf("%s claimed partition %s%s, goes on at event %d", o.id, id, from(before, id), o.next[id])
	}
}

// from says whose partition it was.
func from(before []checkpointstore.Ownership, partition string) string {
	i := slices.IndexFunc(before, func(r checkpointstore.Ownership) bool { return r.PartitionID == partition })
	switch {
	case i < 0:
		return ""
	case before[i].OwnerID == "":
		return ", relinquished"
	}
	return " from " + before[i].OwnerID
}

// handle handles a few events of a partition and checkpoints now and then.
func (o *owner) handle(ctx context.Context, partition string) error {
	for range eventsPerRound {
		n := o.position(partition)
		if ctx.Err() != nil || !o.hub.handle(partition, n) {
			return ctx.Err()
		}
		o.advance(partition)
		if (n+1)%checkpointEach == 0 || n+1 == o.hub.events {
			if err := o.checkpoint(ctx, partition, n); err != nil && !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
				return err
			}
		}
	}
	return nil
}

func (o *owner) checkpoint(ctx context.Context, partition string, sequenceNumber int64) error {
	offset := fmt.Sprint(sequenceNumber * 100)
	return o.store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: o.hubName, ConsumerGroup: consumerGroup, PartitionID: partition,
		SequenceNumber: &sequenceNumber, Offset: &offset,
	}, nil)
}

// relinquish gives up what the owner has: claims with an empty owner id.
func (o *owner) relinquish(ctx context.Context) error {
	o.mu.Lock()
	claims := make([]checkpointstore.Ownership, 0, len(o.owns))
	for _, r := range o.owns {
		r.OwnerID = ""
		claims = append(claims, r)
	}
	o.mu.Unlock()
	won, err := o.store.ClaimOwnership(ctx, claims, nil)
	o.log.printf("%s stopped and relinquished %d partitions", o.id, len(won))
	return err
}

func (o *owner) position(partition string) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next[partition]
}

func (o *owner) advance(partition string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next[partition]++
}

// partitions is what the owner has, sorted.
func (o *owner) partitions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make([]string, 0, len(o.owns))
	for id := range o.owns {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return ids
}
