package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/ops"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/opshub"
	"github.com/ea947076/checkpointstore/progress"
)

// resetTarget is where a reset goes, and after which event a partition is then to be
// read, of which stored is the position before the reset and last the last event.
type resetTarget struct {
	name string
	to   func(w *world) ops.Target
	want func(w *world, id string, stored, last int64) int64
}

const resetBack = 7 // events, by the target that shifts

var resetTargets = []resetTarget{
	{
		"earliest",
		func(*world) ops.Target { return ops.ToEarliest() },
		func(w *world, id string, _, _ int64) int64 { return w.hub.before[id] },
	}, {
		"sequence number",
		func(*world) ops.Target { return ops.ToSequenceNumber(1005) },
		func(*world, string, int64, int64) int64 { return 1004 },
	}, {
		"time",
		func(w *world) ops.Target { return ops.ToTime(w.enqueued("0", 1012)) },
		func(w *world, id string, _, _ int64) int64 {
			n := w.hub.before[id] + 1
			for w.enqueued(id, n).Before(w.enqueued("0", 1012)) {
				n++
			}
			return n - 1
		},
	}, {
		"shift back",
		func(*world) ops.Target { return ops.ShiftBy(-resetBack) },
		func(_ *world, _ string, stored, _ int64) int64 { return stored - resetBack },
	}, {
		"latest",
		func(*world) ops.Target { return ops.ToLatest() },
		func(_ *world, _ string, _, last int64) int64 { return last },
	},
}

func (w *world) enqueued(partition string, sequence int64) time.Time {
	w.t.Helper()
	at, err := w.onEmulator().EnqueuedTime(partition, sequence)
	require.NoError(w.t, err)
	return at
}

// operator is who resets a consumer group, with a store of its own and a client in
// another consumer group. transport may be nil.
type operator struct {
	*world
	store *checkpointstore.BlobCheckpointStore
	hub   ops.EventHub
}

func (w *world) operator(naming checkpointstore.BlobNaming, transport policy.Transporter) operator {
	w.t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(w.hub.connection, "", "operators", nil)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = client.Close(context.Background()) })
	return operator{w, w.store(naming, transport), opshub.New(client)}
}

// store is one that waits for what is held back.
func (w *world) store(naming checkpointstore.BlobNaming, transport policy.Transporter) *checkpointstore.BlobCheckpointStore {
	w.t.Helper()
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(w.storage, w.container, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}},
		BlobNaming:    naming,
		Timeout:       patience,
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = store.Close() })
	return store
}

func (w *world) scope() ops.Scope {
	return ops.Scope{FullyQualifiedNamespace: w.namespace, EventHubName: w.hubName, ConsumerGroup: consumerGroup}
}

func (o operator) plan(target ops.Target, expiration time.Duration) *ops.Plan {
	o.t.Helper()
	plan, err := ops.PlanReset(o.t.Context(), o.store, o.hub, o.scope(), target, &ops.ResetOptions{Expiration: expiration})
	require.NoError(o.t, err)
	require.Len(o.t, plan.Changes, len(o.world.hub.partitions), "skipped: %v", plan.Skipped)
	return plan
}

// reset plans and applies a reset. An owner that renews its partition in between
// makes a plan outdated: then it does so again, however often, because a machine that is
// slow has less time between two renewals.
func (o operator) reset(target resetTarget, expiration time.Duration, options *ops.ApplyOptions) *ops.Plan {
	o.t.Helper()
	for start := time.Now(); time.Since(start) < patience; {
		first := o.lasts()
		plan := o.plan(target.to(o.world), expiration)
		result, err := ops.Apply(o.t.Context(), o.store, plan, options)
		if errors.Is(err, ops.ErrOutdated) {
			continue
		}
		require.NoError(o.t, err)
		last := o.lasts()
		for i, c := range plan.Changes {
			id := c.PartitionID
			require.True(o.t, result.Changes[i].Done)
			stored := c.Before.Position().SequenceNumber
			require.GreaterOrEqual(o.t, c.After.SequenceNumber, target.want(o.world, id, stored, first[id]), "partition %s", id)
			require.LessOrEqual(o.t, c.After.SequenceNumber, target.want(o.world, id, stored, last[id]), "partition %s", id)
			require.NotEmpty(o.t, c.After.Offset)
		}
		return plan
	}
	require.FailNow(o.t, "every plan was outdated")
	return nil
}

