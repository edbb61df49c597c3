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

// The promise. Several processes, each a processor.Run with its own store, read one event hub. Incidents happen to them, to
// the storage and to the hub: see [incidentKinds]. Whatever happens:
//
//   - A running process handles every event and, after a rewind, every event behind its position again. A handler receives
//     events in order, without a gap, from its start position.
//   - Neither the stored generation nor, within a generation, the stored position ever goes back. A handler stores nothing in
//     a later generation than the one it started from.
//   - A handler is told that its partition is lost as soon as a list shows it or its link is stolen. Two processes do not
//     read one partition for longer than MaxOutage and a round. A process opens links only to partitions that it owns as far
//     as it can know; after a theft, it first lists or claims again.
//   - A partition is relinquished after its handler has returned. A process that stops claims nothing and ends in time. Run
//     does not end without a reason.
//   - An ownership that has not expired, by the clock of the storage, is only taken from an owner above its share.
//   - After the last incident, every partition is read by its owner within [fleetSettles], and each process has its share
//     and keeps it. When all have stopped, nothing is owned, no link is open, and no goroutine is left.

// fleetSettles is how long the fleet has after the last incident: MaxOutage, in which an outage may hide a dead owner, the
// expiration of that owner's records, and six rounds, after which a hub is read for new partitions.
const fleetSettles = fleetMaxOutage + fleetExpiration + 6*fleetRound

// fleetLooks is how long the rewind of a partition without new events takes: six rounds until the checkpoints are listed, two
// to relinquish and claim the partition, and the time to handle the events again.
const fleetLooks = 8*fleetRound + time.Minute

// fleetReaders is how long two processes may read one partition. One of them may be cut off from the storage: it stops after
// MaxOutage, in a round that takes as long as its requests may.
const fleetReaders = fleetMaxOutage + fleetRound + fleetExpiration/4 + 10*time.Second

var (
	fleetFlag  = flag.String("fleet", "", "the plan of the one history that TestOneFleet plays and prints")
	fleetsFlag = flag.Int("fleets", 2000, "how many histories TestFleets plays: a tenth of them with the race detector, at most 300 with -short")
	fleetSeed  = flag.Uint64("fleetseed", 0, "TestFleets plays the seeds after this one")
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// fleetRun plays a history.
type fleetRun struct {
	plan     fleetPlan
	monitor  *monitor
	service  *fakeblob.Service
	hub      *processortest.Hub
	operator *checkpointstore.BlobCheckpointStore // of an operator, without faults

	slots      []*process // the latest of each slot
	all        []*process
	partitions int
	hung       map[string]int // how many incidents hang a partition, or the hub under ""
	denied     map[string]int
}

// newStore makes a store over a transport.
func (f *fleetRun) newStore(transport policy.Transporter, v variant) *checkpointstore.BlobCheckpointStore {
	b := onFake(f.service)
	b.pace = fleetPace
	o := b.options()
	o.DisableFencing = v == unfenced
	store, err := b.newStore(transport, o)
	if err != nil {
		panic(err)
	}
	return store
}

// fleetVerdict is the outcome of a history.
type fleetVerdict struct {
	plan    fleetPlan
	broken  []string
	log     []logLine
	results map[string]int
}

// breaks reports whether one of the violations contains a text.
func (v fleetVerdict) breaks(what string) bool {
	return slices.ContainsFunc(v.broken, func(b string) bool { return strings.Contains(b, what) })
}

func (v fleetVerdict) report() string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(v.broken, "\n"))
	b.WriteString("What happened:\n")
	for _, l := range v.log {
		b.WriteString(l.String())
	}
	fmt.Fprintf(&b, "Again: go test -run TestOneFleet -v -fleet '%s'\n", replayable(v.plan))
	return b.String()
}

// playFleet plays a history in a bubble of its own.
func playFleet(t *testing.T, p fleetPlan) (v fleetVerdict) {
	t.Helper()
	var m *monitor
	defer func() {
		if r := recover(); r != nil { // synctest panics if goroutines are left
			if m == nil || !strings.Contains(fmt.Sprint(r), "deadlock") {
				panic(r)
			}
			m.fail("goroutines are left: %s", leftIn(m.bubble))
			v = fleetVerdict{p, m.broken, m.lines, m.results}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		m = newMonitor(p)
		m.bubble = bubble()
		f := &fleetRun{
			plan: p, monitor: m, service: fakeblob.New(), hub: processortest.NewHub(p.Partitions), partitions: p.Partitions,
			slots: make([]*process, p.Owners), hung: make(map[string]int), denied: make(map[string]int),
		}
		f.service.SetRecording(false)
		f.operator = f.newStore(m.observe(f.service, "operator"), "")
		f.play()
		v = fleetVerdict{p, m.broken, m.lines, m.results}
	})
	return v
}

// bubble returns the name of this goroutine's bubble in a stack trace.
func bubble() string {
	first, _, _ := strings.Cut(string(debug.Stack()), "\n")
	_, name, _ := strings.Cut(first, ", ")
	return strings.TrimSuffix(name, ":")
}

