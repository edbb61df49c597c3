package proof

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// The promise. Processes, each of which is a processor.Run with its own store, read a hub together. Incidents happen to
// them, to the storage and to the hub: see [incidentKinds]. Whatever happens:
//
//   - Every event is handled by a process that lives, and after a rewind every event behind its position is handled again.
//     A handler receives events in their order, without a gap, from its start position on.
//   - The position in the storage never goes back within a generation, nor does the generation. A handler stores nothing in
//     a later generation than the one it was started from.
//   - A handler is told that its partition is lost as soon as a list shows it or its link is stolen. Two processes do not
//     read one partition for longer than an outage may last, and a round. A process opens links only to partitions that it
//     owns as far as it can know, and after a theft only when it has looked.
//   - A partition is released when its handler has returned. A process that stops claims nothing, and ends in the time that
//     it has. Run does not end by itself.
//   - A record that has not expired, by the time of the storage, is taken only from an owner that has more than its share.
//   - When all is well again, every partition is read by its owner within [fleetSettles], and each process has its share,
//     and keeps it. When all have stopped, nothing is owned, no link is open, and no goroutine is left.

// fleetSettles is how long the fleet has after the last incident: an outage may hide for fleetMaxOutage that an owner is
// dead, whose records then expire; a hub that has grown is looked at every six rounds.
const fleetSettles = fleetMaxOutage + fleetExpiration + 6*fleetRound

// fleetLooks is how long it takes until a rewind is seen of a partition without events, and all was handled again: six
// rounds to the next look, two to give the partition up and to claim it again.
const fleetLooks = 8*fleetRound + time.Minute

// fleetReaders is for how long two processes may read one partition: if one of them cannot see the storage, until it stops
// to read for that reason, in a round that takes as long as its requests may.
const fleetReaders = fleetMaxOutage + fleetRound + fleetExpiration/4 + 10*time.Second

var (
	fleetFlag  = flag.String("fleet", "", "the plan of the one history that TestOneFleet plays and prints")
	fleetsFlag = flag.Int("fleets", 2000, "how many histories TestFleets plays: a tenth of them with the race detector, 300 at most with -short")
	fleetSeed  = flag.Uint64("fleetseed", 0, "the seed before the first one that TestFleets plays")
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// fleetRun is a history that is being played.
type fleetRun struct {
	plan     fleetPlan
	monitor  *monitor
	service  *fakeblob.Service
	hub      *processortest.Hub
	operator *checkpointstore.BlobCheckpointStore // of somebody else, without faults

	slots      []*process // the latest in each place
	all        []*process
	partitions int
	hung       map[string]int // how often partitions, or the hub under "", hang
	denied     map[string]int
}

// newStore makes a store over a transport.
func (f *fleetRun) newStore(transport policy.Transporter, v variant) *checkpointstore.BlobCheckpointStore {
	w := onFake(f.service)
	w.pace = fleetPace
	o := w.options()
	o.DisableFencing = v == unfenced
	store, err := w.newStore(transport, o)
	if err != nil {
		panic(err)
	}
	return store
}

// fleetVerdict is what became of a history.
type fleetVerdict struct {
	plan    fleetPlan
	broken  []string
	story   []storyLine
	results map[string]int
}

// breaks tells whether the promise was broken in a way whose description contains a text.
func (v fleetVerdict) breaks(what string) bool {
	return slices.ContainsFunc(v.broken, func(b string) bool { return strings.Contains(b, what) })
}

func (v fleetVerdict) report() string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(v.broken, "\n"))
	b.WriteString("What happened:" + tellStory(v.story))
	fmt.Fprintf(&b, "Again: go test -run TestOneFleet -v -fleet '%v'\n", v.plan)
	return b.String()
}

// playFleet plays a history in a bubble of its own.
func playFleet(t *testing.T, p fleetPlan) (v fleetVerdict) {
	t.Helper()
	var m *monitor
	defer func() {
		if r := recover(); r != nil { // of synctest, if goroutines are left
			if m == nil || !strings.Contains(fmt.Sprint(r), "deadlock") {
				panic(r)
			}
			m.blame("goroutines are left: %s", leftIn(m.bubble))
			v = fleetVerdict{p, m.broken, m.story, m.results}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		m = newMonitor(p)
		m.bubble = bubble()
		f := &fleetRun{
			plan: p, monitor: m, service: fakeblob.New(), hub: processortest.NewHub(p.partitions), partitions: p.partitions,
			slots: make([]*process, p.owners), hung: make(map[string]int), denied: make(map[string]int),
		}
		f.service.SetRecording(false)
		f.operator = f.newStore(&tap{m, f.service, "operator"}, whole)
		f.play()
		v = fleetVerdict{p, m.broken, m.story, m.results}
	})
	return v
}