// lasts are the last events of the partitions.
func (w *world) lasts() map[string]int64 {
	last := make(map[string]int64)
	for _, id := range w.hub.partitions {
		last[id] = w.hub.last(id)
	}
	return last
}

// generations are those of the stored checkpoints.
func (o operator) generations() map[string]int64 {
	o.t.Helper()
	s, err := ops.Read(context.Background(), o.store, o.scope(), nil)
	require.NoError(o.t, err)
	generations := make(map[string]int64)
	for _, p := range s.Partitions {
		generations[p.ID] = p.Checkpoint.Generation
	}
	return generations
}

// reading is one call of a handler.
type reading struct {
	owner, partition string
	start            *string // the offset that Run began after
	events           []int64
	ended            bool

	round int64            // of its owner, in which the partition was claimed
	told  int64            // of its owner, in which its context ended
	left  map[string]int64 // of all owners, in which its tenure had ended

	passed bool // another call for the partition had events when this one was last looked at
}

func (r reading) hasEvents() bool { return len(r.events) > 0 }

// readings are all calls of handlers, by partition, in the order in which they began.
type readings struct {
	mu    sync.Mutex
	of    map[string][]*reading
	began map[string]int // how many there were before the reset, by partition
	wrong []string

	// rounds are how many rounds each owner has begun, and claims the round of the
	// first claim since the last call ended, by partition and owner. A list after a
	// claim may be of the same round, and is not counted.
	rounds  map[string]int64
	claimed map[string]bool
	claims  map[string]int64

	// Checkpoints are held back while holding is set, until let is closed. held are the
	// partitions of which one was, and late what became of it.
	holding bool
	held    map[string]bool
	let     chan struct{}
	late    map[string][]error
}

func newReadings() *readings {
	return &readings{
		of:     make(map[string][]*reading),
		rounds: make(map[string]int64), claimed: make(map[string]bool), claims: make(map[string]int64),
		held: make(map[string]bool), let: make(chan struct{}), late: make(map[string][]error),
	}
}

// network is that of an owner, whose rounds and claims are noted. If wire is set, its
// checkpoints are held back on their way.
func (l *readings) network(c config, wire bool) *network {
	f := newNetwork()
	f.seen = func(req *http.Request) {
		if wire && writeCheckpoint(req) {
			l.hold(path.Base(req.URL.Path))
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case writeOwnership(req):
			l.claimed[c.Name] = true
		case listOwnerships(req):
			if !l.claimed[c.Name] {
				l.rounds[c.Name]++
			}
			l.claimed[c.Name] = false
		}
	}
	f.won = func(partition, _ string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, noted := l.claims[partition+c.Name]; !noted {
			l.claims[partition+c.Name] = l.rounds[c.Name]
		}
	}
	return f
}

// tenureEnded is a hook of an owner.
func (l *readings) tenureEnded(owner, partition string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.of[partition] {
		if r.owner == owner && r.left == nil {
			r.left = maps.Clone(l.rounds)
		}
	}
}

func (l *readings) roundsNow() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.rounds)
}

