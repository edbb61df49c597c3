package e2e

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recorder is told what an owner does.
type recorder interface {
	handled(owner, partition string, sequence int64)
	checkpointed(owner, partition string, sequence int64)
	stale(owner, partition string, sequence int64)
}

// ledger is what all owners did, in the order in which it was told.
type ledger struct {
	mu          sync.Mutex
	events      []entry
	checkpoints []entry
	refused     []entry
	by          map[string]map[int64]string // who handled it first, by partition
	duplicates  int
}

type entry struct {
	owner, partition string
	sequence         int64
	at               time.Time
}

func newLedger() *ledger { return &ledger{by: make(map[string]map[int64]string)} }

func (l *ledger) handled(owner, partition string, sequence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, entry{owner, partition, sequence, time.Now()})
	if l.by[partition] == nil {
		l.by[partition] = make(map[int64]string)
	}
	if _, again := l.by[partition][sequence]; again {
		l.duplicates++
	}
	l.by[partition][sequence] = owner
}

func (l *ledger) checkpointed(owner, partition string, sequence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkpoints = append(l.checkpoints, entry{owner, partition, sequence, time.Now()})
}

func (l *ledger) stale(owner, partition string, sequence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, entry{owner, partition, sequence, time.Now()})
}

func (l *ledger) count() (events, duplicates, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events), l.duplicates, len(l.refused)
}

// missing are how many of a partition's events up to last were not handled.
func (l *ledger) missing(partition string, before, last int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for s := before + 1; s <= last; s++ {
		if _, ok := l.by[partition][s]; !ok {
			n++
		}
	}
	return n
}

// since are the events that were handled by an owner after a time, the first of
// each partition.
func (l *ledger) firstSince(owner string, t time.Time) map[string]entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := make(map[string]entry)
	for _, e := range l.events {
		if _, ok := first[e.partition]; !ok && e.owner == owner && e.at.After(t) {
			first[e.partition] = e
		}
	}
	return first
}

// lastCheckpoints are the last positions that an owner was told to be stored.
func (l *ledger) lastCheckpoints(owner string) map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[string]int64)
	for _, c := range l.checkpoints {
		if c.owner == owner {
			last[c.partition] = c.sequence
		}
	}
	return last
}

// handlers are who handled events after a time, by partition.
func (l *ledger) handlersSince(t time.Time) map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := make(map[string]map[string]bool)
	for _, e := range l.events {
		if e.at.After(t) {
			if who[e.partition] == nil {
				who[e.partition] = make(map[string]bool)
			}
			who[e.partition][e.owner] = true
		}
	}
	out := make(map[string][]string)
	for id, owners := range who {
		out[id] = slices.Sorted(maps.Keys(owners))
	}
	return out
}

// report collects the figures of all scenarios.
type report struct {
	mu   sync.Mutex
	rows []string
}

func (r *report) add(scenario, variant, figures string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, "| "+strings.Join([]string{scenario, variant, figures}, " | ")+" |")
}

func (r *report) print(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.rows)
	t.Logf("\n| scenario | variant | measured |\n|---|---|---|\n%s", strings.Join(r.rows, "\n"))
}

// patience is how long a test waits for what has to come. It bounds a hang, and is no
// measure of how fast that should be.
const patience = 5 * time.Minute

// eventually waits for a condition, and says what it waited for if that was in
// vain.
func eventually(t *testing.T, what string, condition func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > patience {
			require.FailNow(t, "waited in vain", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}
