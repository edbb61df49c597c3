package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// monitor sees what processes, handlers and the storage do, and holds it against the promise.
type monitor struct {
	plan   fleetPlan
	bubble string
	began  time.Time

	mu      sync.Mutex
	story   []storyLine
	broken  []string
	ways    map[string]int // how often the promise was broken in one way
	results map[string]int

	ownerships  map[string]ownershipRecord // as the service has them
	checkpoints map[string][]checkpointWrite
	generations map[string]int64     // the latest that there ever was
	wins        map[string]time.Time // the last one, by partition and process
	runs        map[string][]*handlerRun
	events      map[string][]*handledEvent
	rewinds     map[string][]rewindDone
	firstStored map[string]firstCheckpoint
}

// firstCheckpoint is where a partition begins that is read from its end on. Two processes that win it before there is a
// checkpoint may find different ends: what lies between the two is the documented limit of Latest.
type firstCheckpoint struct {
	at       time.Time
	position int64
}

// storyLine is formatted when somebody reads it.
type storyLine struct {
	at     time.Duration
	who    string
	format string
	args   []any
}

const maxStoryLine = 240

const storesFormat = "stores in partition %s, generation %d: %d"

func (l storyLine) String() string {
	text := strings.ReplaceAll(fmt.Sprintf(l.format, l.args...), "\n", " ")
	if len(text) > maxStoryLine {
		text = text[:maxStoryLine] + "…"
	}
	return fmt.Sprintf("[%9s] %-9s %s", fmt.Sprintf("%.3fs", l.at.Seconds()), l.who, text)
}

// goesOn reports whether a line says that the checkpoint of the last one was followed by the next.
func (l storyLine) goesOn(last storyLine) bool {
	return l.format == storesFormat && last.format == storesFormat && l.who == last.who && slices.Equal(l.args[:2], last.args[:2])
}

// tellStory is the story for a human, with checkpoints that follow each other in one line.
func tellStory(story []storyLine) string {
	var b strings.Builder
	for i, l := range story {
		if i > 0 && l.goesOn(story[i-1]) {
			fmt.Fprintf(&b, ", %d", l.args[2])
			continue
		}
		b.WriteString("\n  " + l.String())
	}
	return b.String() + "\n"
}

type ownershipRecord struct {
	owner, etag string
	by          string // the name of the process
	number      uint64 // of the ETag, which the service counts
	at          time.Time
}

type checkpointWrite struct {
	etag uint64
	checkpoint
	by      string
	deleted bool // the record was deleted after all that came before
}

type rewindDone struct {
	at       time.Time
	position int64
	behind   bool // what the handler knew to be stored
}

// handledEvent is what became of an event.
type handledEvent struct {
	times int
	by    time.Time // the latest beginning of a handler that handled it
}

func newMonitor(p fleetPlan) *monitor {
	return &monitor{
		plan: p, began: time.Now(), results: make(map[string]int), ways: make(map[string]int),
		ownerships: make(map[string]ownershipRecord), checkpoints: make(map[string][]checkpointWrite),
		generations: make(map[string]int64), wins: make(map[string]time.Time), runs: make(map[string][]*handlerRun), events: make(map[string][]*handledEvent),
		rewinds: make(map[string][]rewindDone), firstStored: make(map[string]firstCheckpoint),
	}
}

// tell adds a line to the story.
func (m *monitor) tell(who, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.telling(who, format, args...)
}

// telling is tell for callers that have the lock, as are the other methods whose names end like this.
func (m *monitor) telling(who, format string, args ...any) {
	m.story = append(m.story, storyLine{time.Since(m.began), who, format, args})
}

// blame notes how the promise was broken.
func (m *monitor) blame(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blaming(format, args...)
}

func (m *monitor) blaming(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.telling("BROKEN", "%s", text)
	if m.ways[format]++; m.ways[format] <= 3 {
		m.broken = append(m.broken, text)
	}
}

// count counts what happened, so that a test can see that it did.
func (m *monitor) count(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results[what]++
}

// tap is the way to the service, for all. It sees writes as the service applies them.
type tap struct {
	*monitor
	next policy.Transporter
	by   string
}

func (t *tap) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.next.Do(req)
	if err != nil || req.Method != http.MethodPut || resp.StatusCode >= 300 {
		return resp, err
	}
	etag := resp.Header.Get("ETag")
	number, failed := strconv.ParseUint(strings.Trim(etag, `"`), 0, 64)
	if failed != nil {
		return resp, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	partition := path.Base(req.URL.Path)
	switch {
	case strings.Contains(req.URL.Path, "/ownership/"):
		t.ownershipWritten(partition, ownershipRecord{metadata(req, "ownerid"), strings.Trim(etag, `"`), t.by, number, time.Now()})
	case strings.Contains(req.URL.Path, "/checkpoint/"):
		t.checkpointWritten(partition, checkpointWrite{etag: number, by: t.by, checkpoint: checkpointOf(req)})
	}
	return resp, err
}

