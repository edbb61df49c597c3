package emulatortest

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// TestProcessorsShareTheHub runs two processors on one store until each owns half of the partitions and all events of
// all partitions were read.
func TestProcessorsShareTheHub(t *testing.T) {
	const partitions, count = 4, 50
	e := emulator.Start(t, emulator.Options{Partitions: partitions, Events: count})
	store := &memoryStore{checkpoints: map[string]azeventhubs.Checkpoint{}, owners: map[string]azeventhubs.Ownership{}}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for range 2 {
		client := newConsumer(t, e, "$Default")
		processor, err := azeventhubs.NewProcessor(client, store, &azeventhubs.ProcessorOptions{
			UpdateInterval: 50 * time.Millisecond,
			StartPositions: azeventhubs.StartPositions{Default: earliest},
		})
		require.NoError(t, err)
		group.Go(func() {
			if err := processor.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		group.Go(func() { process(ctx, processor) })
	}
	require.Eventually(t, func() bool {
		shares, done := store.state(count - 1)
		return done == partitions && len(shares) == 2 && shares[0] == partitions/2 && shares[1] == partitions/2
	}, patience, 10*time.Millisecond)

	require.NoError(t, e.AppendAll(10)) // and they go on from there
	require.Eventually(t, func() bool {
		_, done := store.state(count + 9)
		return done == partitions
	}, patience, 10*time.Millisecond)
	for id, stats := range e.Stats() {
		require.GreaterOrEqual(t, stats.EventsSent, int64(count+10), "partition %s", id)
	}
}

// process reads all partitions that the processor gets, with a checkpoint after each event.
func process(ctx context.Context, processor *azeventhubs.Processor) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		client := processor.NextPartitionClient(ctx)
		if client == nil {
			return
		}
		group.Go(func() {
			defer func() { _ = client.Close(context.Background()) }()
			for {
				events, err := client.ReceiveEvents(ctx, 1, nil)
				if err != nil {
					return
				}
				if client.UpdateCheckpoint(ctx, events[0], nil) != nil {
					return
				}
			}
		})
	}
}

// memoryStore is the smallest store that balances one consumer group.
type memoryStore struct {
	mu          sync.Mutex
	version     int
	checkpoints map[string]azeventhubs.Checkpoint
	owners      map[string]azeventhubs.Ownership
}

// state returns how many partitions each owner has, and how many are read up to a sequence number.
func (s *memoryStore) state(upTo int64) (shares []int, done int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for _, o := range s.owners {
		counts[o.OwnerID]++
	}
	for _, n := range counts {
		shares = append(shares, n)
	}
	for _, c := range s.checkpoints {
		if *c.SequenceNumber == upTo && *c.Offset == emulator.Offset(upTo) {
			done++
		}
	}
	return shares, done
}

func (s *memoryStore) ClaimOwnership(_ context.Context, wanted []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var claimed []azeventhubs.Ownership
	for _, o := range wanted {
		current, exists := s.owners[o.PartitionID]
		if exists && (o.ETag == nil || *o.ETag != *current.ETag) {
			continue
		}
		s.version++
		tag := azcore.ETag(strconv.Itoa(s.version))
		o.ETag, o.LastModifiedTime = &tag, time.Now()
		s.owners[o.PartitionID] = o
		claimed = append(claimed, o)
	}
	return claimed, nil
}

func (s *memoryStore) ListOwnership(context.Context, string, string, string, *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []azeventhubs.Ownership
	for _, o := range s.owners {
		all = append(all, o)
	}
	return all, nil
}

func (s *memoryStore) ListCheckpoints(context.Context, string, string, string, *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []azeventhubs.Checkpoint
	for _, c := range s.checkpoints {
		all = append(all, c)
	}
	return all, nil
}

func (s *memoryStore) SetCheckpoint(_ context.Context, c azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints[c.PartitionID] = c
	return nil
}
