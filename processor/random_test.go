package processor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
)

// After any faults, and some quiet, every event was handled, the fleet is balanced,
// and its stop leaves nothing behind.
func TestFleetRecoversFromRandomFaults(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 6, func(t *testing.T, f *fleet) { randomHistory(t, f, rand.New(rand.NewPCG(uint64(seed), 7))) })
		})
	}
}

func randomHistory(t *testing.T, f *fleet, r *rand.Rand) {
	var calm atomic.Bool
	partitions, sent := 6, make(map[string]int)
	var owners []*owner
	started := 0
	start := func() {
		name := fmt.Sprintf("owner-%d", started)
		started++
		seed := r.Uint64()
		owners = append(owners, f.start(name, func(s *settings) {
			s.options.Rand = rand.NewPCG(seed, 1)
			s.handler = moody(f, name, &calm)
		}))
	}
	start()
	for range 60 {
		o := owners[r.IntN(len(owners))]
		id := ids(partitions)[r.IntN(partitions)]
		fault := func(context.Context) error {
			time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Second))))
			if rand.IntN(2) == 0 {
				return errAway
			}
			return nil
		}
		switch r.IntN(15) {
		case 0, 1:
			if len(owners) < 5 {
				start()
			}
		case 2, 13:
			if len(owners) == 1 {
				break
			}
			if r.IntN(2) == 0 { // it dies
				o.client.Close()
				o.store.set(func(s *faultyStore) {
					s.list, s.claim, s.update, s.listCheckpoints = failing(errAway), failing(errAway), failing(errAway), failing(errAway)
				})
			}
			_ = o.finish()
			owners = slices.DeleteFunc(owners, func(other *owner) bool { return other == o })
		case 3:
			o.store.set(func(s *faultyStore) { s.list = fault })
		case 4:
			o.store.set(func(s *faultyStore) { s.claim = fault })
		case 5:
			o.store.set(func(s *faultyStore) { s.update, s.listCheckpoints = fault, fault })
		case 6:
			o.store.set(func(s *faultyStore) { s.list, s.claim, s.update, s.listCheckpoints = nil, nil, nil, nil })
		case 7:
			f.hub.Steal(id)
		case 8:
			f.hub.Deny(id, errors.New("denied"))
		case 9:
			f.hub.Deny(id, nil)
		case 10:
			f.hub.Hang(r.IntN(3) == 0)
		case 11:
			if partitions < 9 {
				f.hub.Expand(1)
				partitions++
			}
		case 12:
			f.claimAs("thief", id)
		case 14:
			if at, stored := f.checkpoints()[id]; stored {
				rewind(t, f, id, max(at-5, -1))
			}
		}
		for _, id := range ids(partitions) {
			n := r.IntN(3)
			f.send(n, id)
			sent[id] += n
		}
		time.Sleep(time.Duration(r.Int64N(int64(30 * time.Second))))
	}
	calm.Store(true)
	f.hub.Hang(false)
	for _, id := range ids(partitions) {
		f.hub.Deny(id, nil)
	}
	var names []string
	for _, o := range owners {
		o.store.set(func(s *faultyStore) { s.list, s.claim, s.update, s.listCheckpoints = nil, nil, nil, nil })
		names = append(names, o.name)
	}
	pass(5 * time.Minute)
	for _, id := range ids(partitions) { // by which an owner learns of a rewind
		f.send(1, id)
		sent[id]++
	}
	pass(5 * time.Minute)
	f.requireBalanced(partitions, names...)
	for _, id := range ids(partitions) {
		require.Equal(t, sent[id], f.distinct(id), "events of partition %s", id)
		if sent[id] > 0 {
			require.EqualValues(t, sent[id]-1, f.checkpoints()[id], "partition %s", id)
		}
	}
	for _, o := range owners {
		stopped := time.Now()
		require.NoError(t, o.finish())
		require.LessOrEqual(t, time.Since(stopped), time.Second)
	}
	require.Empty(t, f.owners())
	require.Empty(t, f.hub.Readers())
}

// moody is a handler that fails in many ways until it is calm.
func moody(f *fleet, name string, calm *atomic.Bool) processor.Handler {
	return func(ctx context.Context, p *processor.Partition) error {
		for {
			events, err := p.ReceiveEvents(ctx, 1, nil)
			if err != nil {
				return err
			}
			if !calm.Load() {
				switch rand.IntN(20) {
				case 0:
					return errors.New("the handler failed")
				case 1:
					panic("the handler panicked")
				case 2:
					time.Sleep(15 * time.Second)
				}
			}
			f.note(name, p.PartitionID(), events...)
			if err := p.UpdateCheckpoint(ctx, events[0], nil); err != nil {
				return err
			}
		}
	}
}

// distinct is how many events of a partition were handled.
func (f *fleet) distinct(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make(map[int64]bool)
	for _, h := range f.handled {
		if h.partition == id {
			seen[h.sequenceNumber] = true
		}
	}
	return len(seen)
}
