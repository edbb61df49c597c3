package live

import (
	"context"
	"fmt"
	"sync"

	"github.com/ea947076/checkpointstore/ops"
)

// hub is an event hub. Like the collector, it belongs to the goroutine of the rounds,
// but for the request that is on its way.
type hub struct {
	scope   ops.Scope // of one of its consumer groups
	client  ops.EventHub
	closeIt func()
	err     error // why the latest answer is none
	history *ops.History

	cancel   context.CancelFunc
	answered chan struct{} // closed when answer is there; nil if nothing was asked
	answer   hubAnswer
}

// hubAnswer is what an event hub said, and which snapshots that is to be compared
// with.
type hubAnswer struct {
	read    *ops.Hub
	err     error
	pairing *pairing
}

// hubOf returns the event hub of a consumer group, nil if lag is left out.
func (c *collector) hubOf(scope ops.Scope) *hub {
	if c.OpenHub == nil {
		return nil
	}
	key := ops.Scope{FullyQualifiedNamespace: scope.FullyQualifiedNamespace, EventHubName: scope.EventHubName}
	h := c.hubs[key]
	if h == nil {
		h = &hub{scope: scope, history: ops.NewHistory(historyPoints(c.Interval)), answered: closed()}
		c.hubs[key] = h
	}
	return h
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// ask begins to ask the event hub where its partitions end, unless it is still being
// asked.
func (h *hub) ask(ctx context.Context, c *collector) {
	if h.cancel != nil {
		return
	}
	if h.client == nil {
		client, closeIt, err := c.OpenHub(h.scope)
		if err != nil {
			h.answer = hubAnswer{err: err}
			h.cancel = func() {}
			return
		}
		h.client, h.closeIt = client, closeIt
	}
	p := &pairing{EventHub: h.client, latest: func() snapshots { return *c.latest.Load() }, of: make(map[string]snapshots)}
	ctx, h.cancel = context.WithCancel(ctx)
	answered := make(chan struct{})
	h.answered = answered
	go func() {
		defer close(answered)
		read, err := ops.ReadHub(ctx, p, &c.Hub)
		h.answer = hubAnswer{read, err, p}
	}()
}

// take compares the answer with the snapshots, if it is there.
func (h *hub) take(c *collector) {
	select {
	case <-h.answered:
	default:
		return
	}
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.cancel = nil
	a := h.answer
	h.answer = hubAnswer{}
	h.err = a.err
	if a.err != nil {
		c.failed++
		for _, g := range c.groups {
			if g.hub == h {
				g.lags = nil
			}
		}
		return
	}
	failed := 0
	for _, p := range a.read.Partitions {
		if p.Err != nil {
			c.failed++
			failed++
			h.err = p.Err
		}
	}
	if failed > 0 {
		h.err = fmt.Errorf("%d of %d partitions: %w", failed, len(a.read.Partitions), h.err)
	}
	h.history.Add(a.read)
	for _, g := range c.groups {
		if g.hub == h && g.snapshot != nil {
			g.lags = a.lags(g, h.history)
		}
	}
}

// lags compares the partitions of a consumer group, each as it was just before the
// event hub was asked for it. A later snapshot would be ahead of the answer.
func (a hubAnswer) lags(g *group, history *ops.History) map[string]ops.Lag {
	lags := make(map[string]ops.Lag)
	for _, p := range a.read.Partitions {
		s := a.pairing.snapshot(p.ID, g)
		if s == nil {
			s = g.snapshot
		}
		lags[p.ID] = a.read.Lag(s.Partition(p.ID), history)
	}
	for _, p := range g.snapshot.Partitions {
		if _, found := lags[p.ID]; !found {
			lags[p.ID] = a.read.Lag(p, history)
		}
	}
	return lags
}

// close ends what the event hub is being asked, and closes it.
func (h *hub) close() {
	if h.cancel != nil {
		h.cancel()
		<-h.answered
		h.cancel = nil
	}
	if h.closeIt != nil {
		h.closeIt()
	}
}

// pairing is an event hub that remembers which snapshots were the latest when it was
// asked for a partition.
type pairing struct {
	ops.EventHub
	latest func() snapshots

	mu sync.Mutex
	of map[string]snapshots // by partition
}

func (p *pairing) PartitionProperties(ctx context.Context, partitionID string) (ops.PartitionProperties, error) {
	p.mu.Lock()
	p.of[partitionID] = p.latest()
	p.mu.Unlock()
	return p.EventHub.PartitionProperties(ctx, partitionID)
}

func (p *pairing) snapshot(partitionID string, g *group) *ops.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[partitionID][g]
}