// bubble is the name of this goroutine's bubble in a dump of stacks.
func bubble() string {
	first, _, _ := strings.Cut(string(debug.Stack()), "\n")
	_, name, _ := strings.Cut(first, ", ")
	return strings.TrimSuffix(name, ":")
}

// leftIn is what the goroutines of a bubble are doing.
func leftIn(bubble string) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var left []string
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if first, _, _ := strings.Cut(stack, "\n"); strings.HasSuffix(first, bubble+":") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// fleetStep is something that happens at a time.
type fleetStep struct {
	at time.Duration
	do func()
}

func (f *fleetRun) play() {
	random := rand.New(rand.NewPCG(f.plan.seed, 12))
	var steps []fleetStep
	for i := range f.slots {
		at := time.Duration(0)
		if i > 0 && random.IntN(2) == 0 {
			at = time.Duration(random.Int64N(int64(time.Minute)))
		}
		steps = append(steps, fleetStep{at, func() { f.startIn(i, false) }})
	}
	end := 20 * time.Second
	for _, in := range f.plan.script() {
		end = max(end, in.at+in.lasts)
		steps = append(steps, f.stepsOf(in)...)
	}
	for at := time.Duration(0); at < end; at += time.Duration(random.Int64N(int64(6 * time.Second))) {
		draw, n := random.IntN(1<<16), 1+random.IntN(3)
		steps = append(steps, fleetStep{at, func() { f.send(strconv.Itoa(draw%f.partitions), n) }})
	}
	slices.SortStableFunc(steps, func(a, b fleetStep) int { return cmp.Compare(a.at, b.at) })
	for _, s := range steps {
		time.Sleep(s.at - time.Since(f.monitor.began))
		s.do()
	}
	time.Sleep(end - time.Since(f.monitor.began))
	f.settle()
	f.stopAll()
	f.monitor.checkWrites()
	f.monitor.checkReaders(fleetReaders)
}

func (f *fleetRun) send(partition string, n int) {
	for range n {
		f.monitor.sent(partition, 1)
		f.hub.Send(partition, "event")
	}
}

// startIn starts a process in a place, unless one is running there.
func (f *fleetRun) startIn(slot int, sameID bool) {
	before := f.slots[slot]
	if before != nil && before.isRunning() {
		return
	}
	name := string(rune('a' + slot))
	n := 1
	for _, p := range f.all {
		if strings.HasPrefix(p.name, name) {
			n++
		}
	}
	if n > 1 {
		name += strconv.Itoa(n)
	}
	ownerID := name
	if sameID && before != nil {
		select {
		case <-before.ended:
			ownerID = before.ownerID
		default: // it has not ended, so that its id is still in use
		}
	}
	p := f.newProcess(name, ownerID)
	f.slots[slot] = p
	f.all = append(f.all, p)
	f.monitor.tell(name, "starts as %s, its clock is %v ahead", ownerID, p.clock.Round(time.Second))
	p.start()
}

// stepsOf is the beginning and the end of an incident.
func (f *fleetRun) stepsOf(in incident) []fleetStep {
	var undo func()
	begin := func() {
		f.monitor.count(string(in.kind))
		slot := in.who % len(f.slots)
		undo = f.begin(in, slot, f.slots[slot], strconv.Itoa(in.partition%f.partitions))
	}
	return []fleetStep{{in.at, begin}, {in.at + in.lasts, func() {
		if undo != nil {
			undo()
		}
	}}}
}

