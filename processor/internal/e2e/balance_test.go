package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// plainLoops are those of azeventhubs, with the official store.
var plainLoops = []variant{{"azeventhubs, balanced", official, false}, {"azeventhubs, greedy", official, true}}

// event is what makes partitions move.
type event string

const (
	atOnce   event = "all start at once"
	oneByOne event = "the last of them starts"
	stopped  event = "one more stops"
	died     event = "one more dies"
)

// TestTimeToBalance balances groups, and reports the rounds until every owner has its
// share. They depend on the machine: package processor asserts them in fake time. By
// default it runs some groups of Run; with E2E_COMPARE it makes the table of the README.
func TestTimeToBalance(t *testing.T) {
	table := &balanceTable{cells: make(map[string]map[string]string)}
	t.Cleanup(func() { table.print(t) })
	type setting struct {
		owners, partitions int
		of                 event
	}
	settings := []setting{{4, 32, atOnce}, {4, 32, oneByOne}, {2, 8, stopped}, {4, 32, died}}
	loops := variants[:1]
	if compare() {
		loops, settings = append(loops[:1:1], plainLoops...), nil
		for _, owners := range []int{1, 2, 4} {
			for _, partitions := range []int{8, 32} {
				for _, of := range []event{atOnce, oneByOne, stopped, died} {
					if owners > 1 || of == atOnce {
						settings = append(settings, setting{owners, partitions, of})
					}
				}
			}
		}
	}
	for _, s := range settings {
		for _, v := range loops {
			row := fmt.Sprintf("%d owners | %2d partitions | %s", s.owners, s.partitions, s.of)
			t.Run(strings.ReplaceAll(row, " | ", ", ")+", "+v.name, func(t *testing.T) {
				parallel(t)
				m := timeToBalance(t, s.owners, s.partitions, s.of, v)
				table.add(row, v.name, m.String())
			})
		}
	}
}

// moves is what it cost to balance a group.
type moves struct {
	rounds             int64 // of the owner that had most, from the event to the last claim by a new owner
	steals, duplicates int64
}

func (m moves) String() string {
	return fmt.Sprintf("%d rounds, %d steals, %d duplicates", m.rounds, m.steals, m.duplicates)
}

// observer knows who won what, and in which rounds of all owners.
type observer struct {
	mu       sync.Mutex
	networks map[string]*network
	owners   map[string]string
	last     map[string]int64 // rounds when a partition last got another owner
}

func (o *observer) rounds() map[string]int64 {
	n := make(map[string]int64)
	for name, f := range o.networks {
		n[name] = f.round()
	}
	return n
}

func (o *observer) won(partition, owner string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner != "" && o.owners[partition] != owner {
		o.owners[partition], o.last = owner, o.rounds()
	}
}

func (o *observer) now() map[string]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rounds()
}

// counted is an owner whose rounds can be counted. To compare, its expiration has the
// ratio to its interval that it has by default.
func (w *world) counted(i int, expiry time.Duration) config {
	c := w.expiring(i, expiry)
	c.Interval = time.Second
	if compare() {
		c.Expiry = brief
	}
	return c
}

// timeToBalance balances a group that has so many owners in the end.
func timeToBalance(t *testing.T, owners, partitions int, of event, v variant) moves {
	w := newWorld(t, partitions, 20)
	e := w.onEmulator()
	w.look(v.loop == official)
	o := &observer{networks: make(map[string]*network), owners: make(map[string]string)}
	expiry := unhurried
	if of == died { // only a death waits for it
		expiry = lasting
	}
	var running []*owner
	var names []string
	start := func() {
		c := w.counted(len(running), expiry).as(v)
		c.Every = 10
		f := newNetwork()
		f.won = o.won
		o.mu.Lock()
		o.networks[c.Name] = f
		o.mu.Unlock()
		running, names = append(running, w.start(c, f)), append(names, c.Name)
	}
	stolen := func() (n int64) {
		for _, s := range e.Stats() {
			n += s.LinksStolen
		}
		return n
	}
	if compare() {
		w.hub.rate(20)
	} else {
		w.hub.rate(5) // whose checkpoints leave a slow machine time for the rounds
	}
	before := make(map[string]int64)
	var was moves
	mark := func() {
		_, duplicates, _ := w.ledger.count()
		before, was = o.now(), moves{steals: stolen(), duplicates: int64(duplicates)}
	}
	switch of {
	case atOnce:
		for range owners {
			start()
		}
	case oneByOne:
		for i := range owners {
			if i == owners-1 {
				mark()
			}
			start()
			if i < owners-1 {
				w.settled(names...)
			}
		}
	case stopped, died:
		for range owners + 1 {
			start()
		}
		w.settled(names...)
		mark()
		leaving := running[owners]
		names = names[:owners]
		o.mu.Lock()
		delete(o.networks, leaving.Name)
		o.mu.Unlock()
		if of == died {
			leaving.network.Inject(faults.RefuseConnection()) // it releases nothing
			leaving.stop()
		} else {
			leaving.finish(t)
		}
	}
	w.settled(names...)
	w.hub.rate(0)
	m := moves{steals: stolen() - was.steals}
	o.mu.Lock()
	for name, n := range o.last {
		m.rounds = max(m.rounds, n-before[name])
	}
	o.mu.Unlock()
	w.handled()
	_, duplicates, _ := w.ledger.count()
	m.duplicates = int64(duplicates) - was.duplicates
	return m
}

