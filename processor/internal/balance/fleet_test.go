package balance

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
)

// The settings of the simulated owners are the defaults of the processors.
const (
	updateInterval = 10 * time.Second
	longestRound   = 13 * time.Second // with jitter
	expiration     = time.Minute
	maxOutage      = 5 * time.Minute
)

// world simulates a store and the owners that share it, from a seed. Requests
// take time and take effect in between, so that the rounds of owners interleave
// in any way.
type world struct {
	rnd     *rand.Rand
	now     time.Duration // the service's time
	queue   events
	seq     int
	hub     []string
	records map[string]*blob
	owners  []owner
	version int
	listed  []checkpointstore.Ownership // the last snapshot, if it is still right

	storeDown func(o *core) bool
	latency   time.Duration // a request takes up to this
	handler   time.Duration // a handler takes up to this to end

	// What the test looks at.
	story      []string // if not nil
	changes    int      // of the owner of a partition
	lastChange time.Duration
	steals     int      // of partitions whose record had not expired
	wrong      []string // what no owner may do
	lost, sent int      // claims of partitions that the claimant did not own
	writes     int
	lists      int

	unowned        map[string]time.Duration // released partitions, since when
	longestUnowned time.Duration
}

// blob is an ownership record in the store.
type blob struct {
	checkpointstore.Ownership
	modified time.Duration // exactly
}

type owner interface {
	base() *core
	// round begins a round, which calls done when it is over.
	round(done func())
	// stop ends the owner in order.
	stop()
}

// core is what all owners have.
type core struct {
	w        *world
	id       string
	skew     time.Duration // of its wall clock
	started  time.Duration
	rounds   []time.Duration // when each ended
	dead     bool
	stopping bool
	resume   time.Duration // it is paused until then

	checked  bool            // it says what it steals
	stealing map[string]bool // what it decided to steal
}

func (c *core) base() *core { return c }

// clock is the owner's own time.
func (c *core) clock() time.Time { return c.w.at(c.w.now).Add(c.skew) }

// active reports whether the owner shall have a share.
func (c *core) active() bool { return !c.dead && !c.stopping }

func newWorld(seed uint64, partitions int) *world {
	w := &world{
		rnd:       rand.New(rand.NewPCG(seed, 1)),
		records:   make(map[string]*blob),
		unowned:   make(map[string]time.Duration),
		storeDown: func(*core) bool { return false },
		latency:   200 * time.Millisecond,
		handler:   500 * time.Millisecond,
	}
	for i := range partitions {
		w.hub = append(w.hub, strconv.Itoa(i))
	}
	return w
}

// at is a time of the service as a time.Time.
func (w *world) at(d time.Duration) time.Time {
	return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(d)
}

func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rnd.Int64N(int64(d) + 1))
}

