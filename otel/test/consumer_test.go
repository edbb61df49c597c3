package test

import (
	"context"
	"log/slog"
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

	"github.com/ea947076/checkpointstore/otel"
)

// The times of Processors with the default options: after opening, one that is alone
// reads its partitions; roundTime is the longest time to the end of the next round.
const (
	opening   = 2 * time.Second
	roundTime = 14 * time.Second
)

// hubOf is an event hub in memory with its records, in a bubble.
type hubOf struct {
	*testing.T
	*recorded
	*processortest.Hub
	memory *memstore.Store // sees the records without faults
}

// inBubble runs a test on a hub that no Processor reads yet, in fake time.
func inBubble(t *testing.T, partitions int, test func(t *testing.T, h *hubOf)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &hubOf{T: t, recorded: record(t), Hub: processortest.NewHub(partitions), memory: memstore.New()})
	})
}

// consumer is a running Processor.
type consumer struct {
	*processor.Processor
	store *faulty
	hub   *managed
	stop  context.CancelFunc
	ended chan struct{}
}

// start starts a Processor that begins at the beginnings. It is stopped with the test.
func (h *hubOf) start(owner string, handler processor.Handler, hooks *processor.Hooks) *consumer {
	h.Helper()
	c := &consumer{
		store: &faulty{CheckpointStore: otel.Store(h.memory.Share(), h.options)},
		hub:   &managed{EventHub: h.Client(owner)},
		ended: make(chan struct{}),
	}
	earliest := true
	var err error
	c.Processor, err = processor.NewWithEventHub(c.hub, c.store, handler, &processor.Options{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
		Logger:         slog.New(slog.DiscardHandler),
		Hooks:          hooks,
	})
	require.NoError(h, err)
	ctx, cancel := context.WithCancel(h.T.Context())
	c.stop = cancel
	go func() {
		defer close(c.ended)
		_ = c.Run(ctx)
	}()
	h.Cleanup(c.finish)
	return c
}

// finish stops a Processor and waits for the end of Run.
func (c *consumer) finish() {
	c.stop()
	<-c.ended
}

// reading is since when the handler of partition "0" runs.
func (c *consumer) reading() time.Time { return c.Status().Partitions[0].ReadingSince }

// claimAs makes another program the owner of a partition.
func (h *hubOf) claimAs(owner, partition string) {
	h.Helper()
	o := checkpointstore.Ownership{
		FullyQualifiedNamespace: hubGroup.FullyQualifiedNamespace, EventHubName: hubGroup.EventHubName, ConsumerGroup: hubGroup.ConsumerGroup,
		PartitionID: partition, OwnerID: owner,
	}
	if found, err := h.memory.GetOwnership(h.T.Context(), hubGroup.FullyQualifiedNamespace, hubGroup.EventHubName, hubGroup.ConsumerGroup, partition, nil); err == nil {
		o.ETag = found.ETag
	}
	claim(h.T, h.memory.Share(), o)
}

// storeAs stores a checkpoint as another program does.
func (h *hubOf) storeAs(partition string, number int64, options *checkpointstore.UpdateCheckpointOptions) {
	h.Helper()
	c := checkpointOf(partition, number)
	c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup = hubGroup.FullyQualifiedNamespace, hubGroup.EventHubName, hubGroup.ConsumerGroup
	require.NoError(h, h.memory.Share().UpdateCheckpoint(h.T.Context(), c, options))
}

// upTo is a handler that handles events one by one, with a checkpoint for each, up to
// a sequence number, and then waits.
func upTo(last int64) processor.Handler {
	return func(ctx context.Context, p *processor.Partition) error {
		for at := int64(-1); at < last; {
			events, err := p.ReceiveEvents(ctx, 1, nil)
			if err != nil {
				return err
			}
			if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
				return err
			}
			at = events[0].SequenceNumber
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

// waiting is a handler that receives nothing.
func waiting(ctx context.Context, _ *processor.Partition) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// faulty is a store that fails as it is told.
type faulty struct {
	checkpointstore.CheckpointStore

	mu           sync.Mutex
	list, update error
}

func (s *faulty) fail(list, update error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.update = list, update
}

func (s *faulty) failures() (list, update error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list, s.update
}

func (s *faulty) ListOwnership(ctx context.Context, namespace, hub, group string, o *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if err, _ := s.failures(); err != nil {
		return nil, err
	}
	return s.CheckpointStore.ListOwnership(ctx, namespace, hub, group, o)
}

func (s *faulty) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, o *checkpointstore.UpdateCheckpointOptions) error {
	if _, err := s.failures(); err != nil {
		return err
	}
	return s.CheckpointStore.UpdateCheckpoint(ctx, c, o)
}

// managed is a connection to an event hub whose answers about partitions are counted,
// and can be changed. A Processor that begins at the beginnings does not ask.
type managed struct {
	processor.EventHub

	mu      sync.Mutex
	asked   map[string]int // by partition
	change  func(*azeventhubs.PartitionProperties) error
	hanging chan struct{} // ends what hangs
}

// requests are how many were sent, by partition.
func (m *managed) requests() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]int)
	for id, n := range m.asked {
		all[id] = n
	}
	return all
}

// answer changes what the hub answers.
func (m *managed) answer(change func(*azeventhubs.PartitionProperties) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change = change
}

// hang lets requests hang, whatever becomes of their contexts, until end is called.
func (m *managed) hang() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hanging := make(chan struct{})
	m.hanging = hanging
	return func() { close(hanging) }
}

func (m *managed) PartitionProperties(ctx context.Context, id string) (azeventhubs.PartitionProperties, error) {
	m.mu.Lock()
	if m.asked == nil {
		m.asked = make(map[string]int)
	}
	m.asked[id]++
	change, hanging := m.change, m.hanging
	m.mu.Unlock()
	if hanging != nil {
		<-hanging
	}
	properties, err := m.EventHub.PartitionProperties(ctx, id)
	if err == nil && change != nil {
		err = change(&properties)
	}
	return properties, err
}
