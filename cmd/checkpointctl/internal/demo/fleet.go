// Package demo simulates a fleet of consumers in memory: event hubs whose rates vary,
// and owners that come, die, pause and share the partitions. It needs no account.
package demo

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

const (
	// Expiration is after what time the owners take an ownership for expired. It is
	// short, so that a take-over need not be waited for.
	Expiration = 20 * time.Second

	// tick is the step of the simulation.
	tick = 500 * time.Millisecond

	namespace = "demo.servicebus.windows.net"
)

// Options are the options of New.
type Options struct {
	// Seed makes a fleet that behaves in the same way each time.
	Seed uint64

	// Partitions of the larger event hub. Zero is 32.
	Partitions int

	// Start is the time at which the fleet's clock begins.
	Start time.Time
}

// Fleet is event hubs, the consumer groups that read them, and a clock of its own,
// which Step or Run advances.
type Fleet struct {
	clock atomic.Int64 // nanoseconds
	store *memstore.Store

	mu     sync.Mutex
	random *rand.Rand
	hubs   []*hub
	groups []*group
	burst  time.Time // until when all rates are higher
}

// New returns a fleet whose owners have not begun.
func New(o Options) *Fleet {
	f := &Fleet{random: rand.New(rand.NewPCG(o.Seed, 0))}
	f.clock.Store(o.Start.Truncate(time.Second).UnixNano())
	f.store = memstore.NewWithClock(f.Now)
	n := cmp.Or(o.Partitions, 32)
	orders := f.addHub("orders", n, 20*time.Minute)
	telemetry := f.addHub("telemetry", max(n/4, 4), 8*time.Minute)
	f.addGroup(orders, "billing", 4, true)
	f.addGroup(orders, "search-index", 3, true)
	// Nobody starts the only owner of this one again, and events get lost.
	f.addGroup(telemetry, "audit-export", 1, false)
	return f
}

func (f *Fleet) addHub(name string, partitions int, keep time.Duration) *hub {
	h := &hub{fleet: f, name: name}
	for range partitions {
		h.partitions = append(h.partitions, &hubPartition{
			rate:  5 + 15*f.random.ExpFloat64(),
			phase: f.random.Float64(),
			keep:  keep,
			last:  -1,
		})
	}
	f.hubs = append(f.hubs, h)
	return h
}

// Now is the fleet's clock.
func (f *Fleet) Now() time.Time { return time.Unix(0, f.clock.Load()).UTC() }

// Store is where the fleet keeps its records, for another process.
func (f *Fleet) Store() ops.Store { return f.store.Share() }

// OpenHub opens an event hub of the fleet.
func (f *Fleet) OpenHub(scope ops.Scope) (ops.EventHub, func(), error) {
	for _, h := range f.hubs {
		if h.name == scope.EventHubName {
			return h, func() {}, nil
		}
	}
	return nil, nil, fmt.Errorf("the fleet has no event hub %q", scope.EventHubName)
}

// Step advances the fleet's clock, and lets happen what happens in that time.
func (f *Fleet) Step(ctx context.Context, d time.Duration) error {
	for ; d >= tick; d -= tick {
		if err := f.tick(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run advances the fleet's clock with the time of the machine, or faster, until the
// context ends. It never returns nil.
func (f *Fleet) Run(ctx context.Context, speed float64) error {
	ticker := time.NewTicker(time.Duration(float64(tick) / max(speed, 1)))
	defer ticker.Stop()
	began, start := time.Now(), f.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		behind := time.Duration(float64(time.Since(began))*speed) - f.Now().Sub(start)
		if err := f.Step(ctx, behind); err != nil {
			return err
		}
	}
}

func (f *Fleet) tick(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock.Add(int64(tick))
	now := f.Now()
	if f.random.Float64() < tick.Seconds()/240 {
		f.burst = now.Add(20 * time.Second)
	}
	for _, h := range f.hubs {
		for _, p := range h.partitions {
			p.enqueue(now, f.events(p, now))
		}
	}
	for _, g := range f.groups {
		if err := g.tick(ctx, now); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return ctx.Err()
}

// events is how many events arrive at a partition in a tick: the rate goes up and down
// within some minutes.
func (f *Fleet) events(p *hubPartition, now time.Time) float64 {
	wave := math.Sin(2 * math.Pi * (float64(now.UnixMilli())/1000/400 + p.phase))
	rate := p.rate * (1 + 0.5*wave) * (0.7 + 0.6*f.random.Float64())
	if now.Before(f.burst) {
		rate *= 2.5
	}
	return rate * tick.Seconds()
}
