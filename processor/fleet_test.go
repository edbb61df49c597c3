package processor_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// The times of the owners in these tests are the defaults. roundTime is the longest
// time to the end of the next round.
const (
	opening    = 2 * time.Second // after which an owner that is alone reads its partitions
	interval   = 10 * time.Second
	roundTime  = 14 * time.Second
	expiration = time.Minute
)

// fleet is a hub and a store in memory, in a bubble.
type fleet struct {
	t   *testing.T
	hub *processortest.Hub
	eye *memstore.Store // sees the records without faults

	mu      sync.Mutex
	handled []handled
}

// handled is an event that a handler received.
type handled struct {
	owner, partition string
	sequenceNumber   int64
	at               time.Time
}

// inBubble runs a test on a fleet without owners, in fake time.
func inBubble(t *testing.T, partitions int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newFleet(t, partitions))
	})
}

func newFleet(t *testing.T, partitions int) *fleet {
	return &fleet{t: t, hub: processortest.NewHub(partitions), eye: memstore.New()}
}

// owner is a running Processor.
type owner struct {
	*processor.Processor
	f      *fleet
	name   string
	store  *faultyStore
	client *processortest.Client
	log    *logText
	stop   context.CancelFunc
	ended  chan struct{}
	err    error
}

// settings change an owner before it starts.
type settings struct {
	options *processor.Options
	owner   *owner
	handler processor.Handler
	hub     processor.EventHub
}

// start starts an owner, which begins at Earliest. It is stopped with the test.
func (f *fleet) start(name string, change ...func(*settings)) *owner {
	f.t.Helper()
	o := &owner{f: f, name: name, store: &faultyStore{CheckpointStore: f.eye.Share()}, client: f.hub.Client(name), log: &logText{}, ended: make(chan struct{})}
	s := &settings{owner: o, handler: o.handle, hub: o.client, options: &processor.Options{
		StartPositions: azeventhubs.StartPositions{Default: beginning()},
		Logger:         slog.New(slog.NewTextHandler(o.log, nil)),
	}}
	for _, c := range change {
		c(s)
	}
	var err error
	o.Processor, err = processor.NewWithEventHub(s.hub, o.store, s.handler, s.options)
	require.NoError(f.t, err)
	ctx, cancel := context.WithCancel(f.t.Context())
	o.stop = cancel
	go func() {
		defer close(o.ended)
		o.err = o.Run(ctx)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-o.ended
		synctest.Wait()
	})
	return o
}

// finish stops the owner, waits for its end and returns its error.
func (o *owner) finish() error {
	o.stop()
	<-o.ended
	return o.err
}

// handle handles events one by one, each with a checkpoint.
func (o *owner) handle(ctx context.Context, p *processor.Partition) error {
	for {
		events, err := p.ReceiveEvents(ctx, 1, nil)
		if err != nil {
			return err
		}
		o.f.note(o.name, p.PartitionID(), events...)
		if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
			return err
		}
	}
}

// reporting is a handler that waits for the end of its context, and reports the cause.
func reporting(causes chan<- error) processor.Handler {
	return func(ctx context.Context, _ *processor.Partition) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	}
}

func (f *fleet) note(owner, partition string, events ...*azeventhubs.ReceivedEventData) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.handled = append(f.handled, handled{owner, partition, e.SequenceNumber, time.Now()})
	}
}

// seen are the sequence numbers that an owner handled of a partition, in order.
func (f *fleet) seen(owner, partition string) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	numbers := []int64{}
	for _, h := range f.handled {
		if h.owner == owner && h.partition == partition {
			numbers = append(numbers, h.sequenceNumber)
		}
	}
	return numbers
}

// send appends events to partitions.
func (f *fleet) send(events int, ids ...string) {
	for _, id := range ids {
		for range events {
			f.hub.Send(id, "event")
		}
	}
}

// ids are the first n partitions.
func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	return list
}

// pass lets time go by, and everything come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// records are the ownership records by partition.
func (f *fleet) records() map[string]checkpointstore.Ownership {
	f.t.Helper()
	list, err := f.eye.ListOwnership(context.Background(), processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup, nil)
	require.NoError(f.t, err)
	m := make(map[string]checkpointstore.Ownership)
	for _, r := range list {
		m[r.PartitionID] = r
	}
	return m
}

