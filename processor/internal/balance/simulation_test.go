package balance

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

var (
	fleets = flag.Int("balance.fleets", 100, "number of simulated fleets in each test; a tenth of it with -short or the race detector")
	seed   = flag.Uint64("balance.seed", 0, "seed of the only fleet to simulate, which tells its story; 0 for all")
)

// eachFleet simulates many fleets, each from a seed, and stops at the first that
// is wrong. The function returns what is wrong with its fleet.
func eachFleet(t *testing.T, simulate func(seed uint64, story bool) (w *world, wrong string)) {
	t.Helper()
	count := *fleets
	if testing.Short() || raceEnabled {
		count = max(count/10, 1)
	}
	for s := uint64(1); s <= uint64(count); s++ {
		if *seed != 0 {
			s, count = *seed, 0
		}
		w, wrong := simulate(s, *seed != 0)
		if wrong == "" && len(w.wrong) > 0 {
			wrong = w.wrong[0]
		}
		if *seed != 0 {
			t.Log(w.ended())
		}
		if wrong != "" {
			t.Fatalf("seed %d: %s\nplay it again: go test -run '^%s$' -balance.seed=%d -v", s, wrong, t.Name(), s)
		}
	}
}

// fleetOf makes a world of a random size: up to 64 owners, up to 1,024
// partitions, small ones more often.
func fleetOf(seed uint64, story bool) (w *world, owners int) {
	w = newWorld(seed, 1)
	owners = 1 + w.rnd.IntN(1<<(1+w.rnd.IntN(6)))
	partitions := 1 + w.rnd.IntN(1<<(1+w.rnd.IntN(8)))
	switch w.rnd.IntN(100) {
	case 0:
		partitions = 1024
	case 1:
		owners = 64
	}
	w.setPartitions(partitions)
	if story {
		w.story = []string{fmt.Sprintf("%d owners, %d partitions", owners, partitions)}
	}
	return w, owners
}

// startWithin starts owners at random times within a span and runs to its end.
func (w *world) startWithin(span time.Duration, owners ...owner) (last time.Duration) {
	begin := w.now
	for _, o := range owners {
		at := w.upTo(span)
		last = max(last, begin+at)
		w.after(at, func() { w.start(o) })
	}
	w.run(span)
	return last
}

func (w *world) newOurs(n int, prefix string) []owner {
	owners := make([]owner, n)
	for i := range owners {
		o := newOurs(w, fmt.Sprintf("%s%02d", prefix, i))
		o.skew = time.Duration(w.rnd.Int64N(int64(time.Hour))) - 30*time.Minute
		owners[i] = o
	}
	return owners
}

// settled says what is wrong after a disturbance at a time: the last change of
// an owner came too many rounds later, or the fleet is not balanced.
func (w *world) settled(since time.Duration, rounds int) string {
	if u := w.unbalanced(); u != "" {
		return u
	}
	if n := w.roundsUntil(since, w.lastChange); n > rounds {
		return fmt.Sprintf("balanced after %d rounds, %v after %v", n, w.lastChange-since, since)
	}
	return ""
}

// TestFleetStarts: owners that start, at once or one after the other, in an empty
// store, are balanced at most 3 rounds after the last start, and nothing moves
// afterwards. At most one partition is stolen for each newcomer.
func TestFleetStarts(t *testing.T) {
	rounds := make(map[int]int)
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, n := fleetOf(seed, story)
		span := []time.Duration{0, time.Second, 10 * time.Second, time.Duration(n) * 15 * time.Second}[w.rnd.IntN(4)]
		last := w.startWithin(span, w.newOurs(n, "o")...)
		w.run(2 * time.Minute)
		rounds[w.roundsUntil(last, w.lastChange)]++
		if w.steals > n-1 {
			return w, fmt.Sprintf("%d steals for %d owners", w.steals, n)
		}
		return w, w.settled(last, 3)
	})
	t.Logf("rounds until balanced, and fleets: %v", rounds)
}