// begin lets an incident happen. What it returns ends it.
func (f *fleetRun) begin(in incident, slot int, p *process, partition string) (undo func()) {
	tell := f.monitor.tell
	onProcess := func(what string, change func(by int)) func() {
		tell(p.name, "%s for %v", what, in.lasts.Round(time.Second))
		change(1)
		return func() {
			change(-1)
			tell(p.name, "%s no longer", what)
		}
	}
	if p == nil { // it has not started yet
		p = f.slots[0]
	}
	switch g := p.gate; in.kind {
	case stops:
		if p.isRunning() {
			tell(p.name, "is told to stop")
			p.stop()
		}
		return func() { f.startIn(slot, in.draw&1 == 0) }
	case crashes, vanishesSilently:
		if p.isRunning() {
			tell(p.name, string(in.kind))
			p.crash(in.kind == crashes)
		}
		return func() { f.startIn(slot, in.draw&1 == 0) }
	case pauses:
		return onProcess("is paused", func(by int) {
			if by > 0 {
				g.pause()
			} else {
				g.goOn()
			}
		})
	case losesStorage:
		return onProcess("cannot connect to the storage", func(by int) { g.refuse(&g.storage, by) })
	case waitsForStorage:
		return onProcess("gets no answer from the storage", func(by int) { g.hang(&g.storage, by) })
	case storageIsAway:
		tell("storage", "is away for %v", in.lasts.Round(time.Second))
		there := f.service.Inject(faults.Status(503, "ServerBusy"))
		return func() {
			there()
			tell("storage", "is back")
		}
	case losesEventHubs:
		return onProcess("cannot reach Event Hubs", func(by int) { g.refuse(&g.hub, by) })
	case waitsForEventHubs:
		return onProcess("gets no answer from Event Hubs", func(by int) { g.hang(&g.hub, by) })
	case handlersFail, handlersPanic, handlersExit, handlersReturn, handlersSlow, handlersDeaf:
		return onProcess(string(in.kind), func(by int) { p.setMood(in.kind, by > 0) })
	case eventHubsHangs:
		return f.count("hub", "hangs", f.hung, "", in, func(on bool) { f.hub.Hang(on) })
	case linkHangs:
		return f.count("hub", "sends nothing of partition "+partition, f.hung, partition, in, func(on bool) { f.hub.HangPartition(partition, on) })
	case linkDenied:
		return f.count("hub", "denies links to partition "+partition, f.denied, partition, in, func(on bool) {
			f.hub.Deny(partition, nil)
			if on {
				f.hub.Deny(partition, errors.New("denied"))
			}
		})
	case linkStolen:
		tell("somebody", "takes the link of partition %s", partition)
		f.hub.Steal(partition)
	case ownershipDeleted:
		tell("somebody", "deletes the ownership of partition %s", partition)
		f.service.Delete(fleetPrefix + "ownership/" + partition)
		f.monitor.mu.Lock()
		delete(f.monitor.ownerships, partition)
		f.monitor.mu.Unlock()
	case checkpointDeleted:
		if !f.plan.latest {
			tell("somebody", "deletes the checkpoint of partition %s", partition)
			synctest.Wait()
			f.service.Delete(fleetPrefix + "checkpoint/" + partition)
			f.monitor.checkpointGone(partition)
		}
	case rewound:
		f.rewind(partition, in.draw)
	case usurped:
		f.usurp(partition)
	case hubGrows:
		n := 1 + int(in.draw%2)
		tell("hub", "has %d more partitions", n)
		f.hub.Expand(n)
		f.partitions += n
	}
	return nil
}

// count begins an incident that others of its kind may overlap with.
func (f *fleetRun) count(who, what string, counts map[string]int, key string, in incident, set func(on bool)) (undo func()) {
	f.monitor.tell(who, "%s for %v", what, in.lasts.Round(time.Second))
	if counts[key]++; counts[key] == 1 {
		set(true)
	}
	return func() {
		if counts[key]--; counts[key] == 0 {
			set(false)
			f.monitor.tell(who, "%s no longer", what)
		}
	}
}

// The scope of the records of fleets.
const (
	fleetNamespace, fleetHub, fleetGroup = processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup

	fleetPrefix = fleetNamespace + "/" + fleetHub + "/$default/"
)

// rewind moves a partition to a position that it has passed.
func (f *fleetRun) rewind(partition string, draw uint64) {
	c, err := f.operator.GetCheckpoint(context.Background(), fleetNamespace, fleetHub, fleetGroup, partition, nil)
	if err != nil || *c.SequenceNumber < 0 {
		return // nothing is stored, or the storage is away
	}
	position := int64(draw % uint64(*c.SequenceNumber+1))
	behind := f.monitor.isBehind(partition, position)
	c.SequenceNumber, c.Offset = &position, to.Ptr(strconv.FormatInt(100*position, 10))
	at := time.Now()
	if err := f.operator.UpdateCheckpoint(context.Background(), c, &checkpointstore.UpdateCheckpointOptions{Rewind: true}); err != nil {
		f.monitor.tell("operator", "rewinds partition %s to %d: %v", partition, position, err)
		return
	}
	m := f.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	m.telling("operator", "rewinds partition %s to %d", partition, position)
	m.results["rewinds"]++
	m.rewinds[partition] = append(m.rewinds[partition], rewindDone{at, position, behind})
}

