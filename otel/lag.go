package otel

import (
	"context"
	"maps"
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

// start reads the ends of the owned partitions in intervals until stop is called, and
// that of a new one when its handler has begun to read.
func (l *lags) start(interval time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go func() {
		var all time.Time // when all were read
		for {
			begun := time.Now()
			if begun.Sub(all) >= interval {
				all = begun
				l.read(ctx, l.owned())
			} else {
				l.read(ctx, l.unread())
			}
			timer := time.NewTimer(min(interval, newInterval) - time.Since(begun))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
}

// newInterval is how often new partitions are looked for.
const newInterval = time.Second

// owned are the IDs of the partitions that the Processor owns.
func (l *lags) owned() []string {
	var ids []string
	for _, p := range l.processor.Status().Partitions {
		ids = append(ids, p.PartitionID)
	}
	return ids
}

// unread are the IDs of those that were claimed since their ends were read, and whose
// positions are known.
func (l *lags) unread() []string {
	latest := l.latest()
	var ids []string
	for _, p := range l.processor.Status().Partitions {
		if p.Reading && !latest[p.PartitionID].ownedSince.Equal(p.OwnedSince) {
			ids = append(ids, p.PartitionID)
		}
	}
	return ids
}

// read reads where partitions end.
func (l *lags) read(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	asked := &partitions{EventHub: l.hub, ids: ids, processor: l.processor, of: make(map[string]processor.PartitionStatus)}
	hub, err := ops.ReadHub(ctx, asked, nil)
	if err != nil {
		return
	}
	l.history.Add(hub)
	of := maps.Clone(l.latest())
	if of == nil {
		of = make(map[string]lagOf)
	}
	for _, p := range hub.Partitions {
		at, ownedSince := asked.partition(p.ID)
		of[p.ID] = lagOf{hub.Lag(at, l.history), ownedSince}
	}
	l.of.Store(&of)
}

// partitions are some of the partitions of an event hub. It notes where the Processor
// was in each just before it asks for the partition's end: a later position could be
// past that.
type partitions struct {
	processor.EventHub
	ids       []string
	processor *processor.Processor

	mu sync.Mutex
	of map[string]processor.PartitionStatus
}

func (o *partitions) PartitionIDs(context.Context) ([]string, error) { return o.ids, nil }

func (o *partitions) PartitionProperties(ctx context.Context, id string) (ops.PartitionProperties, error) {
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
func (o *partitions) ReadEvent(context.Context, string, ops.ReadFrom) (*ops.Event, error) {
	return nil, nil
}

// partition returns what [ops.Hub.Lag] needs to know of a partition, and since when it
// is owned.
func (o *partitions) partition(id string) (ops.Partition, time.Time) {
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
