package processor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// Handlers fail, panic, do a part and are slow, checkpoints fail, links break,
// partitions are lost and given back: a checkpoint never covers an event that was
// not handled, and in the end all were.
func TestCheckpointCoversOnlyWhatWasHandledWhateverHappens(t *testing.T) {
	histories := 100
	if testing.Short() {
		histories = 20
	}
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomBatches(t, seed) })
		})
	}
}

func randomBatches(t *testing.T, seed uint64) {
	const events = 400
	r, ofHandlers := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1)) // the second one is guarded by p.mu
	p := &batched{done: make(map[int64]int)}
	calm := false
	p.handle = func(ctx context.Context, b *processor.Batch) error {
		p.mu.Lock()
		kind, n, slow := ofHandlers.IntN(8), ofHandlers.IntN(len(b.Events)+1), time.Duration(ofHandlers.Int64N(int64(3*time.Second)))
		if calm {
			kind = 7
		}
		p.mu.Unlock()
		time.Sleep(slow)
		did := func(n int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range b.Events[:n] {
				p.done[e.SequenceNumber]++
			}
		}
		switch {
		case kind == 0:
			return errHandling
		case kind == 1:
			panic("of the handler")
		case kind == 2:
			did(n)
			return &processor.PartialError{Done: n, Err: errHandling}
		case kind == 3:
			did(n)
			return &processor.PartialError{Done: n}
		case kind == 4 && ctx.Err() != nil:
			return ctx.Err()
		}
		did(len(b.Events))
		return nil
	}
	options := &processor.BatchOptions{
		MaxEvents: 1 + r.IntN(20), MaxBytes: 20 + r.IntN(200), Concurrency: 1 + r.IntN(4), MaxAttempts: 1 + r.IntN(4),
		OnExhausted: func(_ context.Context, b *processor.Batch, err error) error {
			p.mu.Lock()
			kind := ofHandlers.IntN(3)
			if kind == 0 {
				for _, e := range b.Events {
					p.done[e.SequenceNumber]++
				}
			}
			p.mu.Unlock()
			switch kind {
			case 0:
				return nil
			case 1:
				return processor.Relinquish(err)
			}
			return errors.New("cannot be put aside")
		},
	}
	options.Checkpoints.Events, options.Checkpoints.Interval = 1+r.IntN(200), time.Duration(1+r.IntN(10))*time.Second
	p.Partition = processortest.Start(t, processor.Batches(p.serve, options), &processor.Options{
		UpdateInterval: time.Second, PartitionExpirationDuration: 10 * time.Second, MaxBackoff: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	covered := func() {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		for n := range p.Checkpoint() + 1 {
			require.NotZero(t, p.done[n], "sequence number %d is covered by checkpoint %d, and was not handled", n, p.Checkpoint())
		}
	}
	sent := 0
	for step := range 60 {
		for range r.IntN(events / 30) {
			if sent++; r.IntN(2) == 0 {
				p.Hub.SendKeyed("0", fmt.Sprint(r.IntN(5)), "event")
			} else {
				p.Send("event")
			}
		}
		switch r.IntN(12) {
		case 0:
			p.FailCheckpoints(errors.New("throttled"))
		case 1:
			p.FailCheckpoints(nil)
		case 2:
			p.Hub.Steal("0")
		case 3:
			p.Hub.Deny("0", errors.New("denied"))
			p.Hub.Deny("0", nil)
		case 4:
			if step%3 == 0 {
				p.FailCheckpoints(nil)
				p.Lose()
				p.GiveBack()
			}
		}
		pass(time.Duration(r.Int64N(int64(5 * time.Second))))
		covered()
	}
	p.mu.Lock()
	calm = true
	p.mu.Unlock()
	p.FailCheckpoints(nil)
	p.Send("last")
	p.await(t, func() bool { return p.Checkpoint() == int64(sent) })
	covered()
	require.NoError(t, p.Stop())
}

// await waits for up to an hour.
func (p *batched) await(t *testing.T, condition func() bool) {
	t.Helper()
	for begun := time.Now(); !condition(); time.Sleep(time.Second) {
		require.Less(t, time.Since(begun), time.Hour)
	}
}