// usurp takes an ownership as another program does that comes and goes.
func (f *fleetRun) usurp(partition string) {
	claim := checkpointstore.Ownership{
		FullyQualifiedNamespace: fleetNamespace, EventHubName: fleetHub, ConsumerGroup: fleetGroup, PartitionID: partition, OwnerID: "usurper",
	}
	f.monitor.mu.Lock()
	if r, found := f.monitor.ownerships[partition]; found {
		claim.ETag = to.Ptr(azcore.ETag(strconv.Quote(r.etag)))
	}
	f.monitor.mu.Unlock()
	_, _ = f.operator.ClaimOwnership(context.Background(), []checkpointstore.Ownership{claim}, nil)
}

// settle ends all faults, and waits for the fleet to do its work.
func (f *fleetRun) settle() {
	for _, p := range f.all {
		p.faults.Heal()
		p.faults.Drain()
	}
	for i := range f.slots {
		f.startIn(i, false)
	}
	for _, p := range f.slots {
		p.faults.Heal()
	}
	f.monitor.tell("", "all is well from here on")
	f.await(fleetSettles, "after the last incident", f.unsettled)
	f.await(fleetLooks, "after the last incident, without new events", f.monitor.unseen)
	f.rewind(strconv.Itoa(int(f.plan.seed)%f.partitions), f.plan.seed)
	f.await(fleetLooks, "after a rewind, without new events", f.monitor.unseen)
	for range f.partitions {
		for id := range f.partitions {
			f.send(strconv.Itoa(id), 1)
		}
		time.Sleep(2 * time.Second)
	}
	f.await(2*time.Minute, "after new events", f.monitor.unhandled)
	f.await(3*fleetRound, "after all was handled", f.unsettled)
	for range 3 {
		time.Sleep(fleetRound)
		if why := f.unsettled(); why != "" {
			f.monitor.blame("the fleet did not stay settled: %s", why)
			return
		}
	}
}

// await waits until nothing is wrong any more.
func (f *fleetRun) await(d time.Duration, since string, wrong func() string) {
	deadline := time.Now().Add(d)
	for {
		why := wrong()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			f.monitor.blame("%v %s, %s", d, since, why)
			return
		}
		time.Sleep(fleetInterval / 2)
	}
}

// unsettled is what is wrong with the fleet, empty if nothing.
func (f *fleetRun) unsettled() string {
	synctest.Wait()
	readers := f.hub.Readers()
	held := make(map[string]int)
	for _, p := range f.slots {
		held[p.ownerID] = 0
	}
	f.monitor.mu.Lock()
	owners := maps.Clone(f.monitor.ownerships)
	f.monitor.mu.Unlock()
	for i := range f.partitions {
		id := strconv.Itoa(i)
		owner := owners[id].owner
		if _, lives := held[owner]; !lives {
			return fmt.Sprintf("partition %s is owned by %q", id, owner)
		}
		if readers[id] != owner {
			return fmt.Sprintf("partition %s is owned by %q, and read by %q", id, owner, readers[id])
		}
		held[owner]++
	}
	least, most := f.partitions, 0
	for _, n := range held {
		least, most = min(least, n), max(most, n)
	}
	if most-least > 1 {
		return fmt.Sprintf("the shares are %v", held)
	}
	for _, p := range f.slots {
		status := p.Status()
		reading := 0
		for _, s := range status.Partitions {
			if s.Reading {
				reading++
			}
		}
		if reading != held[p.ownerID] || len(status.Partitions) != reading || status.HungCalls > 0 {
			return fmt.Sprintf("%s has %d partitions, and its status is %+v", p.name, held[p.ownerID], status)
		}
	}
	return ""
}

// stopAll stops the fleet and checks what is left.
func (f *fleetRun) stopAll() {
	var all sync.WaitGroup
	stopped := time.Now()
	for _, p := range f.slots {
		f.monitor.tell(p.name, "is told to stop, at last")
		p.stop()
		all.Go(func() { <-p.ended })
	}
	all.Wait()
	if took := time.Since(stopped); took > 5*time.Second {
		f.monitor.blame("the stop at last took %v", took)
	}
	for _, p := range f.all {
		<-p.ended
		p.faults.Drain()
	}
	time.Sleep(time.Second) // for calls of Event Hubs, which do not look at their contexts
	synctest.Wait()
	f.monitor.mu.Lock()
	for _, partition := range sortedKeys(f.monitor.ownerships) {
		if owner := f.monitor.ownerships[partition].owner; owner != "" {
			f.monitor.blaming("partition %s is still owned by %s after the stop", partition, owner)
		}
	}
	f.monitor.mu.Unlock()
	if readers := f.hub.Readers(); len(readers) > 0 {
		f.monitor.blame("links are open after the stop: %v", readers)
	}
}

