package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// monitor observes processes, handlers and the storage, and checks the promise.
type monitor struct {
	plan   fleetPlan
	bubble string
	began  time.Time

	// storesAll makes every handler store its position after each batch: a rewind to a position that the handler has not
	// passed in its own knowledge only shows when it stores the next one.
	storesAll atomic.Bool

	mu      sync.Mutex
	lines   []logLine
	broken  []string
	ways    map[string]int // how often the promise was broken in each way
	results map[string]int

	ownerships  map[string]ownershipRecord // as the service stores them
	checkpoints map[string][]checkpointWrite
	generations map[string]int64     // the highest ever stored
	wins        map[string]time.Time // the latest, by partition and process
	runs        map[string][]*handlerRun
	events      map[string][]*handledEvent
	rewinds     map[string][]rewindDone
	firstStored map[string]firstCheckpoint
}

// firstCheckpoint is where a partition is read from that starts at its end. Two processes that win it before there is a
// checkpoint may find different ends: the events between the two are the documented limit of Latest.
type firstCheckpoint struct {
	at       time.Time
	position int64
}

// logLine is formatted when it is printed.
type logLine struct {
	at     time.Duration
	who    string
	format string
	args   []any
}

func (l logLine) String() string {
	text := strings.ReplaceAll(fmt.Sprintf(l.format, l.args...), "\n", " ")
	if len(text) > 240 {
		text = text[:240] + "…"
	}
	return fmt.Sprintf("  [%9s] %-9s %s\n", fmt.Sprintf("%.3fs", l.at.Seconds()), l.who, text)
}

type ownershipRecord struct {
	owner string
	by    string // the name of the process
	etag  uint64
	at    time.Time
}

type rewindDone struct {
	at       time.Time
	position int64
	behind   bool // whether the handler knew of a later stored position
}

// handledEvent counts how often an event was handled.
type handledEvent struct {
	times int
	by    time.Time // the latest start of a handler that handled it
}

func newMonitor(p fleetPlan) *monitor {
	return &monitor{
		plan: p, began: time.Now(), results: make(map[string]int), ways: make(map[string]int),
		ownerships: make(map[string]ownershipRecord), checkpoints: make(map[string][]checkpointWrite),
		generations: make(map[string]int64), wins: make(map[string]time.Time), runs: make(map[string][]*handlerRun), events: make(map[string][]*handledEvent),
		rewinds: make(map[string][]rewindDone), firstStored: make(map[string]firstCheckpoint),
	}
}

// log adds a line to the log.
func (m *monitor) log(who, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logLocked(who, format, args...)
}

// logLocked is log for callers that hold the lock.
func (m *monitor) logLocked(who, format string, args ...any) {
	m.lines = append(m.lines, logLine{time.Since(m.began), who, format, args})
}

// fail notes how the promise was broken.
func (m *monitor) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(format, args...)
}

func (m *monitor) failLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.logLocked("BROKEN", "%s", text)
	if m.ways[format]++; m.ways[format] <= 3 {
		m.broken = append(m.broken, text)
	}
}

// count counts what happened, so that a test can check that it did.
func (m *monitor) count(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results[what]++
}

// observe notes the writes of a process that the service applies.
func (m *monitor) observe(next policy.Transporter, by string) policy.Transporter {
	return observeWrites(next, func(req *http.Request, etag uint64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		partition := path.Base(req.URL.Path)
		switch {
		case strings.Contains(req.URL.Path, "/ownership/"):
			m.ownershipWritten(partition, ownershipRecord{metadata(req, "ownerid"), by, etag, time.Now()})
		case strings.Contains(req.URL.Path, "/checkpoint/"):
			m.checkpointWritten(partition, checkpointWrite{etag: etag, by: by, checkpoint: checkpointOf(req)})
		}
	})
}

func (m *monitor) ownershipWritten(partition string, now ownershipRecord) {
	before := m.ownerships[partition]
	if now.etag < before.etag {
		return // a later one was noted before
	}
	m.ownerships[partition] = now
	if now.owner != before.owner {
		m.wins[partition+" "+now.by] = now.at
	}
	switch {
	case now.owner == before.owner:
	case now.owner == "":
		m.results["released"]++
		m.logLocked(before.owner, "releases partition %s", partition)
	case before.owner == "":
		m.results["claimed"]++
		m.logLocked(now.owner, "wins partition %s", partition)
	default:
		m.results["taken"]++
		m.logLocked(now.owner, "wins partition %s, which %s renewed %v ago", partition, before.owner, now.at.Sub(before.at).Round(time.Second))
	}
}

