package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ea947076/checkpointstore"
)

// owner lists, claims, renews, steals and relinquishes at random.
type owner struct {
	config
	name    string
	id      string // that it claims with
	client  client
	random  *rand.Rand
	backend backend
	history *history
	view    map[string]record // what it knows, by partition; it claims no partition that is missing here
}

// record is an ownership record. The zero value means that there is none.
type record struct{ etag, owner string }

// play lets the owners of a config run, and returns what happened and which faults struck. It may run in any goroutine.
func play(t testing.TB, b backend, c config) verdict {
	t.Helper()
	h := &history{}
	owners := make([]*owner, c.Owners)
	var all sync.WaitGroup
	for i := range owners {
		seed := c.Seed*1000 + uint64(i)
		name := fmt.Sprint("owner-", i)
		owners[i] = &owner{
			config: c, name: name, id: name, backend: b, history: h, view: make(map[string]record),
			client: b.newClient(t, seed, c.Faults, c.Store), random: rand.New(rand.NewPCG(seed, 1)),
		}
		for p := range c.Partitions {
			owners[i].view[strconv.Itoa(p)] = record{}
		}
	}
	if c.SharedID && c.Owners > 1 {
		owners[1].id = owners[0].id
	}
	for _, o := range owners {
		all.Go(o.run)
	}
	if c.Deletes {
		all.Go(func() { deleteAll(b, c, h) })
	}
	all.Wait()

	struck := make(map[string]int)
	for _, o := range owners {
		o.client.end(struck)
	}
	last := &owner{config: c, name: "at last", history: h, view: make(map[string]record), client: client{b.plain(t), nil}}
	if err := last.list(context.Background()); err != nil {
		t.Errorf("the list at last: %v", err)
	}
	return verdict{config: c, ops: h.byPartition(), struck: struck}
}

// deleteAll deletes every record once, each at a random time.
func deleteAll(b backend, c config, h *history) {
	random := rand.New(rand.NewPCG(c.Seed, 2))
	for i := range c.Partitions {
		time.Sleep(time.Duration(random.Int64N(int64(c.Steps+1) * 3 * int64(b.pace))))
		call := h.tick()
		b.remove(ownershipPrefix + strconv.Itoa(i))
		h.note(call, operation{who: "somebody", action: deletes, partition: strconv.Itoa(i)})
	}
}

func (o *owner) chance(p float64) bool { return o.random.Float64() < p }

func (o *owner) run() {
	ctx := context.Background()
	for range o.Steps {
		time.Sleep(time.Duration(o.random.Int64N(5 * int64(o.backend.pace))))
		switch {
		case o.chance(0.5):
			_ = o.list(ctx) // on failure it uses what it knows
		case o.chance(0.5):
			o.get(ctx, strconv.Itoa(o.random.IntN(o.Partitions)))
		}
		o.claim(ctx)
	}
}

// list reads all records.
func (o *owner) list(ctx context.Context) error {
	call := o.history.tick()
	all, err := o.client.ListOwnership(ctx, namespace, eventHub, group, nil)
	if err != nil {
		return err
	}
	found := make(map[string]record)
	for _, r := range all {
		found[r.PartitionID] = record{string(*r.ETag), r.OwnerID}
	}
	var ops []operation
	for i := range o.Partitions {
		p := strconv.Itoa(i)
		o.view[p] = found[p]
		ops = append(ops, o.read(p, found[p]))
	}
	o.history.note(call, ops...)
	return nil
}

// get reads one record.
func (o *owner) get(ctx context.Context, partition string) {
	call := o.history.tick()
	r, err := o.client.GetOwnership(ctx, namespace, eventHub, group, partition, nil)
	var found record
	switch {
	case err == nil:
		found = record{string(*r.ETag), r.OwnerID}
	case !errors.Is(err, checkpointstore.ErrNotFound):
		return
	}
	o.view[partition] = found
	o.history.note(call, o.read(partition, found))
}

func (o *owner) read(partition string, r record) operation {
	return operation{who: o.name, action: reads, partition: partition, etag: r.etag, owner: r.owner}
}

// claim claims some of the partitions, on the state that it knows of them.
func (o *owner) claim(ctx context.Context) {
	var asked []checkpointstore.Ownership
	for i := range o.Partitions {
		p := strconv.Itoa(i)
		known, seen := o.view[p]
		claimant, chance := o.id, 0.8
		switch {
		case !seen:
			chance = 0
		case known.etag != "" && known.owner == o.id && o.chance(0.3):
			claimant, chance = "", 1
		case known.etag != "" && known.owner != o.id && known.owner != "":
			chance = 0.4
		}
		if o.chance(chance) {
			asked = append(asked, claimOf(claimant, p, known.etag))
		}
	}
	call := o.history.tick()
	winners, err := o.client.ClaimOwnership(ctx, asked, nil)
	got := make(map[string]checkpointstore.Ownership)
	for _, w := range winners {
		got[w.PartitionID] = w
	}
	failed := make(map[string]*checkpointstore.Error)
	var errs *checkpointstore.PartitionErrors
	if errors.As(err, &errs) {
		for _, e := range errs.Errors {
			failed[e.PartitionID] = e
		}
	} else if err != nil {
		panic(err)
	}
	ops := make([]operation, len(asked))
	for i, a := range asked {
		ops[i] = o.outcome(a, got, failed)
	}
	o.history.note(call, ops...)
}

// outcome returns the operation that one claim was, and updates what the owner knows.
func (o *owner) outcome(asked checkpointstore.Ownership, got map[string]checkpointstore.Ownership, failed map[string]*checkpointstore.Error) operation {
	p := asked.PartitionID
	op := operation{who: o.name, action: claims, partition: p, owner: asked.OwnerID, result: lost}
	if asked.ETag != nil {
		op.on = string(*asked.ETag)
	}
	w, isWon := got[p]
	if !isWon && !o.Blind {
		delete(o.view, p)
	}
	err, isUnknown := failed[p]
	switch {
	case isWon && isUnknown:
		panic("partition " + p + " is won and failed")
	case isWon:
		op.result, op.etag = won, string(*w.ETag)
		o.view[p] = record{op.etag, w.OwnerID}
	case isUnknown:
		op.result, op.why = unknown, err.Detail
	}
	return op
}