// leftIn returns the stack traces of the goroutines in a bubble.
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

// fleetStep is an action at a time.
type fleetStep struct {
	at time.Duration
	do func()
}

func (f *fleetRun) play() {
	random := rand.New(rand.NewPCG(f.plan.Seed, 12))
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

// startIn starts a process in a slot, unless one is running there.
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
		default: // it has not ended, so its ID is still in use
		}
	}
	p := f.newProcess(name, ownerID)
	f.slots[slot] = p
	f.all = append(f.all, p)
	f.monitor.log(name, "starts as %s, its clock is %v ahead", ownerID, p.clock.Round(time.Second))
	p.start()
}

// stepsOf returns the start and the end of an incident.
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

// begin starts an incident and returns a function that ends it.
func (f *fleetRun) begin(in incident, slot int, p *process, partition string) (undo func()) {
	log := f.monitor.log
	onProcess := func(what string, change func(by int)) func() {
		log(p.name, "%s for %v", what, in.lasts.Round(time.Second))
		change(1)
		return func() {
			change(-1)
			log(p.name, "%s no longer", what)
		}
	}
	if p == nil { // it has not started yet
		p = f.slots[0]
	}
	switch g := p.gate; in.kind {
	case stops:
		if p.isRunning() {
			log(p.name, "is told to stop")
			p.stop()
		}
		return func() { f.startIn(slot, in.draw&1 == 0) }
	case crashes, vanishesSilently:
		if p.isRunning() {
			log(p.name, string(in.kind))
			p.crash(in.kind == crashes)
		}
		return func() { f.startIn(slot, in.draw&1 == 0) }
	case pauses:
		return onProcess("is paused", g.paused.change)
	case losesStorage:
		return onProcess("cannot connect to the storage", g.storage.refused.change)
	case waitsForStorage:
		return onProcess("gets no answer from the storage", g.storage.hanging.change)
	case storageIsAway:
		log("storage", "is away for %v", in.lasts.Round(time.Second))
		there := f.service.Inject(faults.Status(503, "ServerBusy"))
		return func() {
			there()
			log("storage", "is back")
		}
	case losesEventHubs:
		return onProcess("cannot reach Event Hubs", g.hub.refused.change)
	case waitsForEventHubs:
		return onProcess("gets no answer from Event Hubs", g.hub.hanging.change)
	case handlersFail, handlersPanic, handlersExit, handlersReturn, handlersSlow, handlersDeaf:
		return onProcess(string(in.kind), func(by int) { p.setBehavior(in.kind, by > 0) })
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
		log("somebody", "takes the link of partition %s", partition)
		f.hub.Steal(partition)
	case ownershipDeleted:
		log("somebody", "deletes the ownership of partition %s", partition)
		f.service.Delete(fleetPrefix + "ownership/" + partition)
		f.monitor.mu.Lock()
		delete(f.monitor.ownerships, partition)
		f.monitor.mu.Unlock()
	case checkpointDeleted:
		if !f.plan.Latest {
			log("somebody", "deletes the checkpoint of partition %s", partition)
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
		log("hub", "has %d more partitions", n)
		f.hub.Expand(n)
		f.partitions += n
	}
	return nil
}

// count starts an incident that may overlap with others of its kind.
func (f *fleetRun) count(who, what string, counts map[string]int, key string, in incident, set func(on bool)) (undo func()) {
	f.monitor.log(who, "%s for %v", what, in.lasts.Round(time.Second))
	if counts[key]++; counts[key] == 1 {
		set(true)
	}
	return func() {
		if counts[key]--; counts[key] == 0 {
			set(false)
			f.monitor.log(who, "%s no longer", what)
		}
	}
}

// The scope of the records of fleets.
const (
	fleetNamespace, fleetHub, fleetGroup = processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup

	fleetPrefix = fleetNamespace + "/" + fleetHub + "/$default/"
)

// rewind moves a partition to an earlier position, as an operator does.
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
		f.monitor.log("operator", "rewinds partition %s to %d: %v", partition, position, err)
		return
	}
	m := f.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logLocked("operator", "rewinds partition %s to %d", partition, position)
	m.results["rewinds"]++
	m.rewinds[partition] = append(m.rewinds[partition], rewindDone{at, position, behind})
}

// usurp claims an ownership, as another program does that then ends.
func (f *fleetRun) usurp(partition string) {
	claim := checkpointstore.Ownership{
		FullyQualifiedNamespace: fleetNamespace, EventHubName: fleetHub, ConsumerGroup: fleetGroup, PartitionID: partition, OwnerID: "usurper",
	}
	f.monitor.mu.Lock()
	if r, found := f.monitor.ownerships[partition]; found {
		claim.ETag = to.Ptr(azcore.ETag(fmt.Sprintf(`"0x%X"`, r.etag)))
	}
	f.monitor.mu.Unlock()
	_, _ = f.operator.ClaimOwnership(context.Background(), []checkpointstore.Ownership{claim}, nil)
}