func (m *monitor) checkpointWritten(partition string, w checkpointWrite) {
	first, found := m.firstStored[partition]
	switch {
	case !found:
		m.firstStored[partition] = firstCheckpoint{time.Now(), w.position}
	case m.isInitial(partition, w, first.at):
		m.results["two initial positions"]++
		m.firstStored[partition] = firstCheckpoint{first.at, max(first.position, w.position)}
	}
	m.results["checkpoints"]++
	m.checkpoints[partition] = append(m.checkpoints[partition], w)
	m.generations[partition] = max(m.generations[partition], w.generation)
	m.logLocked(w.by, "stores in partition %s, generation %d: %d", partition, w.generation, w.position)
}

// isInitial reports whether a write is by a process that won the partition before a time and has not read it yet.
func (m *monitor) isInitial(partition string, w checkpointWrite, before time.Time) bool {
	won, found := m.wins[partition+" "+w.by]
	return found && won.Before(before) && !slices.ContainsFunc(m.runs[partition], func(r *handlerRun) bool {
		return r.process.name == w.by && !r.start.Before(won)
	})
}

// checkpointGone notes that a record was deleted. The next write may be anything, and earlier rewinds are forgotten.
func (m *monitor) checkpointGone(partition string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var last uint64
	for _, w := range m.checkpoints[partition] {
		last = max(last, w.etag)
	}
	m.checkpoints[partition] = append(m.checkpoints[partition], checkpointWrite{etag: last, deleted: true})
	delete(m.rewinds, partition)
}

// checkWrites checks the checkpoints, in the order in which the service applied them.
func (m *monitor) checkWrites() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for partition, writes := range m.checkpoints {
		none := checkpoint{position: -2} // before -1, the start of a partition
		last := none
		for _, w := range inOrder(writes) {
			switch {
			case w.deleted:
				last = none
				continue
			case w.behind(last):
				m.failLocked("the checkpoint of partition %s went back from %v to %v, by %s", partition, last, w.checkpoint, w.by)
			}
			last = w.checkpoint
		}
	}
}

// handlerRun is one call of a handler.
type handlerRun struct {
	*monitor
	process    *process
	partition  string
	start      time.Time
	ctx        context.Context
	generation int64 // the highest when it started: it started from this one or an earlier one
	first      int64 // the sequence number that it starts from
	next       int64 // the sequence number that comes next
	stored     int64 // what the handler knows to be stored
	notified   time.Time
	end        time.Time
}

func (r *handlerRun) String() string {
	return fmt.Sprintf("%s's handler of %s", r.process.name, r.partition)
}

// begins notes the start of a handler.
func (m *monitor) begins(p *process, ctx context.Context, partition *processor.Partition) *handlerRun {
	r := &handlerRun{monitor: m, process: p, partition: partition.PartitionID(), start: time.Now(), ctx: ctx}
	r.first = firstAfter(partition.StartPosition())
	r.next = r.first
	r.stored = r.next - 1
	m.mu.Lock()
	r.generation = m.generations[r.partition]
	for _, other := range m.runs[r.partition] {
		if other.process == p && other.end.IsZero() {
			m.failLocked("%v begins before the last one has returned", r)
		}
	}
	m.runs[r.partition] = append(m.runs[r.partition], r)
	m.results["handlers"]++
	m.logLocked(p.name, "handler of partition %s begins at %d", r.partition, r.next)
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if r.notified.IsZero() {
			r.notified = time.Now()
		}
	})
	return r
}

// firstAfter returns the sequence number of the first event from a start position.
func firstAfter(s azeventhubs.StartPosition) int64 {
	switch {
	case s.Offset != nil && *s.Offset == "-1":
		return 0
	case s.Offset != nil:
		return number(*s.Offset)/100 + 1
	case s.SequenceNumber != nil:
		return *s.SequenceNumber + 1
	}
	return 0
}

// received checks that events arrive in order, without a gap.
func (r *handlerRun) received(events []*azeventhubs.ReceivedEventData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.SequenceNumber != r.next {
			r.failLocked("%v received %d, where %d comes next", r, e.SequenceNumber, r.next)
		}
		r.next = e.SequenceNumber + 1
	}
}

// handled notes that a running process handled an event.
func (r *handlerRun) handled(e *azeventhubs.ReceivedEventData) {
	if r.process.gate.isGone() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.events[r.partition][e.SequenceNumber]
	h.times++
	r.results["events handled"]++
	if r.start.After(h.by) {
		h.by = r.start
	}
}

// updated notes the result of an update.
func (r *handlerRun) updated(e *azeventhubs.ReceivedEventData, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.stored = max(r.stored, e.SequenceNumber)
		return
	}
	r.logLocked(r.process.name, "cannot store %d of partition %s: %v", e.SequenceNumber, r.partition, err)
}

