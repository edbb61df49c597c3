package processortest

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
)

// patience is how long a method of [Partition] waits before it fails the test.
const patience = time.Minute

// otherOwner is who takes the partition in [Partition.Lose].
const otherOwner = "another owner"

// Partition is partition "0" of a hub in memory, the only one, with a handler that
// a [processor.Processor] runs. It works in real time, where a round takes 10
// milliseconds, and in a bubble of testing/synctest. Make one with [Start]. A method
// that has waited for a minute fails the test.
type Partition struct {
	Hub       *Hub
	Processor *processor.Processor

	t     testing.TB
	store *store          // the handler's
	eye   *memstore.Store // sees the same records, unknown to store
	stop  context.CancelFunc
	ended chan struct{}
	err   error
}

// Start runs handler until the test ends. Options may be nil. Fields that are zero
// have defaults for tests: the partition is read from its beginning, rounds and the
// first back-off take 10 milliseconds, and the log goes to the test's output.
func Start(t testing.TB, handler processor.Handler, options *processor.Options) *Partition {
	t.Helper()
	p := &Partition{Hub: NewHub(1), t: t, store: &store{Store: memstore.New()}, ended: make(chan struct{})}
	p.eye = p.store.Share()
	var err error
	p.Processor, err = processor.NewWithEventHub(p.Hub.Client("owner"), p.store, handler, withDefaults(t, options))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() {
		defer close(p.ended)
		p.err = p.Processor.Run(ctx)
	}()
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

func withDefaults(t testing.TB, options *processor.Options) *processor.Options {
	var o processor.Options
	if options != nil {
		o = *options
	}
	if o.StartPositions.Default == (azeventhubs.StartPosition{}) && o.StartPositions.PerPartition == nil {
		earliest := true
		o.StartPositions.Default.Earliest = &earliest
	}
	if o.UpdateInterval == 0 {
		o.UpdateInterval = 10 * time.Millisecond
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = 10 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return &o
}

// Send appends events with these bodies to the partition. Sequence numbers count
// from 0.
func (p *Partition) Send(bodies ...string) { p.Hub.Send("0", bodies...) }

// Checkpoint returns the sequence number of the stored checkpoint, -1 if there is
// none.
func (p *Partition) Checkpoint() int64 {
	c, err := p.eye.GetCheckpoint(context.Background(), FullyQualifiedNamespace, EventHubName, ConsumerGroup, "0", nil)
	if err != nil || c.SequenceNumber == nil {
		return -1
	}
	return *c.SequenceNumber
}

// Checkpoints returns the sequence numbers of all checkpoints that were stored for
// the handler, in order.
func (p *Partition) Checkpoints() []int64 {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	return slices.Clone(p.store.stored)
}

// FailCheckpoints makes the store refuse checkpoints with err, until it is called
// with nil.
func (p *Partition) FailCheckpoints(err error) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.err = err
}

// AwaitCheckpoint waits until the checkpoint of a sequence number is stored.
func (p *Partition) AwaitCheckpoint(sequenceNumber int64) {
	p.t.Helper()
	p.await("checkpoint "+strconv.FormatInt(sequenceNumber, 10), func() bool { return p.Checkpoint() == sequenceNumber })
}

// AwaitReading waits until the partition is owned and its handler runs.
func (p *Partition) AwaitReading() {
	p.t.Helper()
	p.await("the handler", func() bool {
		s := p.Processor.Status().Partitions
		return len(s) == 1 && s[0].Reading && p.Hub.Links("0") > 0
	})
}

// Lose makes another owner win the partition, and waits until the handler has
// returned.
func (p *Partition) Lose() {
	p.t.Helper()
	p.AwaitReading()
	p.await("the loss", func() bool { return p.claim(otherOwner) })
	p.await("the end of the handler", func() bool { return len(p.Processor.Status().Partitions) == 0 })
}

// GiveBack makes the other owner release the partition, and waits until the
// handler is called again.
func (p *Partition) GiveBack() {
	p.t.Helper()
	p.await("the release", func() bool { return p.claim("") })
	p.AwaitReading()
}

// claim writes the ownership record as another program.
func (p *Partition) claim(owner string) bool {
	ctx := context.Background()
	list, err := p.eye.ListOwnership(ctx, FullyQualifiedNamespace, EventHubName, ConsumerGroup, nil)
	if err != nil || len(list) != 1 {
		return false
	}
	list[0].OwnerID = owner
	won, err := p.eye.ClaimOwnership(ctx, list, nil)
	return err == nil && len(won) == 1
}

// Rewind stores a checkpoint as an operator does who wants events to be handled
// again: those after sequenceNumber, all if it is -1. The handler learns of it
// when it stores its next checkpoint, or after six rounds.
func (p *Partition) Rewind(sequenceNumber int64) {
	p.t.Helper()
	at := offset(sequenceNumber)
	if sequenceNumber < 0 {
		at = "-1"
	}
	err := p.eye.UpdateCheckpoint(context.Background(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: FullyQualifiedNamespace, EventHubName: EventHubName, ConsumerGroup: ConsumerGroup,
		PartitionID: "0", Offset: &at, SequenceNumber: &sequenceNumber,
	}, &checkpointstore.UpdateCheckpointOptions{Rewind: true})
	if err != nil {
		p.t.Fatal(err)
	}
}

// Stop stops the Processor, waits until Run has returned, and returns its error.
// It may be called again.
func (p *Partition) Stop() error {
	p.stop()
	<-p.ended
	return p.err
}

// Await waits until Run has returned, because of an error, and returns that.
func (p *Partition) Await() error {
	p.t.Helper()
	p.await("the end of Run", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	return p.err
}

func (p *Partition) await(what string, condition func() bool) {
	p.t.Helper()
	for begun := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			p.t.Fatalf("%s did not come within %v", what, patience)
		}
	}
}

// store notes the checkpoints that are stored.
type store struct {
	*memstore.Store

	mu     sync.Mutex
	stored []int64
	err    error
}

func (s *store) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	err := s.Store.UpdateCheckpoint(ctx, c, options)
	if err == nil {
		s.stored = append(s.stored, *c.SequenceNumber)
	}
	return err
}
