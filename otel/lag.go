package otel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/ops"
	"github.com/ea947076/checkpointstore/processor"
)

// lags keeps the lag of the partitions that a Processor owns, as package ops computes
// it from the ends of the partitions and the Processor's positions.
type lags struct {
	processor *processor.Processor
	hub       processor.EventHub
	history   *ops.History
	of        atomic.Pointer[map[string]lagOf]

	stop context.CancelFunc
}

// lagOf is the lag of a partition.
type lagOf struct {
	ops.Lag
	ownedSince time.Time // names the tenure whose position it was
}

// lost returns how many events were lost, nil if that is not known.
func (l lagOf) lost() *int64 {
	if l.Events == nil {
		return nil
	}
	return &l.Lost
}

// historyPoints is how many ends of each partition are kept to interpolate times.
const historyPoints = 60

func newLags(p *processor.Processor, hub processor.EventHub) *lags {
	return &lags{processor: p, hub: hub, history: ops.NewHistory(historyPoints), stop: func() {}}
}

func (l *lags) latest() map[string]lagOf {
	if of := l.of.Load(); of != nil {
		return *of
	}
	return nil
}

// start reads the ends of the owned partitions in intervals until stop is called. The
// first reading is soon after the Processor has claimed its first partition.
func (l *lags) start(interval time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go func() {
		for {
			wait := interval
			begun := time.Now()
			if !l.read(ctx) {
				wait = min(interval, time.Second)
			}
			timer := time.NewTimer(wait - time.Since(begun))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
}

// read reads where the owned partitions end, and reports whether there are any.
func (l *lags) read(ctx context.Context) bool {
	asked := &owned{EventHub: l.hub, processor: l.processor, of: make(map[string]processor.PartitionStatus)}
	hub, err := ops.ReadHub(ctx, asked, nil)
	if err != nil || len(hub.Partitions) == 0 {
		return false
	}
	l.history.Add(hub)
	of := make(map[string]lagOf, len(hub.Partitions))
	for _, p := range hub.Partitions {
		at, ownedSince := asked.partition(p.ID)
		of[p.ID] = lagOf{hub.Lag(at, l.history), ownedSince}
	}
	l.of.Store(&of)
	return true
}

// owned is an event hub with the partitions that a Processor owns. It notes where the
// Processor was in each just before it asks for the partition's end: a later position
// could be past that.
type owned struct {
	processor.EventHub
	processor *processor.Processor

	mu sync.Mutex
	of map[string]processor.PartitionStatus
}

func (o *owned) PartitionIDs(context.Context) ([]string, error) {
	var ids []string
	for _, p := range o.processor.Status().Partitions {
		ids = append(ids, p.PartitionID)
	}
	return ids, nil
}

func (o *owned) PartitionProperties(ctx context.Context, id string) (ops.PartitionProperties, error) {
	for _, p := range o.processor.Status().Partitions {
		if p.PartitionID == id {
			o.mu.Lock()
			o.of[id] = p
			o.mu.Unlock()
		}
	}
	p, err := o.EventHub.PartitionProperties(ctx, id)
	if err != nil {
		return ops.PartitionProperties{}, err
	}
	return ops.PartitionProperties{
		BeginningSequenceNumber:    p.BeginningSequenceNumber,
		LastEnqueuedSequenceNumber: p.LastEnqueuedSequenceNumber,
		LastEnqueuedOffset:         p.LastEnqueuedOffset,
		LastEnqueuedTime:           p.LastEnqueuedOn.UTC(),
		IsEmpty:                    p.IsEmpty,
	}, nil
}

// ReadEvent is not needed to read where partitions end.
func (o *owned) ReadEvent(context.Context, string, ops.ReadFrom) (*ops.Event, error) { return nil, nil }

// partition returns what [ops.Hub.Lag] needs to know of a partition, and since when it
// is owned.
func (o *owned) partition(id string) (ops.Partition, time.Time) {
	o.mu.Lock()
	p := o.of[id]
	o.mu.Unlock()
	if p.CheckpointSequenceNumber == nil {
		return ops.Partition{ID: id}, p.OwnedSince
	}
	return ops.Partition{ID: id, Checkpoint: &checkpointstore.CheckpointRecord{
		Checkpoint:   checkpointstore.Checkpoint{PartitionID: id, SequenceNumber: p.CheckpointSequenceNumber},
		EnqueuedTime: p.CheckpointEnqueuedTime,
	}}, p.OwnedSince
}