// isBehind reports whether the handler of a partition knows that a later position is stored.
func (m *monitor) isBehind(partition string, position int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runs[partition] {
		if r.end.IsZero() && r.notified.IsZero() {
			return position < r.stored
		}
	}
	return false
}

// returned notes the end of a handler, the cause, and its error.
func (r *handlerRun) returned(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = time.Now()
	if r.notified.IsZero() {
		r.notified = r.end
	}
	r.logLocked(r.process.name, "handler of partition %s ends: %v, cause: %v", r.partition, err, context.Cause(r.ctx))
	if cause := context.Cause(r.ctx); cause != nil {
		for _, known := range []error{
			processor.ErrPartitionLost, processor.ErrStopping, processor.ErrRewound, processor.ErrRebalanced, processor.ErrLinkFailed, processor.ErrOutage,
		} {
			if errors.Is(cause, known) {
				r.results["notified: "+known.Error()]++
				return
			}
		}
		r.failLocked("%v was told to return without a reason: %v", r, cause)
	}
}

// active returns a process's running handler of a partition.
func (m *monitor) active(p *process, partition string) *handlerRun {
	for _, r := range m.runs[partition] {
		if r.process == p && r.end.IsZero() {
			return r
		}
	}
	return nil
}

// mustBeNotified checks that a handler is notified within a second.
func (m *monitor) mustBeNotified(p *process, partition, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.active(p, partition)
	if r == nil {
		return
	}
	time.AfterFunc(time.Second, func() {
		if r.ctx.Err() == nil && !p.gate.isGone() {
			m.fail("%v was not told that its partition is lost: %s", r, why)
		}
	})
}

// sent notes new events.
func (m *monitor) sent(partition string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.events[partition] = append(m.events[partition], &handledEvent{})
	}
}

// unhandled returns the first event that was not handled, or not again after a rewind, or nothing.
func (m *monitor) unhandled() string { return m.firstUnhandled(false) }

// unseen is unhandled without the rewinds that only show with the next checkpoint.
func (m *monitor) unseen() string { return m.firstUnhandled(true) }

func (m *monitor) firstUnhandled(behind bool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range sortedKeys(m.events) {
		promised := m.firstPromised(partition)
		for n, e := range m.events[partition] {
			n := int64(n)
			if n < promised {
				continue
			}
			if e.times == 0 {
				return fmt.Sprintf("event %d of partition %s was never handled", n, partition)
			}
			for _, r := range m.rewinds[partition] {
				if n > r.position && e.by.Before(r.at) && (r.behind || !behind) {
					return fmt.Sprintf("event %d of partition %s was not handled again after the rewind to %d", n, partition, r.position)
				}
			}
		}
	}
	return ""
}

// firstPromised returns the first event of a partition that must be handled. If handlers begin at the end, and while the initial
// position could not be stored, that is where the latest handler started: the next one would start at a later end.
func (m *monitor) firstPromised(partition string) int64 {
	if !m.plan.Latest {
		return 0
	}
	if first, found := m.firstStored[partition]; found {
		return first.position + 1
	}
	for _, r := range slices.Backward(m.runs[partition]) {
		if r.end.IsZero() && !r.process.gate.isGone() {
			return r.first
		}
	}
	return math.MaxInt64
}

// checkReaders checks how long two processes read one partition, apart from the time in which one of them was paused.
func (m *monitor) checkReaders(bound time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for partition, runs := range m.runs {
		for i, a := range runs {
			for _, b := range runs[:i] {
				if a.process == b.process {
					continue
				}
				from, to := later(a.start, b.start), earlier(a.until(now), b.until(now))
				if d := to.Sub(from) - a.process.gate.paused.within(from, to) - b.process.gate.paused.within(from, to); d > bound {
					m.failLocked("%s and %s read partition %s for %v at the same time", a.process.name, b.process.name, partition, d)
				} else if d > 0 {
					m.results["two readers"]++
				}
			}
		}
	}
}

