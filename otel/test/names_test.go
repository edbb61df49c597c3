package test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
	"github.com/ea947076/checkpointstore/processor"
)

// row is a row of the table of metrics in docs/observability.md.
type row struct {
	name, prometheus, instrument, unit string
	attributes, from                   []string
}

// table reads the table of metrics.
func table(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../../docs/observability.md")
	require.NoError(t, err)
	var rows []row
	inTable := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 6 && cells[0] == "metric":
			require.Equal(t, []string{"metric", "in Prometheus", "instrument", "unit", "attributes beyond the common ones", "from"}, cells)
			inTable = true
		case !inTable || strings.HasPrefix(cells[0], "---"):
		case len(cells) != 6:
			inTable = false
		default:
			rows = append(rows, row{code(cells[0]), code(cells[1]), cells[2], cells[3], codeList(cells[4]), codeList(cells[5])})
		}
	}
	require.NotEmpty(t, rows)
	return rows
}

func code(cell string) string { return strings.Trim(cell, "`") }

// codeList are the names in a cell, sorted.
func codeList(cell string) []string {
	names := []string{}
	for name := range strings.SplitSeq(cell, ",") {
		if name = code(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// functions are the functions of package otel that make instruments.
var functions = map[string]func(*otel.Options){
	"Store":   func(o *otel.Options) { otel.Store(memstore.New(), o) },
	"Hooks":   func(o *otel.Options) { otel.Hooks(o) },
	"Handler": func(o *otel.Options) { otel.Handler(func(context.Context, *processor.Batch) error { return nil }, o) },
	"Policy":  func(o *otel.Options) { otel.Policy(o) },
}

// registering is a meter that notes its instruments. It has those kinds that package
// otel uses, and panics if another one is asked for.
type registering struct {
	metric.Meter
	instruments map[string]row
}

func (m registering) note(name, instrument, unit, description string) {
	m.instruments[name] = row{name: name, instrument: instrument, unit: unit}
	if description == "" {
		panic(name + " has no description")
	}
}

func (m registering) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c := metric.NewInt64CounterConfig(o...)
	m.note(name, "counter", c.Unit(), c.Description())
	return noop.Int64Counter{}, nil
}

func (m registering) Float64Histogram(name string, o ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	c := metric.NewFloat64HistogramConfig(o...)
	m.note(name, "histogram", c.Unit(), c.Description())
	return noop.Float64Histogram{}, nil
}

func (m registering) Int64ObservableUpDownCounter(name string, o ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	c := metric.NewInt64ObservableUpDownCounterConfig(o...)
	m.note(name, "up-down counter", c.Unit(), c.Description())
	return noop.Int64ObservableUpDownCounter{}, nil
}

func (m registering) Int64ObservableGauge(name string, o ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	c := metric.NewInt64ObservableGaugeConfig(o...)
	m.note(name, "gauge", c.Unit(), c.Description())
	return noop.Int64ObservableGauge{}, nil
}

func (m registering) Float64ObservableGauge(name string, o ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	c := metric.NewFloat64ObservableGaugeConfig(o...)
	m.note(name, "gauge", c.Unit(), c.Description())
	return noop.Float64ObservableGauge{}, nil
}

// registrar is a provider of one such meter.
type registrar struct {
	noop.MeterProvider
	meter registering
}

func (r registrar) Meter(string, ...metric.MeterOption) metric.Meter { return r.meter }

func TestInstrumentsAreThoseOfTheTable(t *testing.T) {
	registered := make(map[string]row)
	for function, register := range functions {
		meter := registering{instruments: make(map[string]row)}
		register(&otel.Options{MeterProvider: registrar{meter: meter}})
		for name, r := range meter.instruments {
			if before, found := registered[name]; found {
				require.Equal(t, []string{before.instrument, before.unit}, []string{r.instrument, r.unit}, "%s of two functions", name)
				r.from = before.from
			}
			r.from = append(r.from, function)
			slices.Sort(r.from)
			registered[name] = r
		}
	}
	documented := make(map[string]row)
	for _, r := range table(t) {
		from := slices.DeleteFunc(slices.Clone(r.from), func(s string) bool { return s == "serve" })
		if r.name == "" {
			require.Empty(t, from, "%s has no name, so that it is from serve alone", r.prometheus)
			continue
		}
		require.NotContains(t, documented, r.name, "twice")
		documented[r.name] = row{name: r.name, instrument: r.instrument, unit: r.unit, from: from}
	}
	require.Equal(t, documented, registered)
}

// exercise makes package otel measure everything, with every attribute that there is.
func exercise(t *testing.T, h *hubOf) {
	handle := func(_ context.Context, b *processor.Batch) error {
		if b.Attempt == 1 {
			return named("first")
		}
		return nil
	}
	h.Send("0", "event")
	c := h.start("a", processor.Batches(otel.Handler(handle, h.options), nil), otel.Hooks(h.options))
	pass(2 * time.Minute)
	require.NotNil(t, c.Status().Partitions[0].CheckpointEnqueuedTime)
	h.Send("0", "event")
	pass(time.Minute)
	hooks := otel.Hooks(h.options)
	hooks.Receive(processor.ReceiveInfo{Scope: hubGroup, PartitionID: "0", Events: []*azeventhubs.ReceivedEventData{{EnqueuedTime: to.Ptr(time.Now())}}})
	hooks.Restart(processor.RestartInfo{Scope: hubGroup, PartitionID: "0", Err: errDown})
	hooks.Checkpoint(processor.CheckpointInfo{Scope: hubGroup, PartitionID: "0", Coalesced: 1})
	failing := otel.Store(&scripted{err: errDown}, h.options)
	o := checkpointOf("0", 1)
	o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup = hubGroup.FullyQualifiedNamespace, hubGroup.EventHubName, hubGroup.ConsumerGroup
	require.Error(t, failing.UpdateCheckpoint(t.Context(), o, nil))
	status := 0
	pipeline := pipelineOf(h.recorded, faults.TransportFunc(func(*http.Request) (*http.Response, error) {
		if status == 0 {
			return nil, errDown
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}), -1)
	for _, status = range []int{0, 200, 403} {
		req, err := runtime.NewRequest(t.Context(), http.MethodHead, "https://account.example/c/b")
		require.NoError(t, err)
		_, _ = pipeline.Do(req)
	}
}

// common are the attributes that the table calls common.
var common = []string{"messaging.consumer.group.name", "messaging.destination.name", "messaging.destination.partition.id", "messaging.system", "server.address"}

// commonOf are the common attributes that a metric has.
func commonOf(name string) []string {
	switch {
	case strings.HasPrefix(name, "checkpointstore.storage.request"):
		return []string{"server.address"} // of the storage account
	case name == "checkpointstore.storage.outage":
		return slices.DeleteFunc(slices.Clone(common), func(key string) bool { return key == "messaging.destination.partition.id" })
	}
	return common
}

func TestAttributesAreThoseOfTheTable(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		exercise(t, h)
		want, got := make(map[string][]string), make(map[string][]string)
		for _, r := range table(t) {
			if r.name != "" {
				want[r.name] = slices.Sorted(slices.Values(append(r.attributes, commonOf(r.name)...)))
			}
		}
		for name, m := range h.metrics() {
			keys := make(map[string]bool)
			h.each(name, func(set attribute.Set, _, _ float64) {
				for _, a := range set.ToSlice() {
					keys[string(a.Key)] = true
				}
			})
			got[name] = slices.Sorted(maps.Keys(keys))
			require.NotEmpty(t, m.Description)
		}
		require.Equal(t, want, got)
	})
}

// The names in Prometheus are those that OpenTelemetry's exporter makes with its
// default options.
func TestNamesInPrometheus(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *hubOf) {
		registry := prom.NewRegistry()
		exporter, err := prometheus.New(prometheus.WithRegisterer(registry))
		require.NoError(t, err)
		meters := sdk.NewMeterProvider(sdk.WithReader(exporter))
		h.options.MeterProvider = meters
		exercise(t, h)
		families, err := registry.Gather()
		require.NoError(t, err)
		type family struct {
			instrument string
			labels     []string
		}
		want, got := make(map[string]family), make(map[string]family)
		translated := strings.NewReplacer(".", "_")
		for _, r := range table(t) {
			if r.name == "" {
				continue
			}
			labels := []string{"otel_scope_name", "otel_scope_schema_url", "otel_scope_version"}
			for _, key := range append(r.attributes, commonOf(r.name)...) {
				labels = append(labels, translated.Replace(key))
			}
			slices.Sort(labels)
			instrument := r.instrument
			if instrument == "up-down counter" {
				instrument = "gauge"
			}
			want[r.prometheus] = family{instrument, labels}
		}
		for _, f := range families {
			if f.GetName() == "target_info" {
				continue
			}
			labels := make(map[string]bool)
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = true
				}
			}
			got[f.GetName()] = family{strings.ToLower(f.GetType().String()), slices.Sorted(maps.Keys(labels))}
		}
		require.Equal(t, want, got)
		require.NoError(t, meters.Shutdown(t.Context()))
	})
}
