package live

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

const (
	// listEvery is in how many rounds the consumer groups are listed once. A group
	// that is new shows up that late.
	listEvery = 10

	// concurrentReads is how many consumer groups are read at once.
	concurrentReads = 4
)

// collector reads in rounds, and keeps what it read. One goroutine calls refresh;
// everything else may be called by any.
type collector struct {
	Options
	process string // makes the ETags of two processes differ

	// Of the goroutine that calls refresh.
	groups  []*group
	hubs    map[ops.Scope]*hub // by namespace and event hub
	listErr error
	failed  uint64 // requests of the rounds that failed

	latest atomic.Pointer[snapshots]

	mu      sync.Mutex
	view    *view           // nil before the first round is over
	changed chan struct{}   // closed when there is another view
	bodies  map[string]body // of the view
}

// group is a consumer group.
type group struct {
	id        string
	scope     ops.Scope // as it is shown
	read      ops.Scope // the spelling to read
	spellings []string
	hub       *hub // nil if lag is left out

	snapshot   *ops.Snapshot // of the latest round that could read it
	err        error         // of the latest round
	lags       map[string]ops.Lag
	partitions []report.Partition
	events     []Event  // never changed in place: views have them
	history    *history // guarded by collector.mu
}

// view is what a round leaves to be shown. It is not changed.
type view struct {
	round  int
	time   time.Time // when the round began, by Options.Now
	over   time.Time // when it was over, by this machine's clock
	errors []string
	failed uint64
	groups []groupView
}

type groupView struct {
	summary    Group
	read       bool // in this round
	partitions []report.Partition
	events     []Event
	history    *history // to be read under collector.mu
}

// body is a resource of a view as JSON.
type body struct {
	content []byte
	etag    string
}

func newCollector(options Options) *collector {
	return &collector{
		Options: options,
		process: rand.Text(),
		hubs:    make(map[ops.Scope]*hub),
		changed: make(chan struct{}),
	}
}