// TestSteadyRounds counts what a group that does not change costs: one list for each
// round, a list of checkpoints in each sixth, and renewals. How many rounds a renewal
// lasts depends on the machine: package processor asserts it in fake time.
func TestSteadyRounds(t *testing.T) {
	table := &balanceTable{cells: make(map[string]map[string]string)}
	t.Cleanup(func() { table.print(t) })
	loops := variants[:1]
	if compare() {
		loops = append(loops[:1:1], plainLoops[0])
	}
	for _, owners := range []int{1, 2, 4} {
		for _, partitions := range []int{8, 32} {
			if !compare() && (owners != 2 || partitions != 32) {
				continue
			}
			for _, v := range loops {
				row := fmt.Sprintf("%d owners | %2d partitions | steady", owners, partitions)
				t.Run(strings.ReplaceAll(row, " | ", ", ")+", "+v.name, func(t *testing.T) {
					parallel(t)
					table.add(row, v.name, steadyRounds(t, owners, partitions, v))
				})
			}
		}
	}
}

func steadyRounds(t *testing.T, owners, partitions int, v variant) string {
	w := newWorld(t, partitions, 20)
	w.look(v.loop == official)
	var all []*network
	var names []string
	for i := range owners {
		c := w.counted(i, lasting).as(v)
		f := newNetwork()
		w.start(c, f)
		all, names = append(all, f), append(names, c.Name)
	}
	w.settled(names...)
	w.complete()
	var rounds, lists, writes, answered int64
	count := func(sign int64) {
		for _, f := range all {
			rounds, lists, writes = rounds+sign*f.round(), lists+sign*f.lists.Load(), writes+sign*f.writes.Load()
		}
	}
	countAnswers := func(sign int64) {
		for _, f := range all {
			answered += sign * f.answered.Load()
		}
	}
	all[0].rounds(t, 1)
	count(-1)
	countAnswers(-1)
	all[0].rounds(t, 18)
	countAnswers(1) // first, so that no answer is counted whose list or write is not
	count(1)
	if v.loop == run {
		slack := int64(owners) // of rounds that were under way at either end
		require.LessOrEqual(t, lists, rounds+slack, "a steady round costs one list")
		const looks = 2 // requests that list the checkpoints, whose names differ as typed
		require.LessOrEqual(t, answered, lists+writes+looks*(rounds/6+slack), "and otherwise renewals, and a look at the checkpoints in each sixth round")
	}
	hourly := 360.0 // rounds at an interval of 10 s
	if v.loop != run {
		hourly = 3600 / 10.5
	}
	perRound := 1 / float64(rounds)
	return fmt.Sprintf("%.1f requests a round, %.0f ownership writes an hour", float64(answered)*perRound, float64(writes)*perRound*hourly*float64(owners))
}

// balanceTable is a table with a column for each loop.
type balanceTable struct {
	mu    sync.Mutex
	cells map[string]map[string]string // by row and loop
}

func (b *balanceTable) add(row, loop, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cells[row] == nil {
		b.cells[row] = make(map[string]string)
	}
	b.cells[row][loop] = text
}

func (b *balanceTable) print(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	columns := make(map[string]bool)
	for _, row := range b.cells {
		for loop := range row {
			columns[loop] = true
		}
	}
	loops := slices.Sorted(maps.Keys(columns))
	slices.Reverse(loops)
	text := "\n| | | | " + strings.Join(loops, " | ") + " |\n|---|---|---|" + strings.Repeat("---|", len(loops)) + "\n"
	for _, row := range slices.Sorted(maps.Keys(b.cells)) {
		text += "| " + row
		for _, loop := range loops {
			text += " | " + b.cells[row][loop]
		}
		text += " |\n"
	}
	t.Log(text)
}
