package proof

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ea947076/checkpointstore"
)

// tenant is an owner of the soak test: it balances, renews, and checkpoints what it owns.
type tenant struct {
	id     string
	client client
	random *rand.Rand
	acked  *[soakPartitions]atomic.Int64 // by anybody
	held   map[string]string             // ETag of its last win, by partition
	at     map[string]int64              // where it stands, of those held
	counts *soakCounts

	settled bool // it gives nothing up and takes nothing from others
}

type soakCounts struct{ won, lost, unknown, stored, stale, failed atomic.Int64 }

// meetAll has the owner's store keep all that it keeps of partitions that it met, so that its memory does not grow by those
// that it meets later.
func (n *tenant) meetAll(ctx context.Context) {
	for i := range soakPartitions {
		p := strconv.Itoa(i)
		_, _ = n.client.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf(n.id, p, "0x0")}, nil)
		_, _ = n.client.GetCheckpoint(ctx, namespace, eventHub, group, p, nil)
	}
}

// round is what an owner does again and again. In some rounds it balances, in the others it renews.
func (n *tenant) round(ctx context.Context, balance bool) {
	var asked []checkpointstore.Ownership
	if balance || len(n.held) == 0 {
		list, err := n.client.ListOwnership(ctx, namespace, eventHub, group, nil)
		if err != nil {
			return
		}
		asked = n.choose(list)
	} else {
		for p, etag := range n.held {
			asked = append(asked, claimOf(n.id, p, etag))
		}
	}
	if n.claim(ctx, asked) {
		n.look(ctx)
	}
	n.checkpoint(ctx)
}

// choose renews what it owns, gives one up now and then, and takes others up to its share, at first those of nobody.
func (n *tenant) choose(list []checkpointstore.Ownership) []checkpointstore.Ownership {
	by := make(map[string]checkpointstore.Ownership, len(list))
	for _, o := range list {
		by[o.PartitionID] = o
	}
	var asked, free, others []checkpointstore.Ownership
	for i := range soakPartitions {
		p := strconv.Itoa(i)
		o, found := by[p]
		switch {
		case !found:
			free = append(free, claimOf(n.id, p, ""))
		case o.OwnerID == n.id && (n.settled || n.random.IntN(64) > 0):
			asked = append(asked, o)
		case o.OwnerID == n.id:
			o.OwnerID = ""
			asked = append(asked, o)
		case o.OwnerID == "":
			o.OwnerID = n.id
			free = append(free, o)
		default:
			o.OwnerID = n.id
			others = append(others, o)
		}
	}
	want := fairShare - len(asked)
	if !n.settled {
		want += n.random.IntN(5) // more than its share, so that there is something to fight about
	}
	if want > 0 && len(free) == 0 && !n.settled {
		free = others // all are taken: it steals
	}
	n.random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	return append(asked, free[:max(0, min(want, len(free)))]...)
}

// claim claims, and tells whether a tenure began.
func (n *tenant) claim(ctx context.Context, asked []checkpointstore.Ownership) (begun bool) {
	on := make(map[string]string)
	for _, o := range asked {
		on[o.PartitionID] = ""
		if o.ETag != nil {
			on[o.PartitionID] = string(*o.ETag)
		}
	}
	won, err := n.client.ClaimOwnership(ctx, asked, nil)
	n.counts.won.Add(int64(len(won)))
	failed := &checkpointstore.PartitionErrors{}
	if errors.As(err, &failed) {
		n.counts.unknown.Add(int64(len(failed.Errors)))
	}
	n.counts.lost.Add(int64(len(asked) - len(won) - len(failed.Errors)))
	held := make(map[string]string)
	for _, o := range won {
		p := o.PartitionID
		if o.OwnerID == "" {
			continue
		}
		held[p] = string(*o.ETag)
		if _, known := n.at[p]; !known || on[p] != n.held[p] {
			delete(n.at, p)
			begun = true
		}
	}
	for p := range n.at {
		if held[p] == "" {
			delete(n.at, p)
		}
	}
	n.held = held
	return begun
}

// look finds out where the partitions stand that it has just won.
func (n *tenant) look(ctx context.Context) {
	list, err := n.client.ListCheckpoints(ctx, namespace, eventHub, group, nil)
	if err != nil {
		return
	}
	stands := make(map[string]int64, len(list))
	for _, c := range list {
		stands[c.PartitionID] = *c.SequenceNumber
	}
	for p := range n.held {
		if _, known := n.at[p]; !known {
			n.at[p] = stands[p]
		}
	}
}

// checkpoint goes on in every partition that it owns and knows where it stands.
func (n *tenant) checkpoint(ctx context.Context) {
	var all sync.WaitGroup
	for p := range n.at {
		n.at[p]++
		position := n.at[p]
		all.Go(func() {
			err := n.client.UpdateCheckpoint(ctx, checkpointAt(p, position), nil)
			switch {
			case err == nil:
				n.counts.stored.Add(1)
				i, _ := strconv.Atoi(p)
				for old := n.acked[i].Load(); position > old && !n.acked[i].CompareAndSwap(old, position); old = n.acked[i].Load() {
				}
			case errors.Is(err, checkpointstore.ErrStaleCheckpoint):
				n.counts.stale.Add(1)
			default:
				n.counts.failed.Add(1)
			}
		})
	}
	all.Wait()
}