// TestFleetGrows: newcomers of a balanced fleet cost one steal each, and as many
// moves as they get partitions.
func TestFleetGrows(t *testing.T) {
	rounds := make(map[int]int)
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, n := fleetOf(seed, story)
		w.startWithin(time.Second, w.newOurs(n, "o")...)
		w.run(time.Minute)
		before, changes := w.ownersByPartition(), w.changes
		w.steals = 0
		joining := 1 + w.rnd.IntN(n)
		last := w.startWithin(w.upTo(2*time.Second), w.newOurs(joining, "n")...)
		w.run(2 * time.Minute)
		rounds[w.roundsUntil(last, w.lastChange)]++
		moved := 0
		for p, o := range w.ownersByPartition() {
			if before[p] != o {
				moved++
			}
		}
		// The owners of before give up what is above their new share, and as many
		// of them as the remainder says keep one more.
		needed, above := 0, 0
		for _, c := range before.counts() {
			if share := len(w.hub) / (n + joining); c > share {
				needed += c - share
				above++
			}
		}
		needed -= min(above, len(w.hub)%(n+joining))
		switch {
		case moved > needed+joining: // newcomers that do not see each other yet
			return w, fmt.Sprintf("%d partitions moved where %d had to", moved, needed)
		case w.changes-changes > 2*moved:
			return w, fmt.Sprintf("%d claims and releases to move %d partitions", w.changes-changes, moved)
		}
		if w.steals > joining {
			return w, fmt.Sprintf("%d steals for %d newcomers", w.steals, joining)
		}
		return w, w.settled(last, 3)
	})
	t.Logf("rounds until balanced, and fleets: %v", rounds)
}

// TestFleetShrinks: what owners release when they stop is claimed within 3
// rounds, what the dead leave behind 3 rounds after it expired. Nothing else
// moves, nothing is stolen.
func TestFleetShrinks(t *testing.T) {
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, n := fleetOf(seed, story)
		w.startWithin(time.Second, w.newOurs(n, "o")...)
		w.run(time.Minute)
		before := w.ownersByPartition()
		w.steals = 0
		counts, _ := w.counts()
		reserve := 0 // owners that get a partition now, which they steal if they come late
		for _, c := range counts {
			if c == 0 {
				reserve++
			}
		}
		deaths := w.rnd.IntN(2) == 0
		for range w.rnd.IntN(n) {
			w.leave(deaths)
		}
		left := w.now
		w.run(expiration + 2*time.Minute)
		moved := 0
		for p, o := range w.ownersByPartition() {
			if b := before[p]; b != o && w.find(b).active() {
				moved++
			}
		}
		if moved > reserve {
			return w, fmt.Sprintf("%d partitions moved from owners that had not left, %d owners had none", moved, reserve)
		}
		if w.steals > reserve {
			return w, fmt.Sprintf("%d steals, %d owners had no partition", w.steals, reserve)
		}
		if deaths {
			left += expiration + resolution
		}
		return w, w.settled(left, 3)
	})
}

// TestFleetDisturbed: whatever happens to a fleet, it is balanced 3 rounds after
// the last disturbance and the expiration of what it left behind. Nobody takes a
// record for expired that is not.
func TestFleetDisturbed(t *testing.T) {
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, n := fleetOf(seed, story)
		if w.rnd.IntN(4) == 0 {
			w.handler = 15 * time.Second
		}
		w.startWithin(w.upTo(time.Minute), w.newOurs(n, "o")...)
		end := w.now
		for i := range 1 + w.rnd.IntN(5) {
			end = max(end, w.disturb(fmt.Sprintf("n%d", i)))
			w.run(w.upTo(30 * time.Second))
		}
		w.run(max(end-w.now, 0))
		quiet := w.now
		w.run(expiration + 6*time.Minute)
		// What a disturbance left may have to expire, owners may have to be
		// watched that did not give in it, and the last round before may still last.
		limit := quiet + expiration + 2*patience*updateInterval + w.handler
		return w, w.settled(limit, 3)
	})
}

// TestFleetOutage: an outage of the store of up to MaxOutage moves nothing,
// whether requests failed or all owners stood still.
func TestFleetOutage(t *testing.T) {
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, n := fleetOf(seed, story)
		w.latency = w.upTo(3*time.Second) + 1
		w.startWithin(time.Second, w.newOurs(n, "o")...)
		w.run(time.Minute + w.upTo(30*time.Second))
		changes := w.changes
		length := w.upTo(maxOutage - 2*longestRound)
		if w.rnd.IntN(3) > 0 {
			w.tell("the store is out of reach for %v", length)
			w.outage(length, func(*core) bool { return true })
		} else {
			w.tell("everything stands still for %v", length)
			for _, o := range w.owners {
				o.base().resume = w.now + length + w.upTo(time.Second)
			}
		}
		w.run(length + 5*time.Minute)
		if w.changes != changes {
			return w, fmt.Sprintf("%d changes of owners after an outage of %v", w.changes-changes, length)
		}
		return w, w.unbalanced()
	})
}