// brokenFleet is the report of the smallest history that is found from a plan that fails.
func brokenFleet(t *testing.T, p fleetPlan, what string) fleetVerdict {
	t.Helper()
	fails := func(p fleetPlan) bool {
		return playFleet(t, p).breaks(what)
	}
	small := shrinkFleet(p, fails)
	v := playFleet(t, small)
	for i := 0; i < 20 && !v.breaks(what); i++ {
		v = playFleet(t, small) // what happens in the same instant may happen in another order
	}
	return v
}

// drawFleet is the plan under a seed.
func drawFleet(seed uint64) fleetPlan {
	random := rand.New(rand.NewPCG(seed, 13))
	p := fleetPlan{seed: seed, owners: 1 + random.IntN(5), partitions: 1 + random.IntN(8), incidents: 4 + random.IntN(21), latest: random.IntN(4) == 0}
	for range random.IntN(4) {
		p.faults |= 1 << random.IntN(len(kinds()))
	}
	return p
}

func TestOneFleet(t *testing.T) {
	if *fleetFlag == "" {
		t.Skip("plays the history that -fleet names: left out without one")
	}
	p, err := parseFleetPlan(*fleetFlag)
	require.NoError(t, err)
	v := playFleet(t, p)
	t.Log(v.report())
	require.Empty(t, v.broken)
}

func TestFleets(t *testing.T) {
	n := int64(fewer(uint64(*fleetsFlag)))
	if testing.Short() {
		n = min(n, 300)
	}
	var next atomic.Int64
	var mu sync.Mutex
	results := make(map[string]int)
	t.Run("histories", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					i := next.Add(1)
					if i > n {
						return
					}
					p := drawFleet(*fleetSeed + uint64(i))
					v := playFleet(t, p)
					mu.Lock()
					for what, n := range v.results {
						results[what] += n
					}
					mu.Unlock()
					if len(v.broken) > 0 {
						next.Store(n)
						first := strings.Join(v.broken, "\n")
						t.Errorf("%v\n%s\nAs small as it gets:\n%s", p, first, brokenFleet(t, p, "").report())
					}
				}
			})
		}
	})
	for _, what := range sortedKeys(results) {
		t.Logf("%8d %s", results[what], what)
	}
	if n < 200 {
		return // too few for each kind of incident
	}
	for _, kind := range incidentKinds() {
		require.NotZero(t, results[string(kind)], kind)
	}
}

// findDefect plays histories of processes that are broken on purpose until one breaks the promise as it must, and shrinks
// that.
func findDefect(t *testing.T, d defect, what string) {
	t.Helper()
	for seed := uint64(1); seed <= 200; seed++ {
		p := drawFleet(seed)
		p.defect = d
		if !playFleet(t, p).breaks(what) {
			continue
		}
		v := brokenFleet(t, p, what)
		t.Logf("found in history %d, here as small as it gets.\n%s", seed, v.report())
		require.True(t, v.breaks(what))
		sound := v.plan
		sound.defect = ""
		require.Empty(t, playFleet(t, sound).broken, "the same history without the defect")
		return
	}
	t.Fatal("none of 200 histories shows it")
}

func TestTheCheckFindsBrokenProcesses(t *testing.T) {
	for _, c := range []struct {
		defect
		breaks string
	}{
		{releasesEarly, "before its handler has returned"},
		{ownClock, "steals partition"},
		{claimsStopping, "after its stop began"},
		{hidesLoss, "was not told that its partition is lost"},
		{hidesLoss, "at the same time"},
		{skipsEvents, "never handled"},
		{overlooks, `is owned by ""`},
		{keepsReleased, "is still owned by"},
		{stealsLinksBack, "before it knows that it still owns that"},
		{releasesLate, "to stop"},
		{leaksGoroutines, "goroutines are left"},
		{storeUnfenced, "went back"},
		{storeForgetful, "went back"},
		{storeRelabels, "was not handled again after the rewind"},
	} {
		t.Run(string(c.defect)+" "+c.breaks, func(t *testing.T) { findDefect(t, c.defect, c.breaks) })
	}
}

func TestAFleetPlanIsReadAsItIsWritten(t *testing.T) {
	for seed := range uint64(100) {
		p := drawFleet(seed)
		p.drop, p.defect = seed, ownClock
		again, err := parseFleetPlan(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
	_, err := parseFleetPlan("seed=1,boats=2")
	require.Error(t, err)
}
