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

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// owner is one of a fleet: it looks, and claims, renews, steals and relinquishes by the draw of its seed.
type owner struct {
	config
	name   string
	id     string // what it claims with
	client client
	random *rand.Rand
	world  world
	notes  *history
	view   map[string]record // by partition, as it knows them; what is not in it is to be looked at
}

// record is what an owner knows of a partition's; the zero value is that there is none.
type record struct{ etag, owner string }

// play lets a fleet do what the config says, and returns what happened and which faults struck.
func play(t testing.TB, w world, c config) (*history, map[string]int) {
	t.Helper()
	h := &history{}
	owners := make([]*owner, c.owners)
	var all sync.WaitGroup
	for i := range owners {
		seed := c.seed*1000 + uint64(i)
		o := &owner{
			config: c, name: fmt.Sprint("owner-", i), id: fmt.Sprint("owner-", i), world: w, notes: h,
			client: w.newClient(t, seed, c.faults, c.store), random: rand.New(rand.NewPCG(seed, 1)),
			view: make(map[string]record),
		}
		for p := range c.partitions {
			o.view[strconv.Itoa(p)] = record{}
		}
		if c.twins && i == 1 {
			o.id = owners[0].id
		}
		owners[i] = o
		all.Go(o.run)
	}
	if c.deletes {
		all.Go(func() { deleteAll(w, c, h) })
	}
	all.Wait()

	struck := make(map[string]int)
	for _, o := range owners {
		o.client.faults.Heal()
		o.client.faults.Drain()
		for name, n := range o.client.faults.Struck() {
			struck[name] += n
		}
	}
	last := &owner{config: c, name: "at last", notes: h, view: make(map[string]record)}
	last.client.BlobCheckpointStore = w.plain(t)
	require.NoError(t, last.list(context.Background()))
	return h, struck
}

// deleteAll deletes every record once, at a time of its own.
func deleteAll(w world, c config, h *history) {
	random := rand.New(rand.NewPCG(c.seed, 2))
	for i := range c.partitions {
		time.Sleep(time.Duration(random.Int64N(int64(c.steps+1) * 3 * int64(w.pace))))
		call := h.tick()
		w.remove(ownershipPrefix + strconv.Itoa(i))
		h.note(call, operation{who: "somebody", action: deletes, partition: strconv.Itoa(i)})
	}
}

func (o *owner) chance(p float64) bool { return o.random.Float64() < p }

func (o *owner) run() {
	ctx := context.Background()
	for range o.steps {
		time.Sleep(time.Duration(o.random.Int64N(5 * int64(o.world.pace))))
		switch {
		case o.chance(0.5):
			_ = o.list(ctx) // on failure it goes by what it knows
		case o.chance(0.5):
			o.get(ctx, strconv.Itoa(o.random.IntN(o.partitions)))
		}
		o.claim(ctx)
	}
}

// list looks at all records.
func (o *owner) list(ctx context.Context) error {
	call := o.notes.tick()
	all, err := o.client.ListOwnership(ctx, namespace, eventHub, group, nil)
	if err != nil {
		return err
	}
	found := make(map[string]record)
	for _, r := range all {
		found[r.PartitionID] = record{string(*r.ETag), r.OwnerID}
	}
	var ops []operation
	for i := range o.partitions {
		p := strconv.Itoa(i)
		o.view[p] = found[p]
		ops = append(ops, o.read(p, found[p]))
	}
	o.notes.note(call, ops...)
	return nil
}

// get looks at one record.
func (o *owner) get(ctx context.Context, partition string) {
	call := o.notes.tick()
	r, err := o.client.GetOwnership(ctx, namespace, eventHub, group, partition, nil)
	var found record
	switch {
	case err == nil:
		found = record{string(*r.ETag), r.OwnerID}
	case !errors.Is(err, checkpointstore.ErrNotFound):
		return
	}
	o.view[partition] = found
	o.notes.note(call, o.read(partition, found))
}

func (o *owner) read(partition string, r record) operation {
	return operation{who: o.name, action: reads, partition: partition, etag: r.etag, owner: r.owner}
}

// claim claims some of the partitions by what it knows of them.
func (o *owner) claim(ctx context.Context) {
	var asked []checkpointstore.Ownership
	for i := range o.partitions {
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
	call := o.notes.tick()
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
	o.notes.note(call, ops...)
}

// outcome is what came of one claim.
func (o *owner) outcome(asked checkpointstore.Ownership, got map[string]checkpointstore.Ownership, failed map[string]*checkpointstore.Error) operation {
	p := asked.PartitionID
	op := operation{who: o.name, action: claims, partition: p, owner: asked.OwnerID, result: lost}
	if asked.ETag != nil {
		op.on = string(*asked.ETag)
	}
	w, isWon := got[p]
	if !isWon && !o.careless {
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