// until returns when a handler was notified or its process ended.
func (r *handlerRun) until(now time.Time) time.Time {
	end := now
	if !r.notified.IsZero() {
		end = r.notified
	}
	if gone := r.process.gate.goneAt(); !gone.IsZero() {
		end = earlier(end, gone)
	}
	return end
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// observer stands between a processor and its store, and checks each call.
type observer struct {
	checkpointstore.CheckpointStore
	*process

	mu     sync.Mutex
	listed map[string]string          // owners in the last good list
	own    map[string]map[string]bool // the ETags of the records that the process owned, by partition
	owns   map[string]time.Time       // since when a list or a win shows that the process owns a partition
	stolen map[string]time.Time       // when a link was last stolen
}

func newObserver(p *process, store checkpointstore.CheckpointStore) *observer {
	return &observer{
		CheckpointStore: store, process: p, own: make(map[string]map[string]bool),
		owns: make(map[string]time.Time), stolen: make(map[string]time.Time),
	}
}

func (o *observer) ListOwnership(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	begun := time.Now()
	list, err := o.CheckpointStore.ListOwnership(ctx, namespace, hub, group, options)
	if gone := o.gate.pass(); gone != nil || err != nil {
		return nil, cmp.Or(gone, err)
	}
	var lost []string
	o.mu.Lock()
	o.listed = make(map[string]string)
	for i, r := range list {
		o.listed[r.PartitionID] = r.OwnerID
		if r.OwnerID == o.ownerID {
			o.saw(r, begun)
		} else {
			delete(o.owns, r.PartitionID)
			lost = append(lost, r.PartitionID)
		}
		list[i].LastModifiedTime = r.LastModifiedTime.Add(-o.clock)
	}
	o.mu.Unlock()
	for _, id := range lost {
		o.monitor.mustBeNotified(o.process, id, "a list showed it")
	}
	return list, nil
}

// saw notes a record that the process owns.
func (o *observer) saw(r checkpointstore.Ownership, at time.Time) {
	if o.own[r.PartitionID] == nil {
		o.own[r.PartitionID] = make(map[string]bool)
	}
	o.own[r.PartitionID][plainETag(r)] = true
	o.owns[r.PartitionID] = at
}

func plainETag(r checkpointstore.Ownership) string {
	if r.ETag == nil {
		return ""
	}
	return strings.Trim(string(*r.ETag), `"`)
}

func (o *observer) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	begun := time.Now()
	for _, c := range claims {
		o.checkClaim(c)
	}
	won, err := o.CheckpointStore.ClaimOwnership(ctx, claims, options)
	if gone := o.gate.pass(); gone != nil {
		return nil, gone
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, r := range won {
		if r.OwnerID == o.ownerID {
			o.saw(r, begun)
		} else {
			delete(o.owns, r.PartitionID)
		}
		won[i].LastModifiedTime = r.LastModifiedTime.Add(-o.clock)
	}
	return won, err
}

// checkClaim checks a claim before it is sent.
func (o *observer) checkClaim(c checkpointstore.Ownership) {
	if o.gate.isGone() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	id := c.PartitionID
	if c.OwnerID == "" {
		if r := m.active(o.process, id); r != nil {
			m.failLocked("%s releases partition %s before its handler has returned", o.name, id)
		}
		return
	}
	renewal := o.own[id][plainETag(c)] || c.ETag == nil && o.own[id] != nil
	if stopped := o.stoppedAt(); !stopped.IsZero() && time.Now().After(stopped) && !renewal {
		m.failLocked("%s claims partition %s after its stop began", o.name, id)
	}
	record := m.ownerships[id]
	age := time.Since(record.at)
	if record.owner == "" || record.owner == o.ownerID || record.etag != etagNumber(plainETag(c)) || age > fleetExpiration-time.Second {
		return
	}
	// A record that has not expired is only taken from an owner above its share.
	owners, held := map[string]bool{o.ownerID: true}, 0
	for _, owner := range o.listed {
		owners[owner] = true
		if owner == record.owner {
			held++
		}
	}
	delete(owners, "")
	m.results["stolen"]++
	if share := m.plan.Partitions / len(owners); held <= share {
		m.failLocked("%s steals partition %s, renewed %v ago, from %s, which has %d, and its share is %d", o.name, id, age, record.owner, held, share)
	}
}

// linkStolen notes that another receiver stole a link.
func (o *observer) linkStolen(partition string) {
	o.mu.Lock()
	o.stolen[partition] = time.Now()
	o.mu.Unlock()
	o.monitor.count("links stolen")
	o.monitor.mustBeNotified(o.process, partition, "its link was stolen")
}

// opens checks that a process owns the partition that it opens a link to, as far as it can know.
func (o *observer) opens(partition string) {
	o.mu.Lock()
	since, owned := o.owns[partition]
	stolen := o.stolen[partition]
	o.mu.Unlock()
	switch {
	case o.gate.isGone():
	case !owned:
		o.monitor.fail("%s opens a link to partition %s, which it does not own", o.name, partition)
	case !stolen.IsZero() && !since.After(stolen):
		o.monitor.fail("%s opens a link to partition %s, which was stolen, before it knows that it still owns that", o.name, partition)
	}
}