// run makes rounds until the context ends. A round that takes longer than the
// interval delays the next one: rounds never overlap.
func (c *collector) run(ctx context.Context) {
	defer c.close()
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		c.refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// close waits for what is asked of the event hubs, and closes them.
func (c *collector) close() {
	for _, h := range c.hubs {
		h.close()
	}
}

// refresh makes one round: a read of each consumer group, then one of each event hub.
// The order matters: an event hub that was asked first would be behind checkpoints.
func (c *collector) refresh(ctx context.Context) {
	at := c.Now()
	began := time.Now()
	round := 0
	if v := c.current(); v != nil {
		round = v.round + 1
	}
	if round%listEvery == 0 || c.listErr != nil || len(c.groups) == 0 {
		c.list(ctx)
	}
	for _, h := range c.hubs {
		h.take(c) // what came after the round before
	}
	c.read(ctx)
	for _, h := range c.hubs {
		h.ask(ctx, c)
	}
	// An event hub with hundreds of partitions takes longer than a round, as Event
	// Hubs limits requests. What it said last stays until it has answered again.
	budget := time.NewTimer(c.Interval*3/4 - time.Since(began))
	defer budget.Stop()
	expired := false
	for _, h := range c.hubs {
		if !expired {
			select {
			case <-h.answered:
			case <-budget.C:
				expired = true
			}
		}
		h.take(c)
	}
	if ctx.Err() != nil {
		return
	}
	c.publish(round, at)
}

// list finds the consumer groups. If that fails, those known stay.
func (c *collector) list(ctx context.Context) {
	found, err := ops.ListGroups(ctx, c.Store)
	if c.listErr = err; err != nil {
		c.failed++
		return
	}
	known := make(map[string]*group)
	for _, g := range c.groups {
		known[g.id] = g
	}
	c.groups = nil
	for _, f := range found {
		for _, g := range c.groupsOf(f) {
			if c.Include != nil && !c.Include(g.scope) {
				continue
			}
			if old := known[g.id]; old != nil {
				old.read, old.spellings = g.read, g.spellings
				g = old
			} else {
				g.history = newHistory(historyPoints(c.Interval))
				g.hub = c.hubOf(g.scope)
			}
			c.groups = append(c.groups, g)
		}
	}
	used := make(map[*hub]bool)
	for _, g := range c.groups {
		used[g.hub] = true
	}
	for key, h := range c.hubs {
		if !used[h] {
			h.close()
			delete(c.hubs, key)
		}
	}
}

// groupsOf returns what is shown of a consumer group: one for all spellings, or one
// for each.
func (c *collector) groupsOf(f ops.Group) []*group {
	if c.EachSpelling {
		var groups []*group
		for _, s := range f.Spellings {
			groups = append(groups, &group{id: groupID(s), scope: s, read: s, spellings: []string{s.String()}})
		}
		return groups
	}
	// The first spelling has capital letters if one has: with it, both are read.
	g := &group{id: groupID(f.Scope), scope: f.Scope, read: f.Scope}
	if len(f.Spellings) > 0 {
		g.read = f.Spellings[0]
	}
	for _, s := range f.Spellings {
		g.spellings = append(g.spellings, s.String())
	}
	return []*group{g}
}

// groupID is a name of a consumer group that is safe in URLs.
func groupID(s ops.Scope) string {
	sum := sha256.Sum256([]byte(s.String())) // names have no slashes
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// snapshots are the latest ones, by consumer group.
type snapshots map[*group]*ops.Snapshot

// read reads all consumer groups.
func (c *collector) read(ctx context.Context) {
	slots := make(chan struct{}, concurrentReads)
	var reads sync.WaitGroup
	for _, g := range c.groups {
		slots <- struct{}{}
		reads.Go(func() {
			defer func() { <-slots }()
			var s *ops.Snapshot
			if s, g.err = ops.Read(ctx, c.Store, g.read, &ops.ReadOptions{Expiration: c.Expiration}); g.err == nil {
				g.snapshot = s
			}
		})
	}
	reads.Wait()
	latest := make(snapshots)
	for _, g := range c.groups {
		if g.err != nil {
			c.failed++
		}
		latest[g] = g.snapshot
	}
	c.latest.Store(&latest)
}

// publish makes a view of what the round read, and wakes who waits for it.
func (c *collector) publish(round int, at time.Time) {
	v := &view{round: round, time: at, over: time.Now(), errors: []string{}, failed: c.failed}
	if c.listErr != nil {
		v.errors = append(v.errors, fmt.Sprintf("listing the consumer groups: %s", c.listErr))
	}
	for _, key := range slices.SortedFunc(maps.Keys(c.hubs), compareHubs) {
		if h := c.hubs[key]; h.err != nil {
			v.errors = append(v.errors, fmt.Sprintf("event hub %s/%s: %s", key.FullyQualifiedNamespace, key.EventHubName, h.err))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.groups {
		if g.snapshot != nil && g.err == nil {
			partitions := partitionsOf(g)
			g.events = addEvents(g.events, at, g.partitions, partitions)
			g.partitions = partitions
		}
		summary := summaryOf(g)
		if g.err == nil {
			g.history.add(at, &summary, g.partitions)
		} else {
			g.history.add(at, nil, nil)
		}
		v.groups = append(v.groups, groupView{summary, g.err == nil, g.partitions, g.events, g.history})
	}
	c.view = v
	c.bodies = make(map[string]body)
	close(c.changed)
	c.changed = make(chan struct{})
}

func compareHubs(a, b ops.Scope) int {
	return strings.Compare(a.String(), b.String())
}

// current returns the latest view, nil before the first round is over.
func (c *collector) current() *view {
	v, _ := c.watch()
	return v
}

// watch returns the latest view, and a channel that is closed when there is another.
func (c *collector) watch() (*view, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, c.changed
}

// body returns a resource of the latest view. It is rendered once, however many
// browsers ask for it. It reports false before the first round is over, and if there
// is no such resource.
func (c *collector) body(name string, render func(*view) []byte) (body, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return body{}, false
	}
	b, found := c.bodies[name]
	if !found {
		if b.content = render(c.view); b.content == nil {
			return body{}, false
		}
		b.etag = fmt.Sprintf(`"%s-%d"`, c.process, c.view.round)
		c.bodies[name] = b
	}
	return b, true
}