// metadata is what a request writes under a name.
func metadata(req *http.Request, name string) string {
	for key, values := range req.Header {
		if strings.EqualFold(key, "x-ms-meta-"+name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func checkpointOf(req *http.Request) checkpoint {
	return checkpoint{number(metadata(req, "generation")), number(metadata(req, "sequencenumber")), metadata(req, "offset")}
}

func (m *monitor) ownershipWritten(partition string, now ownershipRecord) {
	before := m.ownerships[partition]
	if now.number < before.number {
		return // the one that came later was noted before
	}
	m.ownerships[partition] = now
	if now.owner != before.owner {
		m.wins[partition+" "+now.by] = now.at
	}
	switch {
	case now.owner == before.owner:
	case now.owner == "":
		m.results["released"]++
		m.telling(before.owner, "releases partition %s", partition)
	case before.owner == "":
		m.results["claimed"]++
		m.telling(now.owner, "wins partition %s", partition)
	default:
		m.results["taken"]++
		m.telling(now.owner, "wins partition %s, which %s renewed %v ago", partition, before.owner, now.at.Sub(before.at).Round(time.Second))
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
	m.telling(w.by, storesFormat, partition, w.generation, w.position)
}

// isInitial reports whether a process that won a partition before a time stores a checkpoint and has not read it yet.
func (m *monitor) isInitial(partition string, w checkpointWrite, before time.Time) bool {
	won, found := m.wins[partition+" "+w.by]
	return found && won.Before(before) && !slices.ContainsFunc(m.runs[partition], func(r *handlerRun) bool {
		return r.process.name == w.by && !r.start.Before(won)
	})
}

// checkpointGone notes that a record was deleted. What is stored next may be anything, and rewinds of before are forgotten.
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

// checkWrites holds the checkpoints against the promise, in the order in which the service applied them.
func (m *monitor) checkWrites() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for partition, writes := range m.checkpoints {
		slices.SortStableFunc(writes, func(a, b checkpointWrite) int { return int(a.etag) - int(b.etag) })
		none := checkpoint{position: -2} // before -1, the beginning of a partition
		last := none
		for _, w := range writes {
			switch {
			case w.deleted:
				last = none
				continue
			case w.behind(last):
				m.blaming("the checkpoint of partition %s went back from %v to %v, by %s", partition, last, w.checkpoint, w.by)
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
	generation int64 // the latest when it began: it was started from this one or an earlier one
	next       int64 // the sequence number that comes next
	stored     int64 // what the handler knows to be stored
	told       time.Time
	end        time.Time
}

func (r *handlerRun) String() string {
	return fmt.Sprintf("%s's handler of %s", r.process.name, r.partition)
}

// begins notes a call of a handler.
func (m *monitor) begins(p *process, ctx context.Context, partition *processor.Partition) *handlerRun {
	r := &handlerRun{monitor: m, process: p, partition: partition.PartitionID(), start: time.Now(), ctx: ctx}
	r.next = firstAfter(partition.StartPosition())
	r.stored = r.next - 1
	m.mu.Lock()
	r.generation = m.generations[r.partition]
	for _, other := range m.runs[r.partition] {
		if other.process == p && other.end.IsZero() {
			m.blaming("%v begins before the last one has returned", r)
		}
	}
	m.runs[r.partition] = append(m.runs[r.partition], r)
	m.results["handlers"]++
	m.telling(p.name, "handler of partition %s begins at %d", r.partition, r.next)
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if r.told.IsZero() {
			r.told = time.Now()
		}
	})
	return r
}

// firstAfter is the sequence number of the first event at a start position.
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

// received holds what a handler received against what has to come next.
func (r *handlerRun) received(events []*azeventhubs.ReceivedEventData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.SequenceNumber != r.next {
			r.blaming("%v received %d, where %d comes next", r, e.SequenceNumber, r.next)
		}
		r.next = e.SequenceNumber + 1
	}
}

// handled notes that an event was handled, unless the process is gone.
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

// updated notes what came of an update.
func (r *handlerRun) updated(e *azeventhubs.ReceivedEventData, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.stored = max(r.stored, e.SequenceNumber)
		return
	}
	r.telling(r.process.name, "cannot store %d of partition %s: %v", e.SequenceNumber, r.partition, err)
}

// isBehind reports whether a position is behind what the handler of a partition knows to be stored.
func (m *monitor) isBehind(partition string, position int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runs[partition] {
		if r.end.IsZero() && r.told.IsZero() {
			return position < r.stored
		}
	}
	return false
}

// returned notes the end of a handler, why it was told to return, and what it returned.
func (r *handlerRun) returned(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = time.Now()
	if r.told.IsZero() {
		r.told = r.end
	}
	r.telling(r.process.name, "handler of partition %s ends: %v, cause: %v", r.partition, err, context.Cause(r.ctx))
	if cause := context.Cause(r.ctx); cause != nil {
		for _, known := range []error{
			processor.ErrPartitionLost, processor.ErrStopping, processor.ErrRewound, processor.ErrRebalanced, processor.ErrLinkFailed, processor.ErrOutage,
		} {
			if errors.Is(cause, known) {
				r.results["told: "+known.Error()]++
				return
			}
		}
		r.blaming("%v was told to return without a reason: %v", r, cause)
	}
}

// active is the handler of a partition in a process that has not returned.
func (m *monitor) active(p *process, partition string) *handlerRun {
	for _, r := range m.runs[partition] {
		if r.process == p && r.end.IsZero() {
			return r
		}
	}
	return nil
}

// mustBeTold checks that a handler is told within a second.
func (m *monitor) mustBeTold(p *process, partition, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.active(p, partition)
	if r == nil {
		return
	}
	time.AfterFunc(time.Second, func() {
		if r.ctx.Err() == nil && !p.gate.isGone() {
			m.blame("%v was not told that its partition is lost: %s", r, why)
		}
	})
}

// sent changes how many events there are.
func (m *monitor) sent(partition string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.events[partition] = append(m.events[partition], &handledEvent{})
	}
}

// unhandled is the first event that was not handled, or not again after a rewind; empty if there is none.
func (m *monitor) unhandled() string { return m.firstUnhandled(false) }

// unseen is the same without rewinds that nobody sees before there are new events.
func (m *monitor) unseen() string { return m.firstUnhandled(true) }

func (m *monitor) firstUnhandled(behind bool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range sortedKeys(m.events) {
		for n, e := range m.events[partition] {
			n := int64(n)
			if m.plan.latest && n <= m.firstStored[partition].position {
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

// checkReaders checks for how long two processes read one partition. In their time others may be paused: that does not
// count.
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
				if d := to.Sub(from) - a.process.gate.pausedIn(from, to) - b.process.gate.pausedIn(from, to); d > bound {
					m.blaming("%s and %s read partition %s for %v at the same time", a.process.name, b.process.name, partition, d)
				} else if d > 0 {
					m.results["two readers"]++
				}
			}
		}
	}
}

// until is when a handler was told to return, or its process was gone.
func (r *handlerRun) until(now time.Time) time.Time {
	end := now
	if !r.told.IsZero() {
		end = r.told
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

// observer is a process's store, between the processor, or what is broken in it, and the real one. It checks each call.
type observer struct {
	checkpointstore.CheckpointStore
	*process

	mu     sync.Mutex
	listed map[string]string          // owners in the last good list
	own    map[string]map[string]bool // the ETags that records in the process's name had, by partition
	owns   map[string]time.Time       // since when a list or a win shows a partition as the process's own
	stolen map[string]time.Time       // when a link was stolen last
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
		o.monitor.mustBeTold(o.process, id, "a list showed it")
	}
	return list, nil
}

// saw notes a record in the process's name.
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

// checkClaim holds a claim against the promise, before it is sent.
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
			m.blaming("%s releases partition %s before its handler has returned", o.name, id)
		}
		return
	}
	renewal := o.own[id][plainETag(c)] || c.ETag == nil && o.own[id] != nil
	if stopped := o.stoppedAt(); !stopped.IsZero() && time.Now().After(stopped) && !renewal {
		m.blaming("%s claims partition %s after its stop began", o.name, id)
	}
	record := m.ownerships[id]
	age := time.Since(record.at)
	if record.owner == "" || record.owner == o.ownerID || record.etag != plainETag(c) || age > fleetExpiration-time.Second {
		return
	}
	// A record that has not expired is taken from an owner above its share only.
	owners, held := map[string]bool{o.ownerID: true}, 0
	for _, owner := range o.listed {
		owners[owner] = true
		if owner == record.owner {
			held++
		}
	}
	delete(owners, "")
	m.results["stolen"]++
	if share := m.plan.partitions / len(owners); held <= share {
		m.blaming("%s steals partition %s, renewed %v ago, from %s, which has %d, and its share is %d", o.name, id, age, record.owner, held, share)
	}
}

// linkStolen notes that another receiver took a link.
func (o *observer) linkStolen(partition string) {
	o.mu.Lock()
	o.stolen[partition] = time.Now()
	o.mu.Unlock()
	o.monitor.count("links stolen")
	o.monitor.mustBeTold(o.process, partition, "its link was stolen")
}

// opens checks that a partition whose link is opened is the process's own, as far as it can know.
func (o *observer) opens(partition string) {
	o.mu.Lock()
	since, owned := o.owns[partition]
	stolen := o.stolen[partition]
	o.mu.Unlock()
	switch {
	case o.gate.isGone():
	case !owned:
		o.monitor.blame("%s opens a link to partition %s, which it does not own", o.name, partition)
	case !stolen.IsZero() && !since.After(stolen):
		o.monitor.blame("%s opens a link to partition %s, which was stolen, before it knows that it still owns that", o.name, partition)
	}
}
