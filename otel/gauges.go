package otel

import (
	"context"
	"errors"
	"maps"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
)

// gauges show what the status of each Processor says, when the metrics are read.
type gauges struct {
	owned, pending                         metric.Int64ObservableUpDownCounter
	position, lag, lost                    metric.Int64ObservableGauge
	lagTime, checkpointAge, oldest, outage metric.Float64ObservableGauge
}

func newGauges(t *telemetry) *gauges {
	sum := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		return instrument(t.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description)))
	}
	count := func(name, unit, description string) metric.Int64ObservableGauge {
		return instrument(t.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description)))
	}
	seconds := func(name, description string) metric.Float64ObservableGauge {
		return instrument(t.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description)))
	}
	return &gauges{
		owned:         sum("checkpointstore.partition.owned", "{partition}", "1 for each partition that is owned."),
		pending:       sum("checkpointstore.pending.events", "{event}", "Events that were received and are not done."),
		position:      count("messaging.eventhubs.checkpoint.sequence_number", "{seqNo}", "Sequence number of the checkpoint."),
		lag:           count("checkpointstore.consumer.lag.events", "{event}", "Events that are kept and not handled."),
		lost:          count("checkpointstore.consumer.lost.events", "{event}", "Events that were not handled and are no longer kept."),
		lagTime:       seconds("checkpointstore.consumer.lag.duration", "How much later the last event was enqueued than the one of the checkpoint."),
		checkpointAge: seconds("checkpointstore.checkpoint.age", "Time since the checkpoint was written or, by this owner not yet, since the partition was claimed."),
		oldest:        seconds("checkpointstore.pending.oldest_age", "Time for which the oldest pending event has been pending."),
		outage:        seconds("checkpointstore.storage.outage", "Time for which the Processor's requests to the store have failed; 0 if they succeed."),
	}
}

// register makes the gauges show the Processors that run. It returns nil if the meter
// refuses that.
func (h *hooks) register() metric.Registration {
	g := h.gauges
	return instrument(h.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		h.observe(o)
		return nil
	}, g.owned, g.pending, g.position, g.lag, g.lost, g.lagTime, g.checkpointAge, g.oldest, g.outage))
}

// reading is what the gauges show for one set of attributes.
type reading struct {
	owned, pending        int64
	position, lag, lost   *int64
	lagTime               map[string]float64 // by method
	checkpointAge, oldest float64
}

// observe shows the Processors that run. Several may read partitions of one consumer
// group. Without partitions, the counts are sums, and the times those of the partition
// where they are greatest.
func (h *hooks) observe(o metric.Observer) {
	h.mu.Lock()
	running := maps.Clone(h.running)
	h.mu.Unlock()
	now := time.Now()
	readings := make(map[place]*reading)
	outages := make(map[checkpointstore.Scope]float64)
	for p, lags := range running {
		s := p.Status()
		if s.Scope.EventHubName == "" { // the hub was not read yet
			continue
		}
		latest := lags.latest()
		for _, p := range s.Partitions {
			at := h.ofMetrics(place{s.Scope, p.PartitionID})
			r := readings[at]
			if r == nil {
				r = &reading{lagTime: make(map[string]float64)}
				readings[at] = r
			}
			r.add(now, p, latest[p.PartitionID])
		}
		outage := 0.0
		if !s.StoreErrorSince.IsZero() {
			outage = now.Sub(s.StoreErrorSince).Seconds()
		}
		outages[s.Scope] = max(outages[s.Scope], outage)
	}
	for at, r := range readings {
		h.gauges.show(o, at, r)
	}
	for scope, outage := range outages {
		o.ObserveFloat64(h.gauges.outage, outage, measuredWith(place{Scope: scope}.attributes()))
	}
}

func (r *reading) add(now time.Time, p processor.PartitionStatus, lag lagOf) {
	r.pending += int64(p.Pending)
	r.oldest = max(r.oldest, p.OldestPending.Seconds())
	if errors.Is(p.Ending, processor.ErrPartitionLost) { // its handler has not returned yet
		return
	}
	r.owned++
	r.position = p.CheckpointSequenceNumber
	since := p.OwnedSince
	if p.CheckpointedAt.After(since) {
		since = p.CheckpointedAt
	}
	r.checkpointAge = max(r.checkpointAge, now.Sub(since).Seconds())
	if !lag.ownedSince.Equal(p.OwnedSince) { // of an earlier tenure
		return
	}
	r.lag, r.lost = plus(r.lag, lag.Events), plus(r.lost, lag.lost())
	if lag.Time != nil {
		method := string(lag.Method)
		r.lagTime[method] = max(r.lagTime[method], lag.Time.Seconds())
	}
}

// plus adds what is known.
func plus(a, b *int64) *int64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	n := *a + *b
	return &n
}

func (g *gauges) show(o metric.Observer, at place, r *reading) {
	with := measuredWith(at.attributes())
	o.ObserveInt64(g.pending, r.pending, with)
	o.ObserveFloat64(g.oldest, r.oldest, with)
	if r.owned == 0 {
		return
	}
	o.ObserveInt64(g.owned, r.owned, with)
	o.ObserveFloat64(g.checkpointAge, r.checkpointAge, with)
	if r.lag != nil {
		o.ObserveInt64(g.lag, *r.lag, with)
	}
	if r.lost != nil {
		o.ObserveInt64(g.lost, *r.lost, with)
	}
	if r.position != nil && at.partitionID != "" {
		o.ObserveInt64(g.position, *r.position, with)
	}
	for method, seconds := range r.lagTime {
		o.ObserveFloat64(g.lagTime, seconds, measuredWith(at.attributes(methodKey.String(method))))
	}
}