// settle ends all faults and waits until the fleet has done its work.
func (f *fleetRun) settle() {
	for i := range f.slots {
		f.startIn(i, false)
	}
	for _, p := range f.all {
		p.faults.Heal()
	}
	f.monitor.log("", "all incidents have ended")
	const calls = 31 * fleetPace // the calls that met faults have ended by then
	time.Sleep(calls)
	for _, p := range f.all {
		p.faults.Drain()
	}
	f.await(fleetSettles-calls, "after the last incident", f.unsettled)
	f.await(fleetLooks, "after the last incident, without new events", f.monitor.unseen)
	f.rewind(strconv.Itoa(int(f.plan.Seed)%f.partitions), f.plan.Seed)
	f.await(fleetLooks, "after a rewind, without new events", f.monitor.unseen)
	f.monitor.storesAll.Store(true)
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
			f.monitor.fail("the fleet did not stay settled: %s", why)
			return
		}
	}
}

// await waits until nothing is wrong.
func (f *fleetRun) await(d time.Duration, since string, wrong func() string) {
	deadline := time.Now().Add(d)
	for {
		why := wrong()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			f.monitor.fail("%v %s, %s", d, since, why)
			return
		}
		time.Sleep(fleetInterval / 2)
	}
}

// unsettled returns what is wrong with the fleet, or nothing.
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

// stopAll stops the fleet and checks what remains.
func (f *fleetRun) stopAll() {
	var all sync.WaitGroup
	stopped := time.Now()
	for _, p := range f.slots {
		f.monitor.log(p.name, "is told to stop, at the end")
		p.stop()
		all.Go(func() { <-p.ended })
	}
	all.Wait()
	if took := time.Since(stopped); took > 5*time.Second {
		f.monitor.fail("the stop at the end took %v", took)
	}
	for _, p := range f.all {
		<-p.ended
		p.faults.Drain()
	}
	time.Sleep(time.Second) // for calls of Event Hubs that ignore their context
	synctest.Wait()
	f.monitor.mu.Lock()
	for _, partition := range sortedKeys(f.monitor.ownerships) {
		if owner := f.monitor.ownerships[partition].owner; owner != "" {
			f.monitor.failLocked("partition %s is still owned by %s after the stop", partition, owner)
		}
	}
	f.monitor.mu.Unlock()
	if readers := f.hub.Readers(); len(readers) > 0 {
		f.monitor.fail("links are open after the stop: %v", readers)
	}
}

// brokenFleet returns the verdict on the smallest history that shrinking a broken one finds.
func brokenFleet(t *testing.T, v fleetVerdict, what string) fleetVerdict {
	t.Helper()
	return shrink(v.plan, v, 300, fleetPlan.smaller, func(p fleetPlan) (fleetVerdict, bool) {
		v := playFleet(t, p)
		return v, v.breaks(what)
	})
}

// drawFleet returns the plan of a seed.
func drawFleet(seed uint64) fleetPlan {
	random := rand.New(rand.NewPCG(seed, 13))
	p := fleetPlan{Seed: seed, Owners: 1 + random.IntN(5), Partitions: 1 + random.IntN(8), Incidents: 4 + random.IntN(21), Latest: random.IntN(4) == 0}
	for range random.IntN(4) {
		p.Faults |= 1 << random.IntN(len(faultKinds()))
	}
	return p
}

func TestOneFleet(t *testing.T) {
	v := playFleet(t, replayed[fleetPlan](t, "fleet", *fleetFlag))
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
					addCounts(results, v.results)
					mu.Unlock()
					if len(v.broken) > 0 {
						next.Store(n)
						first := strings.Join(v.broken, "\n")
						t.Errorf("%s\n%s\nShrunk:\n%s", replayable(p), first, brokenFleet(t, v, "").report())
					}
				}
			})
		}
	})
	for _, what := range sortedKeys(results) {
		t.Logf("%8d %s", results[what], what)
	}
	if n < 200 {
		return // too few histories to meet each kind of incident
	}
	for _, kind := range incidentKinds() {
		require.NotZero(t, results[string(kind)], kind)
	}
}

// findDefect plays histories of processes that are broken on purpose until one breaks the promise in the expected way, and
// shrinks that one.
func findDefect(t *testing.T, d defect, what string) {
	t.Helper()
	for seed := uint64(1); seed <= 200; seed++ {
		p := drawFleet(seed)
		p.Defect = d
		v := playFleet(t, p)
		if !v.breaks(what) {
			continue
		}
		v = brokenFleet(t, v, what)
		t.Logf("found in history %d, shrunk:\n%s", seed, v.report())
		sound := v.plan
		sound.Defect = ""
		require.Empty(t, playFleet(t, sound).broken, "the same history without the defect")
		return
	}
	t.Fatal("none of 200 histories shows it")
}

func TestTheCheckFindsBrokenProcesses(t *testing.T) {
	skipUnderRace(t)
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
