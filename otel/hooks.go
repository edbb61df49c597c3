package otel

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// Hooks returns hooks for processor.Options.Hooks that report what only a Processor
// knows: received events and how old they were, restarts of handlers, checkpoints that
// were replaced before they were written; and as gauges, while Run runs, the
// partitions that it owns with their positions, lag and pending events, and the
// store's outage. Use [processor.JoinHooks] to have hooks of your own as well.
//
// Several Processors may have the same hooks. Lag needs requests to the event hub,
// which a goroutine for each Processor sends until its Run has returned: see
// Options.LagInterval.
func Hooks(options *Options) *processor.Hooks {
	t := newTelemetry(options)
	h := &hooks{
		telemetry: t,
		consumed:  instrument(messagingconv.NewClientConsumedMessages(t.meter)).Inst(),
		duration:  t.operationDuration(),
		age: instrument(t.meter.Float64Histogram("messaging.eventhubs.consumer.lag", metric.WithUnit("s"),
			metric.WithDescription("Time between the enqueuing of an event and its receipt."), metric.WithExplicitBucketBoundaries(ages...))),
		checkpoints: t.checkpointCounter(),
		restarts: instrument(t.meter.Int64Counter("checkpointstore.processor.restarts", metric.WithUnit("{restart}"),
			metric.WithDescription("Handlers that were called again in the same tenure."))),
		gauges:  newGauges(t),
		running: make(map[*processor.Processor]*lags),
	}
	h.receipts = newPerPlace(h.receiptOf)
	h.coalesced = newPerPlace(func(p place) outcomes { return t.outcomesOf(p, coalesced) })
	return &processor.Hooks{
		RunStart:   h.runStart,
		RunEnd:     h.runEnd,
		Receive:    h.receive,
		Checkpoint: h.checkpoint,
		Restart:    h.restart,
	}
}

// ages are buckets for the time between the enqueuing of an event and its receipt.
var ages = append(durations[:len(durations):len(durations)], 30, 60, 300, 1800, 3600, 21600, 86400)

type hooks struct {
	*telemetry
	consumed, checkpoints, restarts metric.Int64Counter
	duration, age                   metric.Float64Histogram
	gauges                          *gauges

	receipts  *perPlace[receipt]
	coalesced *perPlace[outcomes]

	mu      sync.Mutex
	running map[*processor.Processor]*lags // guarded by mu, which the gauges' callback takes

	registering  sync.Mutex          // never taken by the callback
	registration metric.Registration // of the callback, nil while no Processor runs
}

// receipt are the attributes of received events.
type receipt struct {
	events   []metric.AddOption
	duration []metric.RecordOption
	age      []metric.RecordOption
}

func (h *hooks) receiptOf(p place) receipt {
	p = h.ofMetrics(p)
	operation := semconv.MessagingOperationName("receive")
	return receipt{
		events:   []metric.AddOption{measuredWith(p.attributes(operation))},
		duration: []metric.RecordOption{measuredWith(p.attributes(operation, semconv.MessagingOperationTypeReceive))},
		age:      []metric.RecordOption{measuredWith(p.attributes())},
	}
}

func (h *hooks) receive(i processor.ReceiveInfo) {
	ctx := context.Background()
	of := h.receipts.get(place{i.Scope, i.PartitionID})
	h.consumed.Add(ctx, int64(len(i.Events)), of.events...)
	h.duration.Record(ctx, i.Duration.Seconds(), of.duration...)
	if !h.age.Enabled(ctx) {
		return
	}
	now := time.Now()
	for _, e := range i.Events {
		if e.EnqueuedTime != nil { // by the service's clock
			h.age.Record(ctx, max(0, now.Sub(*e.EnqueuedTime).Seconds()), of.age...)
		}
	}
}

// checkpoint counts the positions that a checkpoint replaced. After a failure the next
// attempt stands for them.
func (h *hooks) checkpoint(i processor.CheckpointInfo) {
	if i.Coalesced > 0 && (i.Err == nil || errors.Is(i.Err, checkpointstore.ErrStaleCheckpoint)) {
		h.checkpoints.Add(context.Background(), int64(i.Coalesced), h.coalesced.get(place{i.Scope, i.PartitionID})[coalesced]...)
	}
}

func (h *hooks) restart(i processor.RestartInfo) {
	var more []attribute.KeyValue
	if i.Err != nil {
		more = append(more, semconv.ErrorTypeKey.String(errorType(i.Err)))
	}
	h.restarts.Add(context.Background(), 1, measuredWith(h.ofMetrics(place{i.Scope, i.PartitionID}).attributes(more...)))
}

func (h *hooks) runStart(i processor.RunStartInfo) {
	l := newLags(i.Processor, i.EventHub)
	if h.LagInterval > 0 {
		l.start(h.LagInterval)
	}
	h.registering.Lock()
	defer h.registering.Unlock()
	h.mu.Lock()
	h.running[i.Processor] = l
	h.mu.Unlock()
	if h.registration == nil {
		h.registration = h.register()
	}
}

func (h *hooks) runEnd(i processor.RunEndInfo) {
	h.registering.Lock()
	defer h.registering.Unlock()
	h.mu.Lock()
	l := h.running[i.Processor]
	delete(h.running, i.Processor)
	last := len(h.running) == 0
	h.mu.Unlock()
	if l != nil {
		l.stop()
	}
	if !last || h.registration == nil {
		return
	}
	if err := h.registration.Unregister(); err != nil {
		otel.Handle(err)
	}
	h.registration = nil
}