// TestFleetMixed: together with owners that follow azeventhubs' two strategies,
// every owner gets its share, and then nothing moves. No partition is left
// unowned for long.
func TestFleetMixed(t *testing.T) {
	var longest time.Duration
	defer func() { t.Logf("the longest time without an owner: %v", longest) }()
	eachFleet(t, func(seed uint64, story bool) (*world, string) {
		w, _ := fleetOf(seed, story)
		w.setPartitions(1 + w.rnd.IntN(64))
		mixed := w.newOurs(1+w.rnd.IntN(4), "o")
		for i := range 1 + w.rnd.IntN(4) {
			o := &theirs{core: core{w: w, id: fmt.Sprintf("%c%02d", "ft"[w.rnd.IntN(2)], i)}, greedy: w.rnd.IntN(2) == 0}
			o.skew = w.upTo(30*time.Second) - 15*time.Second
			mixed = append(mixed, o)
		}
		w.rnd.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		span := time.Duration(w.rnd.IntN(2)) * time.Duration(len(mixed)) * 40 * time.Second
		w.startWithin(span, mixed...)
		if w.rnd.IntN(2) == 0 {
			w.run(w.upTo(3 * time.Minute))
			w.leave(w.rnd.IntN(2) == 0)
		}
		disturbed := w.now
		slow := time.Duration(len(w.hub)) * longestRound // the balanced strategy claims one in a round
		w.run(slow + 10*time.Minute)
		if u := w.unbalanced(); u != "" {
			return w, u
		}
		if limit := disturbed + slow + 5*time.Minute; w.lastChange > limit {
			return w, fmt.Sprintf("the last change came at %v, after %v", w.lastChange, limit)
		}
		if !slices.ContainsFunc(w.active(), func(o owner) bool { return o.base().checked }) {
			return w, "" // no owner is left that could claim faster
		}
		longest = max(longest, w.longestUnowned)
		if limit := 2 * time.Minute; w.longestUnowned > limit {
			return w, fmt.Sprintf("a partition was nobody's for %v", w.longestUnowned)
		}
		return w, ""
	})
}

// setPartitions makes the hub anew.
func (w *world) setPartitions(n int) {
	w.hub = newWorld(0, n).hub
	slices.Sort(w.hub)
}

// outage lets the requests of some owners fail.
func (w *world) outage(length time.Duration, of func(*core) bool) (end time.Duration) {
	before, end := w.storeDown, w.now+length
	w.storeDown = func(c *core) bool { return w.now < end && of(c) || before(c) }
	return end
}

// leave lets an owner die or stop, if another one stays.
func (w *world) leave(dies bool) {
	active := w.active()
	if len(active) < 2 {
		return
	}
	o := active[w.rnd.IntN(len(active))]
	if dies {
		w.tell("%s dies", o.base().id)
		o.base().dead = true
	} else {
		w.tell("%s stops", o.base().id)
		o.stop()
	}
}

func (w *world) active() (active []owner) {
	for _, o := range w.owners {
		if o.base().active() {
			active = append(active, o)
		}
	}
	return active
}

// disturb lets something happen and returns when it is over.
func (w *world) disturb(newcomer string) (end time.Duration) {
	length := w.upTo(4 * time.Minute)
	victim := w.active()[w.rnd.IntN(len(w.active()))].base()
	switch w.rnd.IntN(9) {
	case 0, 1:
		w.leave(true)
	case 2:
		w.leave(false)
	case 3:
		w.start(w.newOurs(1, newcomer)[0])
	case 4:
		w.tell("%s is paused for %v", victim.id, length)
		victim.resume = w.now + length
		return victim.resume
	case 5:
		for _, p := range slices.Sorted(maps.Keys(w.records)) {
			if w.rnd.IntN(4) == 0 {
				w.remove(p)
			}
		}
	case 6:
		w.tell("the store is out of reach for %v", length)
		return w.outage(length, func(*core) bool { return true })
	case 7:
		w.tell("the store is out of reach for %s for %v", victim.id, length)
		return w.outage(length, func(c *core) bool { return c == victim })
	case 8:
		w.tell("somebody owns partitions that the hub does not have")
		for i := range 20 {
			w.put(fmt.Sprint("former", i), "somebody")
		}
	}
	return w.now
}

func (w *world) find(id string) *core {
	for _, o := range w.owners {
		if o.base().id == id {
			return o.base()
		}
	}
	return &core{id: id, dead: true}
}

type ownersByPartition map[string]string

func (w *world) ownersByPartition() ownersByPartition {
	owners := make(ownersByPartition)
	for _, p := range w.hub {
		if b := w.records[p]; b != nil {
			owners[p] = b.OwnerID
		}
	}
	return owners
}

func (o ownersByPartition) counts() map[string]int {
	counts := make(map[string]int)
	for _, id := range o {
		counts[id]++
	}
	return counts
}