func (l *readings) begin(ctx context.Context, c config, p partition) *reading {
	r := &reading{owner: c.Name, partition: p.PartitionID()}
	if p, ok := p.(*processor.Partition); ok {
		r.start = p.StartPosition().Offset
	}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		r.told = l.rounds[c.Name]
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	var noted bool
	if r.round, noted = l.claims[r.partition+r.owner]; !noted {
		r.round = l.rounds[r.owner] // it is called again
	}
	for _, before := range l.of[r.partition] {
		if !before.ended && before.owner == r.owner {
			l.wrong = append(l.wrong, fmt.Sprintf("%s reads partition %s twice at once", r.owner, r.partition))
		}
	}
	l.of[r.partition] = append(l.of[r.partition], r)
	return r
}

func (l *readings) end(r *reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.ended = true
	delete(l.claims, r.partition+r.owner)
}

// handled notes events. A call from before the reset may have events that it received
// before, but goes on no further when the next one has begun.
func (l *readings) handled(r *reading, book recorder, events []*azeventhubs.ReceivedEventData) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(events) == 0 {
		return
	}
	if r.passed {
		l.wrong = append(l.wrong, fmt.Sprintf("%s goes on with partition %s at %d while another one reads it", r.owner, r.partition, events[0].SequenceNumber))
	}
	all := l.of[r.partition]
	if i := slices.Index(all, r); i < l.began[r.partition] {
		for _, next := range all[i+1:] {
			r.passed = r.passed || len(next.events) > 0
		}
	}
	for _, e := range events {
		if n := len(r.events); n > 0 && r.events[n-1]+1 != e.SequenceNumber {
			l.wrong = append(l.wrong, fmt.Sprintf("%s has %d after %d in partition %s", r.owner, e.SequenceNumber, r.events[n-1], r.partition))
		}
		r.events = append(r.events, e.SequenceNumber)
		book.handled(r.owner, r.partition, e.SequenceNumber)
	}
}

// hold waits, while checkpoints are held back, and returns whether this one was.
func (l *readings) hold(partition string) bool {
	l.mu.Lock()
	holding, let := l.holding, l.let
	if holding {
		l.held[partition] = true
	}
	l.mu.Unlock()
	if holding {
		<-let
	}
	return holding
}

// checkpointed notes what became of a checkpoint of a call that began before the
// reset, if it was held back.
func (l *readings) checkpointed(r *reading, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.holding && l.held[r.partition] && slices.Index(l.of[r.partition], r) < l.began[r.partition] {
		l.late[r.partition] = append(l.late[r.partition], err)
	}
}

// holdBack holds checkpoints back until release is called.
func (l *readings) holdBack() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = true
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.holding = false
		close(l.let)
	})
}

// one handles events one after the other. Its checkpoints are late: the handler
// makes them after what they wait for.
func (l *readings) one(ctx context.Context, c config, p partition, book recorder) error {
	r := l.begin(ctx, c, p)
	defer l.end(r)
	for {
		receiving, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		events, err := p.ReceiveEvents(receiving, 100, nil)
		cancel()
		l.handled(r, book, events)
		if len(events) > 0 {
			last := events[len(events)-1]
			l.hold(r.partition)
			err := p.UpdateCheckpoint(context.WithoutCancel(ctx), last, nil)
			l.checkpointed(r, err)
			if err != nil {
				return err
			}
			book.checkpointed(c.Name, r.partition, last.SequenceNumber)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
}

// batches handles events in batches, with coalesced checkpoints.
func (l *readings) batches(ctx context.Context, c config, p partition, book recorder) error {
	r := l.begin(ctx, c, p)
	defer l.end(r)
	handle := func(_ context.Context, b *processor.Batch) error {
		l.handled(r, book, b.Events)
		return nil
	}
	return processor.Batches(handle, &processor.BatchOptions{
		MaxWait: -1,
		Checkpoints: progress.CheckpointerOptions{
			Interval: 100 * time.Millisecond,
			OnWrite:  func(w progress.Write) { l.checkpointed(r, w.Err) },
		},
	})(ctx, p.(*processor.Partition))
}

// count is how many calls there were for each partition.
func (l *readings) count() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int)
	for id, all := range l.of {
		n[id] = len(all)
	}
	return n
}