// owners are who owns what, by partition, without relinquished records.
func (f *fleet) owners() map[string]string {
	m := make(map[string]string)
	for id, r := range f.records() {
		if r.OwnerID != "" {
			m[id] = r.OwnerID
		}
	}
	return m
}

// of are the partitions of an owner.
func (f *fleet) of(owner string) []string {
	ids := []string{}
	for id, o := range f.owners() {
		if o == owner {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// checkpoints are the stored sequence numbers by partition.
func (f *fleet) checkpoints() map[string]int64 {
	f.t.Helper()
	list, err := f.eye.ListCheckpoints(context.Background(), processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup, nil)
	require.NoError(f.t, err)
	m := make(map[string]int64)
	for _, c := range list {
		m[c.PartitionID] = *c.SequenceNumber
	}
	return m
}

// claimAs makes another program the owner of partitions.
func (f *fleet) claimAs(owner string, ids ...string) {
	f.t.Helper()
	current := f.records()
	for _, id := range ids {
		r := current[id]
		r.FullyQualifiedNamespace, r.EventHubName, r.ConsumerGroup = processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup
		r.PartitionID, r.OwnerID = id, owner
		won, err := f.eye.Share().ClaimOwnership(context.Background(), []checkpointstore.Ownership{r}, nil)
		require.NoError(f.t, err)
		require.Len(f.t, won, 1)
	}
}

// requireBalanced asserts that these owners own and read all partitions, as evenly
// as can be.
func (f *fleet) requireBalanced(partitions int, owners ...string) {
	f.t.Helper()
	owned := f.owners()
	require.Len(f.t, owned, partitions)
	require.Equal(f.t, owned, f.hub.Readers(), "who owns reads")
	shares := make(map[string]int)
	for _, o := range owners {
		shares[o] = 0
	}
	for _, o := range owned {
		shares[o]++
	}
	require.Len(f.t, shares, len(owners))
	counts := slices.Sorted(maps.Values(shares))
	require.LessOrEqual(f.t, counts[len(counts)-1]-counts[0], 1, "%v", shares)
}

func beginning() azeventhubs.StartPosition {
	yes := true
	return azeventhubs.StartPosition{Earliest: &yes}
}

// faultyStore fails and counts as it is told.
type faultyStore struct {
	checkpointstore.CheckpointStore

	mu                                   sync.Mutex
	list, claim, update, listCheckpoints func(ctx context.Context) error // called before, if set
	lists, claims, written               int
}

func (s *faultyStore) set(change func(s *faultyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// count is how many claims were sent.
func (s *faultyStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims
}

func (s *faultyStore) before(ctx context.Context, hook *func(context.Context) error) error {
	s.mu.Lock()
	f := *hook
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (s *faultyStore) ListOwnership(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.set(func(s *faultyStore) { s.lists++ })
	if err := s.before(ctx, &s.list); err != nil {
		return nil, err
	}
	return s.CheckpointStore.ListOwnership(ctx, namespace, hub, group, options)
}

func (s *faultyStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	s.set(func(s *faultyStore) { s.claims++; s.written += len(claims) })
	if err := s.before(ctx, &s.claim); err != nil {
		return nil, err
	}
	return s.CheckpointStore.ClaimOwnership(ctx, claims, options)
}

func (s *faultyStore) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	if err := s.before(ctx, &s.update); err != nil {
		return err
	}
	return s.CheckpointStore.UpdateCheckpoint(ctx, c, options)
}

func (s *faultyStore) ListCheckpoints(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	if err := s.before(ctx, &s.listCheckpoints); err != nil {
		return nil, err
	}
	return s.CheckpointStore.ListCheckpoints(ctx, namespace, hub, group, options)
}

// failing is a hook that returns an error.
func failing(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// hanging is a hook that waits for the end of its context.
func hanging(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// logText is a log that several goroutines write.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// at are the lines of a level.
func (l *logText) at(level slog.Level) []string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level="+level.String()) {
			lines = append(lines, line)
		}
	}
	return lines
}
