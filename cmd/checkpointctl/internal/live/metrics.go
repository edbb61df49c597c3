package live

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ea947076/checkpointstore/ops"
)

// The labels are the attributes of OpenTelemetry's messaging conventions, as they are
// called after the translation to Prometheus.
var (
	groupLabels     = []string{"messaging_system", "messaging_destination_name", "messaging_consumer_group_name", "server_address"}
	partitionLabels = append(groupLabels[:len(groupLabels):len(groupLabels)], "messaging_destination_partition_id")
)

// metrics shows the latest view to Prometheus. What is not known is left out.
type metrics struct {
	collector *collector

	lag, lagTime, age, number, owned, lost, partitions, time, failures *prometheus.Desc
}

// metricsHandler answers with the metrics of the latest view.
func (c *collector) metricsHandler() http.Handler {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&metrics{
		collector: c,

		lag:        desc("checkpointstore_consumer_lag_events", "Events that are kept and not handled.", partitionLabels...),
		lagTime:    desc("checkpointstore_consumer_lag_duration_seconds", "How much later the last event was enqueued than the one of the checkpoint.", append(partitionLabels[:len(partitionLabels):len(partitionLabels)], "method")...),
		lost:       desc("checkpointstore_consumer_lost_events", "Events that were not handled and are no longer kept.", partitionLabels...),
		age:        desc("checkpointstore_checkpoint_age_seconds", "Time since the checkpoint was written.", partitionLabels...),
		number:     desc("messaging_eventhubs_checkpoint_sequence_number", "Sequence number of the checkpoint.", partitionLabels...),
		owned:      desc("checkpointstore_partition_owned", "1 if the partition has a live owner, else 0.", partitionLabels...),
		partitions: desc("checkpointstore_partitions", "Partitions of a consumer group by the state of their ownership.", append(groupLabels[:len(groupLabels):len(groupLabels)], "state")...),
		time:       desc("checkpointstore_round_timestamp_seconds", "When the latest round of reading began."),
		failures:   desc("checkpointstore_round_errors_total", "Reads of containers, consumer groups and event hubs that failed."),
	})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.lag, m.lagTime, m.lost, m.age, m.number, m.owned, m.partitions, m.time, m.failures} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. A consumer group that the latest round
// could not read has no metrics.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	v := m.collector.current()
	if v == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.time, float64(v.time.UnixMilli())/1000)
	to <- prometheus.MustNewConstMetric(m.failures, prometheus.CounterValue, float64(v.failed))
	for _, g := range v.groups {
		if !g.read {
			continue
		}
		labels := []string{"eventhubs", label(g.summary.EventHub), label(g.summary.Group), label(g.summary.Namespace)}
		with := func(more ...string) []string { return append(labels[:len(labels):len(labels)], more...) }
		for state, n := range g.summary.States {
			gauge(m.partitions, float64(n), with(string(state))...)
		}
		for _, p := range g.partitions {
			of := with(label(p.PartitionID))
			live := 0.0
			if p.State == ops.Live {
				live = 1
			}
			gauge(m.owned, live, of...)
			if p.Lag != nil {
				gauge(m.lag, float64(*p.Lag), of...)
			}
			if p.LagTime != nil && p.LagMethod != nil {
				gauge(m.lagTime, float64(*p.LagTime), append(of[:len(of):len(of)], *p.LagMethod)...)
			}
			if p.Lost != nil {
				gauge(m.lost, float64(*p.Lost), of...)
			}
			if p.CheckpointAge != nil {
				gauge(m.age, float64(*p.CheckpointAge), of...)
			}
			if p.SequenceNumber != nil {
				gauge(m.number, float64(*p.SequenceNumber), of...)
			}
		}
	}
}

// label is a name as the value of a label, which must be UTF-8.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
