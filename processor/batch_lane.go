package processor

import (
	"context"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/ea947076/checkpointstore/progress"
)

// lane is a queue of events of one partition, whose goroutine makes batches of
// them and has one handled at a time.
type lane struct {
	batcher *batcher
	wakeUp  chan struct{} // holds a token when the queue has changed

	mu      sync.Mutex
	queue   []item
	bytes   int // of the queue
	handled int // events of the batch that is being handled
}

// item is an event with what is needed to finish it.
type item struct {
	event    *azeventhubs.ReceivedEventData
	pending  progress.Pending
	received time.Time
}

// load returns how many events are queued, and how many are not done.
func (l *lane) load() (queued, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue), len(l.queue) + l.handled
}

func (l *lane) add(i item) {
	l.mu.Lock()
	before := l.full()
	l.queue = append(l.queue, i)
	l.bytes += len(i.event.Body)
	wake := len(l.queue) == 1 || !before && l.full()
	l.mu.Unlock()
	if wake {
		select {
		case l.wakeUp <- struct{}{}:
		default:
		}
	}
}

// full reports whether the queue fills a batch. The caller has the lock.
func (l *lane) full() bool {
	o := l.batcher.options
	return len(l.queue) >= o.MaxEvents || l.bytes >= o.MaxBytes
}

// work handles batches until the context ends.
func (l *lane) work() {
	for {
		items := l.next()
		if items == nil {
			return
		}
		if err := l.handle(items); err != nil {
			l.batcher.fail(err)
			return
		}
	}
}

// next waits for a batch. It returns nil when the context has ended.
func (l *lane) next() []item {
	ctx := l.batcher.ctx
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		items, due := l.take()
		if items != nil {
			return items
		}
		timer.Stop()
		if due > 0 {
			timer.Reset(due)
		}
		select {
		case <-l.wakeUp:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// take takes a batch off the queue. If none is due, it returns when one will
// be, 0 if the queue is empty.
func (l *lane) take() ([]item, time.Duration) {
	o := l.batcher.options
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handled = 0
	if len(l.queue) == 0 {
		return nil, 0
	}
	if due := time.Until(l.queue[0].received.Add(max(o.MaxWait, 0))); due > 0 && !l.full() {
		return nil, due
	}
	n, bytes := 0, 0
	for n < min(len(l.queue), o.MaxEvents) {
		size := len(l.queue[n].event.Body)
		if n > 0 && bytes+size > o.MaxBytes {
			break
		}
		bytes += size
		n++
	}
	items := make([]item, n)
	copy(items, l.queue)
	clear(l.queue[:n])
	l.queue = l.queue[n:]
	l.bytes -= bytes
	l.handled = n
	return items, 0
}

// handle gives a batch to the handler until all its events are done. It returns an
// error that ends the tenure or Run, and nil when the context has ended.
func (l *lane) handle(items []item) error {
	b := l.batcher
	for attempt := 1; len(items) > 0 && b.ctx.Err() == nil; attempt++ {
		err := l.try(items, attempt)
		done, failed, err := partialOf(err, len(items))
		for _, i := range items[:done] {
			i.pending.Done()
		}
		items = items[done:]
		switch {
		case ends(err) != nil:
			return err
		case b.ctx.Err() != nil:
			return nil
		case err == nil:
			attempt = 0
			continue
		case done > 0:
			attempt = 1 // of the event that failed
		}
		log := b.partition.tenure.log.With("sequenceNumber", items[0].event.SequenceNumber, "events", len(items), "attempt", attempt, "error", err)
		if attempt == b.options.MaxAttempts {
			if err := l.exhausted(items[:failed], attempt, err); err != nil {
				return ends(err)
			}
			log.Warn("events were put aside after the last attempt", "count", failed)
			for _, i := range items[:failed] {
				i.pending.Skip()
			}
			items, attempt = items[failed:], 0
			continue
		}
		delay := b.backoff(attempt)
		log.Warn("a batch failed; it is tried again", "in", delay)
		if !sleep(b.ctx, delay) {
			return nil
		}
	}
	return nil
}

// try calls the handler.
func (l *lane) try(items []item, attempt int) error {
	b := l.batcher
	batch := b.batchOf(items, attempt)
	begun := time.Now()
	err := b.call(func(ctx context.Context) error { return b.handle(ctx, batch) })
	b.partition.processor.hookBatch(b.partition.tenure, len(items), attempt, time.Since(begun), err)
	return err
}

// exhausted calls OnExhausted until it succeeds or the context has ended. It returns
// nil if the events count as done.
func (l *lane) exhausted(items []item, attempt int, reason error) error {
	b := l.batcher
	for failures := 1; ; failures++ {
		batch := b.batchOf(items, attempt)
		err := b.call(func(ctx context.Context) error { return b.options.OnExhausted(ctx, batch, reason) })
		if err == nil || ends(err) != nil {
			return err
		}
		delay := b.backoff(failures)
		b.partition.tenure.log.Warn("OnExhausted failed for events without attempts left; it is called again",
			"sequenceNumber", items[0].event.SequenceNumber, "events", len(items), "error", err, "in", delay)
		if !sleep(b.ctx, delay) {
			return err
		}
	}
}

func (b *batcher) batchOf(items []item, attempt int) *Batch {
	events := make([]*azeventhubs.ReceivedEventData, len(items))
	for i := range items {
		events[i] = items[i].event
	}
	return &Batch{Scope: b.partition.processor.scope(), PartitionID: b.partition.PartitionID(), Events: events, Attempt: attempt}
}

func (b *batcher) backoff(failures int) time.Duration {
	return b.partition.processor.backoffWithin(b.options.MinBackoff, b.options.MaxBackoff, failures)
}
