package demo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore/ops"
)

// group is a consumer group and its owners.
type group struct {
	fleet  *Fleet
	hub    *hub
	name   string
	owners []*owner

	capacity float64 // events that one owner handles in a second
	troubled bool    // things happen to it
	next     time.Time
	deck     []trouble
	stuck    map[string]time.Time // partitions whose events fail, and until when
	starts   []time.Time          // when further owners start
}

// trouble is something that happens to a consumer group.
type trouble int

const (
	crash   trouble = iota // an owner ends without a word, and another one starts later
	pause                  // an owner stands still for longer than the expiration
	restart                // an owner gives its partitions up, and another one starts
	stick                  // a partition's events fail for a while
	reset                  // somebody takes some partitions back in time
	troubles
)

func (f *Fleet) addGroup(h *hub, name string, owners int, troubled bool) {
	g := &group{fleet: f, hub: h, name: name, troubled: troubled, stuck: make(map[string]time.Time)}
	total := 0.0
	for _, p := range h.partitions {
		total += p.rate
	}
	g.capacity = 2 * total / float64(owners)
	for i := range owners {
		g.starts = append(g.starts, f.Now().Add(time.Duration(i)*3*time.Second))
	}
	g.next = f.Now().Add(time.Minute)
	f.groups = append(f.groups, g)
}

func (g *group) scope() ops.Scope {
	return ops.Scope{FullyQualifiedNamespace: namespace, EventHubName: g.hub.name, ConsumerGroup: g.name}
}

// tick lets a moment pass.
func (g *group) tick(ctx context.Context, now time.Time) error {
	g.starts = slices.DeleteFunc(g.starts, func(at time.Time) bool {
		if at.After(now) {
			return false
		}
		g.start(now)
		return true
	})
	for id, until := range g.stuck {
		if now.After(until) {
			delete(g.stuck, id)
		}
	}
	for _, o := range g.owners {
		if now.Before(o.paused) {
			continue
		}
		if err := o.tick(ctx, now); err != nil {
			return err
		}
	}
	if now.Before(g.next) {
		return nil
	}
	if !g.troubled {
		return g.fade(ctx)
	}
	g.next = now.Add(g.between(20*time.Second, 45*time.Second))
	if len(g.deck) == 0 {
		for _, i := range g.fleet.random.Perm(int(troubles)) {
			g.deck = append(g.deck, trouble(i))
		}
	}
	what := g.deck[0]
	g.deck = g.deck[1:]
	return g.happen(ctx, now, what)
}

// start starts an owner.
func (g *group) start(now time.Time) {
	r := g.fleet.random
	g.owners = append(g.owners, &owner{
		group: g,
		id:    fmt.Sprintf("%s-%04x-%04x", g.name, r.IntN(1<<16), r.IntN(1<<16)),
		store: g.fleet.store.Share(),
		held:  make(map[string]*held),
		next:  now,
	})
}

// happen lets something happen to the consumer group.
func (g *group) happen(ctx context.Context, now time.Time, what trouble) error {
	r := g.fleet.random
	switch what {
	case stick:
		g.stuck[strconv.Itoa(r.IntN(len(g.hub.partitions)))] = now.Add(g.between(time.Minute, 2*time.Minute))
		return nil
	case reset:
		return g.reset(ctx)
	}
	if len(g.owners) < 2 {
		return nil
	}
	i := r.IntN(len(g.owners))
	o := g.owners[i]
	switch what {
	case pause:
		o.paused = now.Add(Expiration + g.between(5*time.Second, 20*time.Second))
		return nil
	case restart:
		if err := o.relinquish(ctx); err != nil {
			return err
		}
		g.starts = append(g.starts, now.Add(4*time.Second))
	default:
		g.starts = append(g.starts, now.Add(g.between(30*time.Second, time.Minute)))
	}
	g.owners = slices.Delete(g.owners, i, i+1)
	return nil
}

// reset takes a few partitions some time back, as an operator does who had a fault in
// the code.
func (g *group) reset(ctx context.Context) error {
	n := len(g.hub.partitions)
	options := &ops.ResetOptions{Expiration: Expiration, Hub: ops.HubOptions{Interval: time.Nanosecond}}
	for _, i := range g.fleet.random.Perm(n)[:max(n/10, 1)] {
		options.Partitions = append(options.Partitions, strconv.Itoa(i))
	}
	store := g.fleet.store.Share()
	plan, err := ops.PlanReset(ctx, store, unlocked{g.hub}, g.scope(), ops.Ago(g.between(time.Minute, 2*time.Minute)), options)
	if err != nil {
		return err
	}
	_, err = ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
	return err
}

// fade ends a consumer group for good: its owner relinquishes one partition and dies
// with the others.
func (g *group) fade(ctx context.Context) error {
	for _, o := range g.owners {
		if len(o.order) > 0 {
			if err := o.giveUp(ctx, o.order[:1]); err != nil {
				return err
			}
		}
	}
	g.owners = nil
	return nil
}

func (g *group) between(a, b time.Duration) time.Duration {
	return a + time.Duration(g.fleet.random.Int64N(int64(b-a)))
}