// tell notes what happens, for the story of a seed that fails.
func (w *world) tell(format string, args ...any) {
	if w.story != nil {
		w.story = append(w.story, fmt.Sprintf("%8.2fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// after calls do at a later time.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

// run lets the time go on.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// start lets an owner begin its rounds.
func (w *world) start(o owner) {
	c := o.base()
	c.started = w.now
	w.owners = append(w.owners, o)
	w.tell("%s starts", c.id)
	w.schedule(o, 0)
}

func (w *world) schedule(o owner, in time.Duration) {
	c := o.base()
	w.after(in, func() {
		switch {
		case c.dead:
		case w.now < c.resume:
			w.schedule(o, c.resume-w.now)
		default:
			o.round(func() {
				c.rounds = append(c.rounds, w.now)
				w.schedule(o, time.Duration(float64(updateInterval)*(0.8+w.rnd.Float64()/2)))
			})
		}
	})
}

// list answers with the records after some time, or fails.
func (w *world) list(c *core, answer func(asked time.Time, records []checkpointstore.Ownership, ok bool)) {
	w.lists++
	asked := c.clock()
	w.after(w.upTo(w.latency/2), func() {
		if w.storeDown(c) {
			w.after(2*time.Second, func() { w.deliver(c, func() { answer(asked, nil, false) }) })
			return
		}
		records := w.snapshot()
		w.after(w.upTo(w.latency/2), func() { w.deliver(c, func() { answer(asked, records, true) }) })
	})
}

// deliver gives an owner an answer, once it is not paused.
func (w *world) deliver(c *core, answer func()) {
	switch {
	case c.dead:
	case w.now < c.resume:
		w.after(c.resume-w.now, func() { w.deliver(c, answer) })
	default:
		answer()
	}
}

// snapshot is the list of the records, which is not to be changed.
func (w *world) snapshot() []checkpointstore.Ownership {
	if w.listed == nil {
		w.listed = make([]checkpointstore.Ownership, 0, len(w.records))
		for _, p := range slices.Sorted(maps.Keys(w.records)) {
			w.listed = append(w.listed, w.records[p].Ownership)
		}
	}
	return w.listed
}

// put changes a record, as the store does.
func (w *world) put(p, ownerID string) checkpointstore.Ownership {
	w.version++
	etag := azcore.ETag(strconv.Itoa(w.version))
	w.records[p] = &blob{modified: w.now, Ownership: checkpointstore.Ownership{
		PartitionID: p, OwnerID: ownerID, ETag: &etag, LastModifiedTime: w.at(w.now).Truncate(time.Second),
	}}
	w.listed = nil
	if ownerID == "" {
		w.unowned[p] = w.now
	} else if since, ok := w.unowned[p]; ok {
		w.longestUnowned = max(w.longestUnowned, w.now-since)
		delete(w.unowned, p)
	}
	return w.records[p].Ownership
}

// remove deletes a record.
func (w *world) remove(p string) {
	delete(w.records, p)
	w.listed = nil
	w.tell("the record of %s is deleted", p)
}

// claim writes records for an owner, each on condition that its ETag is still
// the one given ("" if there must be no record).
func (w *world) claim(c *core, etags map[string]string, ownerID string, answer func(won []checkpointstore.Ownership, failed bool)) {
	if len(etags) == 0 {
		answer(nil, false)
		return
	}
	var won []checkpointstore.Ownership
	left, failed := len(etags), 0
	for _, p := range slices.Sorted(maps.Keys(etags)) {
		w.after(w.upTo(w.latency/2), func() {
			if w.storeDown(c) {
				failed++
			} else if o, ok := w.write(c, p, etags[p], ownerID); ok {
				won = append(won, o)
			}
			if left--; left == 0 {
				w.after(w.upTo(w.latency/2), func() { w.deliver(c, func() { answer(won, failed == len(etags)) }) })
			}
		})
	}
}

// write is one conditional write. Only stolen partitions may be taken from an
// owner whose record has not expired.
func (w *world) write(c *core, p, etag, ownerID string) (checkpointstore.Ownership, bool) {
	w.writes++
	var before checkpointstore.Ownership
	version := ""
	b := w.records[p]
	if b != nil {
		before, version = b.Ownership, string(*b.ETag)
	}
	claims := ownerID != "" && before.OwnerID != ownerID
	if claims {
		w.sent++
	}
	if version != etag {
		if claims {
			w.lost++
		}
		return checkpointstore.Ownership{}, false
	}
	switch {
	case !claims && ownerID != "":
	case ownerID == "":
		w.tell("%s releases %s", c.id, p)
	case before.OwnerID == "":
		w.tell("%s claims %s", ownerID, p)
	case w.now-b.modified > expiration:
		w.tell("%s takes %s over from %s, whose record has expired", ownerID, p, before.OwnerID)
	default:
		w.tell("%s steals %s from %s", ownerID, p, before.OwnerID)
		w.steals++
		if c.checked && !c.stealing[p] {
			w.wrong = append(w.wrong, fmt.Sprintf("%s took %s from %s for expired, %v after its renewal", ownerID, p, before.OwnerID, w.now-b.modified))
		}
	}
	if before.OwnerID != ownerID {
		w.changes++
		w.lastChange = w.now
	}
	return w.put(p, ownerID), true
}

// counts says how many partitions of the hub each active owner has, and how many
// nobody active has.
func (w *world) counts() (map[string]int, int) {
	counts := make(map[string]int)
	for _, o := range w.owners {
		if c := o.base(); c.active() {
			counts[c.id] = 0
		}
	}
	orphans := 0
	for _, p := range w.hub {
		b := w.records[p]
		if b == nil {
			orphans++
		} else if _, ok := counts[b.OwnerID]; ok {
			counts[b.OwnerID]++
		} else {
			orphans++
		}
	}
	return counts, orphans
}

// unbalanced says what is wrong with the distribution; empty if nothing is.
func (w *world) unbalanced() string {
	counts, orphans := w.counts()
	if len(counts) == 0 {
		return ""
	}
	if orphans > 0 {
		return fmt.Sprintf("nobody owns %d of %d partitions: %v", orphans, len(w.hub), counts)
	}
	floor := len(w.hub) / len(counts)
	for id, n := range counts {
		if n < floor || n > floor+1 || n > floor && len(w.hub)%len(counts) == 0 {
			return fmt.Sprintf("%s has %d of %d partitions: %v", id, n, len(w.hub), counts)
		}
	}
	return ""
}

// roundsUntil is how many rounds every active owner began after from, up to a
// time: the number that the slowest has.
func (w *world) roundsUntil(from, to time.Duration) int {
	fewest := -1
	for _, o := range w.owners {
		c := o.base()
		if !c.active() {
			continue
		}
		n := 1
		for _, ended := range c.rounds {
			if ended > from && ended < to {
				n++
			}
		}
		if fewest < 0 || n < fewest {
			fewest = n
		}
	}
	return fewest
}

// ours is an owner that decides with this package, in the loop that [Passes]
// describes.
type ours struct {
	core
	sightings Sightings
	rnd       *rand.Rand
	list      map[string]checkpointstore.Ownership
	leaving   map[string]bool
	decide    func(View, *rand.Rand) Decision
}

func newOurs(w *world, id string) *ours {
	return &ours{
		core:      core{w: w, id: id, checked: true},
		sightings: Sightings{UpdateInterval: updateInterval, Expiration: expiration, MaxOutage: maxOutage},
		rnd:       rand.New(rand.NewPCG(w.rnd.Uint64(), 2)),
		leaving:   make(map[string]bool),
		decide:    View.Decide,
	}
}

func (o *ours) round(done func()) { o.pass(1, done) }

func (o *ours) pass(n int, done func()) {
	o.w.list(&o.core, func(asked time.Time, records []checkpointstore.Ownership, ok bool) {
		if !ok {
			o.sightings.Unreachable(asked)
			done()
			return
		}
		o.sightings.Listed(asked, o.clock(), records)
		o.list = make(map[string]checkpointstore.Ownership, len(records))
		for _, r := range records {
			o.list[r.PartitionID] = r
		}
		maps.DeleteFunc(o.leaving, func(p string, _ bool) bool { return o.list[p].OwnerID != o.id })
		v := o.sightings.View(o.clock(), o.id, o.w.hub)
		v.Stopping = o.stopping
		v.Leaving = slices.Sorted(maps.Keys(o.leaving))
		d := o.decide(v, o.rnd)
		o.giveUp(d.GiveUp)
		o.stealing = make(map[string]bool)
		for _, p := range d.Steal {
			o.stealing[p] = true
		}
		etags := o.etags(slices.Concat(d.Renew, d.Claim, d.Steal))
		o.w.claim(&o.core, etags, o.id, func(won []checkpointstore.Ownership, failed bool) {
			o.won(won)
			if failed {
				o.sightings.Unwritable()
			}
			lost := len(won) < len(etags)
			if (d.Again || lost) && !failed && n < Passes {
				if d.Again {
					o.w.after(updateInterval/10, func() { o.w.deliver(&o.core, func() { o.pass(n+1, done) }) })
					return
				}
				o.pass(n+1, done)
				return
			}
			done()
		})
	})
}

func (o *ours) won(won []checkpointstore.Ownership) {
	o.sightings.Won(o.clock(), won...)
	for _, r := range won {
		o.list[r.PartitionID] = r
	}
}

func (o *ours) etags(partitions []string) map[string]string {
	etags := make(map[string]string, len(partitions))
	for _, p := range partitions {
		etags[p] = ""
		if r, ok := o.list[p]; ok {
			etags[p] = string(*r.ETag)
		}
	}
	return etags
}

// giveUp releases each partition when its handler has ended.
func (o *ours) giveUp(partitions []string) {
	for _, p := range partitions {
		o.leaving[p] = true
		o.w.after(o.w.upTo(o.w.handler), func() { o.w.deliver(&o.core, func() { o.release(p) }) })
	}
}

func (o *ours) release(p string) {
	if o.list[p].OwnerID != o.id {
		return
	}
	o.w.claim(&o.core, o.etags([]string{p}), "", func(won []checkpointstore.Ownership, failed bool) {
		o.won(won)
		if len(won) == 0 { // a renewal came in between, or the store was out of reach
			o.w.after(time.Second, func() { o.w.deliver(&o.core, func() { o.release(p) }) })
			return
		}
		delete(o.leaving, p)
		o.end()
	})
}

func (o *ours) stop() {
	o.stopping = true
	var mine []string
	for p, r := range o.list {
		if r.OwnerID == o.id && !o.leaving[p] {
			mine = append(mine, p)
		}
	}
	slices.Sort(mine)
	o.giveUp(mine)
	o.end()
}

func (o *ours) end() {
	if o.stopping && len(o.leaving) == 0 {
		o.dead = true
	}
}

// theirs is an owner that follows azeventhubs/v2 v2.0.2, whose rules are
// repeated here from processor_load_balancer.go.
type theirs struct {
	core
	greedy  bool
	current []checkpointstore.Ownership
}

func (o *theirs) round(done func()) {
	o.w.list(&o.core, func(_ time.Time, records []checkpointstore.Ownership, ok bool) {
		if !ok {
			done()
			return
		}
		claims := o.loadBalance(records)
		etags := make(map[string]string, len(claims))
		for _, r := range claims {
			etags[r.PartitionID] = ""
			if r.ETag != nil {
				etags[r.PartitionID] = string(*r.ETag)
			}
		}
		o.w.claim(&o.core, etags, o.id, func(won []checkpointstore.Ownership, failed bool) {
			o.current = won
			done()
		})
	})
}

// loadBalance is LoadBalance with getAvailablePartitions.
func (o *theirs) loadBalance(records []checkpointstore.Ownership) []checkpointstore.Ownership {
	alreadyAdded := map[string]bool{}
	groupedByOwner := map[string][]checkpointstore.Ownership{o.id: nil}
	var unownedOrExpired []checkpointstore.Ownership
	for _, r := range records {
		alreadyAdded[r.PartitionID] = true
		if o.clock().Sub(r.LastModifiedTime) > expiration || r.OwnerID == "" {
			unownedOrExpired = append(unownedOrExpired, r)
			continue
		}
		groupedByOwner[r.OwnerID] = append(groupedByOwner[r.OwnerID], r)
	}
	for _, p := range o.w.hub {
		if !alreadyAdded[p] {
			unownedOrExpired = append(unownedOrExpired, checkpointstore.Ownership{PartitionID: p})
		}
	}
	minRequired := len(o.w.hub) / len(groupedByOwner)
	maxAllowed := minRequired
	allowExtra := len(o.w.hub)%len(groupedByOwner) > 0
	if allowExtra && len(groupedByOwner[o.id]) >= minRequired {
		maxAllowed++
	}
	var aboveMax []checkpointstore.Ownership
	for _, id := range slices.Sorted(maps.Keys(groupedByOwner)) { // a map there: in any order
		if id != o.id && len(groupedByOwner[id]) > maxAllowed {
			aboveMax = append(aboveMax, groupedByOwner[id]...)
		}
	}
	more := true
	current := groupedByOwner[o.id]
	if len(current) >= maxAllowed {
		more = false
	} else if allowExtra && len(current) == maxAllowed-1 {
		more = len(unownedOrExpired) > 0 || len(aboveMax) > 0
	}
	switch {
	case !more:
		return current
	case o.greedy:
		current = append(current, o.random(unownedOrExpired, maxAllowed-len(current))...)
		if len(current) < maxAllowed {
			current = append(current, o.random(aboveMax, maxAllowed-len(current))...)
		}
		return current
	case len(unownedOrExpired) > 0:
		return append(current, unownedOrExpired[o.w.rnd.IntN(len(unownedOrExpired))])
	case len(aboveMax) > 0:
		return append(current, aboveMax[o.w.rnd.IntN(len(aboveMax))])
	}
	return current
}

// random is getRandomOwnerships.
func (o *theirs) random(records []checkpointstore.Ownership, count int) (chosen []checkpointstore.Ownership) {
	for _, i := range o.w.rnd.Perm(min(count, len(records))) {
		chosen = append(chosen, records[i])
	}
	return chosen
}

// stop is what close does: it releases what the last round won.
func (o *theirs) stop() {
	o.stopping = true
	etags := make(map[string]string)
	for _, r := range o.current {
		etags[r.PartitionID] = string(*r.ETag)
	}
	o.w.claim(&o.core, etags, "", func([]checkpointstore.Ownership, bool) {})
	o.dead = true
}

// events is a queue by time.
type events []event

type event struct {
	at  time.Duration
	seq int
	do  func()
}

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(e any)   { *q = append(*q, e.(event)) }
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// ended is the story up to a failure.
func (w *world) ended() string {
	return strings.Join(w.story[max(0, len(w.story)-400):], "\n")
}