// after are the calls for a partition that began after the first n of them, from
// the first one that began after that position.
func (l *readings) after(partition string, n int, at *ops.Position) []reading {
	all := l.calls(partition, n)
	i := slices.IndexFunc(all, func(r reading) bool { return r.start != nil && *r.start == at.Offset })
	if i < 0 {
		return nil
	}
	return all[i:]
}

// calls are the calls for a partition after the first n of them.
func (l *readings) calls(partition string, n int) []reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []reading
	for _, r := range l.of[partition][n:] {
		found := *r
		found.events = slices.Clone(r.events)
		all = append(all, found)
	}
	return all
}

// covers reports whether calls had all events from one to another.
func covers(all []reading, from, to int64) bool {
	had := make(map[int64]bool)
	for _, r := range all {
		for _, n := range r.events {
			had[n] = true
		}
	}
	for n := from; n <= to; n++ {
		if !had[n] {
			return false
		}
	}
	return true
}

// testResetWhileRead: a reset with release, while two owners under Run read, moves
// them to the new position within two rounds. Checkpoints that were on their way do
// not undo it.
func testResetWhileRead(t *testing.T, _ *report) {
	for _, busy := range []bool{false, true} {
		for _, target := range resetTargets {
			t.Run(target.name+map[bool]string{false: ", idle", true: ", busy"}[busy], func(t *testing.T) {
				parallel(t)
				resetWhileRead(t, target, busy)
			})
		}
	}
}

// resetGroup is a group of two owners under Run that have read everything: one in
// batches, one with a handler that checkpoints itself.
func resetGroup(t *testing.T, expiry time.Duration) (*world, *readings, [2]*owner) {
	w := newWorld(t, 4, 20)
	w.onEmulator()
	l := newReadings()
	var owners [2]*owner
	for i, handler := range []func(context.Context, config, partition, recorder) error{l.batches, l.one} {
		c := w.config(i)
		c.Interval, c.Expiry, c.Handler = time.Second, expiry, handler
		c.Tune = func(o *processor.Options) {
			o.Hooks = &processor.Hooks{TenureEnd: func(e processor.TenureEndInfo) { l.tenureEnded(c.Name, e.PartitionID) }}
		}
		f := l.network(c, i == 0)
		c.Store = w.store(checkpointstore.BlobNamingLowerCase, f)
		owners[i] = w.start(c, f)
	}
	w.settled(owners[0].Name, owners[1].Name)
	w.complete()
	return w, l, owners
}

func resetWhileRead(t *testing.T, target resetTarget, busy bool) {
	w, l, owners := resetGroup(t, unhurried)
	operator := w.operator(checkpointstore.BlobNamingLowerCase, nil)
	release := l.holdBack()
	defer release()
	if busy {
		w.hub.rate(20)
	} else {
		w.hub.appendAll(3)
	}
	eventually(t, "a checkpoint of each partition on its way", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.held) == len(w.hub.partitions)
	})
	w.resetTo(operator, l, owners, target, func() {
		for _, o := range owners { // as if for another partition that they claim
			_, err := o.Store.ListCheckpoints(t.Context(), w.namespace, w.hubName, consumerGroup, nil)
			require.NoError(t, err)
		}
		release()
		if target.name == "latest" && !busy {
			w.hub.appendAll(2) // for there to be something to read
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range w.hub.partitions {
		require.NotEmpty(t, l.late[id], "partition %s", id)
		for _, err := range l.late[id] {
			require.ErrorIs(t, err, checkpointstore.ErrRewound, "partition %s", id)
		}
	}
}

// testSlowReset: owners do not start to read partitions that a slow reset holds. If it
// takes longer than what it claimed lasts they do, and then start again.
func testSlowReset(t *testing.T, _ *report) {
	for name, expiry := range map[string]time.Duration{"held": unhurried, "expired": lasting} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			slowReset(t, expiry)
		})
	}
}

func slowReset(t *testing.T, expiry time.Duration) {
	w, l, owners := resetGroup(t, expiry)
	began := l.count()
	held := expiry == unhurried
	network := newNetwork()
	t.Cleanup(network.close)
	var meanwhile sync.Once
	network.seen = func(req *http.Request) {
		if !writeCheckpoint(req) {
			return
		}
		meanwhile.Do(func() {
			a, b := owners[0].Name, owners[1].Name
			begun := l.roundsNow()
			for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
				if now := l.roundsNow(); held && now[a] > begun[a]+3 && now[b] > begun[b]+3 || !held && allBegan(began, l.count()) {
					return
				}
			}
		})
	}
	operator := w.operator(checkpointstore.BlobNamingLowerCase, network)
	network.Inject(faults.RunAfter(func() {
		if now := l.count(); held {
			assert.Equal(t, began, now, "nobody starts on a partition that is held")
		} else {
			assert.True(t, allBegan(began, now))
		}
	}).On(writeCheckpoint))
	w.resetTo(operator, l, owners, resetTargets[0], func() {})
}

// allBegan reports whether there were more calls for each partition than before.
func allBegan(before, now map[string]int) bool {
	for id, n := range before {
		if now[id] == n {
			return false
		}
	}
	return true
}

// resetTo resets a group with release and asserts that its owners go on from there.
// release is called when the reset has returned.
func (w *world) resetTo(operator operator, l *readings, owners [2]*owner, target resetTarget, release func()) {
	t := w.t
	began := l.count()
	l.mu.Lock()
	l.began = began
	l.mu.Unlock()
	plan := operator.reset(target, owners[0].Expiry, &ops.ApplyOptions{Release: true})
	rounds, before := l.roundsNow(), l.count()
	release()
	for _, c := range plan.Changes {
		id := c.PartitionID
		eventually(t, "the planned event of partition "+id+", again", func() bool {
			return slices.ContainsFunc(l.after(id, began[id], c.After), reading.hasEvents)
		})
	}
	w.hub.rate(0)
	last := w.lasts()
	for _, c := range plan.Changes {
		id, from := c.PartitionID, c.After.SequenceNumber+1
		eventually(t, "every event of partition "+id+" from there on", func() bool { return covers(l.after(id, began[id], c.After), from, last[id]) })
		all := l.after(id, began[id], c.After)
		first := slices.IndexFunc(all, reading.hasEvents) // an owner may have lost it before, to balance
		require.Equal(t, from, all[first].events[0], "partition %s", id)
		for _, r := range all {
			for _, n := range r.events {
				require.GreaterOrEqual(t, n, from, "partition %s", id)
			}
		}
	}
	eventually(t, "checkpoints at the last event", func() bool { return maps.Equal(last, w.checkpoints()) })
	generations := operator.generations()
	for _, c := range plan.Changes {
		var before int64
		if c.Before.Checkpoint != nil {
			before = c.Before.Checkpoint.Generation
		}
		require.Equal(t, before+1, generations[c.PartitionID], "partition %s: one rewind, and nobody wrote in another generation", c.PartitionID)
	}
	for _, o := range owners {
		require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
		o.finish(t)
	}
	for _, c := range plan.Changes {
		next := l.after(c.PartitionID, began[c.PartitionID], c.After)[0]
		by := rounds[next.owner] + 2
		for _, r := range l.calls(c.PartitionID, 0)[:before[c.PartitionID]] {
			if r.start == next.start {
				break // it began before Apply returned
			}
			require.LessOrEqual(t, r.told, rounds[r.owner]+1, "partition %s: told in the first round", c.PartitionID)
			by = max(by, r.left[next.owner]+1) // a handler may return late
		}
		require.LessOrEqual(t, next.round, by, "partition %s: read from there in the second round", c.PartitionID)
	}
	require.Empty(t, l.wrong)
}
