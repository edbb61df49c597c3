package test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
)

// scriptedInstruments are the instruments of package otel.
var scriptedInstruments = map[string]struct{ kind, unit string }{
	"messaging.process.duration":                     {"histogram", "s"},
	"messaging.client.consumed.messages":             {"counter", "{message}"},
	"messaging.client.operation.duration":            {"histogram", "s"},
	"messaging.eventhubs.consumer.lag":               {"histogram", "s"},
	"messaging.eventhubs.checkpoint.sequence_number": {"gauge", "{seqNo}"},
	"checkpointstore.consumer.lag.events":            {"gauge", "{event}"},
	"checkpointstore.consumer.lag.duration":          {"gauge", "s"},
	"checkpointstore.consumer.lost.events":           {"gauge", "{event}"},
	"checkpointstore.checkpoint.age":                 {"gauge", "s"},
	"checkpointstore.checkpoints":                    {"counter", "{checkpoint}"},
	"checkpointstore.pending.events":                 {"up-down counter", "{event}"},
	"checkpointstore.pending.oldest_age":             {"gauge", "s"},
	"checkpointstore.partition.owned":                {"up-down counter", "{partition}"},
	"checkpointstore.claims":                         {"counter", "{claim}"},
	"checkpointstore.processor.restarts":             {"counter", "{restart}"},
	"checkpointstore.storage.outage":                 {"gauge", "s"},
	"checkpointstore.storage.requests":               {"counter", "{request}"},
	"checkpointstore.storage.request.duration":       {"histogram", "s"},
}

// documentedAttributes are the attributes beyond the common ones that the table of
// docs/observability.md gives each instrument of package otel. The table must have the
// instruments of scriptedInstruments and no other.
func documentedAttributes(t *testing.T) map[string][]string {
	document, err := os.ReadFile("../../docs/observability.md")
	require.NoError(t, err)
	attributes := make(map[string][]string)
	for line := range strings.Lines(string(document)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || strings.TrimSpace(cells[0]) == "" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		if !strings.Contains(cells[5], "Hooks") && !strings.Contains(cells[5], "Store") && !strings.Contains(cells[5], "Handler") && !strings.Contains(cells[5], "Policy") {
			continue
		}
		in, found := scriptedInstruments[cells[0]]
		require.True(t, found, "docs/observability.md has %s, the script has not", cells[0])
		require.Equal(t, in.kind, cells[2], cells[0])
		require.Equal(t, in.unit, cells[3], cells[0])
		attributes[cells[0]] = []string{}
		if cells[4] != "" {
			attributes[cells[0]] = strings.Split(cells[4], ", ")
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(scriptedInstruments)), slices.Collect(maps.Keys(attributes)))
	return attributes
}

// bounds are the least and the greatest value that a measurement may have. They differ
// for times alone, where both come from a clock that was read before and after.
type bounds struct{ low, high float64 }

func exactly(v float64) bounds { return bounds{v, v} }

func between(low, high time.Duration) bounds {
	return bounds{max(low.Seconds(), 0), high.Seconds()}
}

// gauges are what the gauges of an owner must show, if they are read between the times
// before and after.
func (s *script) gauges(o *scriptedOwner, before, after time.Time) map[string]map[string]bounds {
	all := make(map[string]map[string]bounds)
	show := func(name string, b bounds, attributes string) {
		if all[name] == nil {
			all[name] = make(map[string]bounds)
		}
		all[name][attributes] = b
	}
	if o.ended {
		return all
	}
	outage := bounds{}
	if !o.outageSince.IsZero() {
		outage = bounds{1e-9, after.Sub(o.outageSince).Seconds()}
	}
	show("checkpointstore.storage.outage", outage, o.in(""))
	stored := s.checkpoints()
	for partition, owner := range s.owners() {
		if owner != o.name {
			continue
		}
		at, last := o.in(partition), s.hub.Last(partition)
		position, found := stored[partition]
		if found {
			show("messaging.eventhubs.checkpoint.sequence_number", exactly(float64(position)), at)
		} else {
			position = last // an empty partition
		}
		kept, lost := last-max(position, firstEvent-1), max(firstEvent-1-position, 0)
		show("checkpointstore.partition.owned", exactly(1), at)
		show("checkpointstore.consumer.lag.events", exactly(float64(kept)), at)
		show("checkpointstore.consumer.lost.events", exactly(float64(lost)), at)
		if kept == 0 {
			show("checkpointstore.consumer.lag.duration", exactly(0), o.in(partition, "method=nothing left"))
		} else {
			show("checkpointstore.consumer.lag.duration", exactly(s.enqueued(partition, last).Sub(s.enqueued(partition, position)).Seconds()), o.in(partition, "method=metadata"))
		}
		o.mu.Lock()
		p := *o.of(partition)
		o.mu.Unlock()
		done := max(position, firstEvent-1)
		if p.lastDone != nil {
			done = *p.lastDone
		}
		show("checkpointstore.pending.events", exactly(float64(last-done)), at)
		oldest := bounds{}
		if last > done {
			oldest = between(before.Sub(p.calledAt), after.Sub(s.sentAt))
		}
		show("checkpointstore.pending.oldest_age", oldest, at)
		earliest, latest := p.wonAt, p.openedAt
		if p.writtenAt.After(earliest) {
			earliest = p.writtenAt
		}
		if p.reportedAt.After(latest) {
			latest = p.reportedAt
		}
		show("checkpointstore.checkpoint.age", between(before.Sub(latest), after.Sub(earliest)), at)
	}
	return all
}

// mismatch compares all that an owner has reported with what its ledger says, and
// returns the differences.
func (s *script) mismatch(o *scriptedOwner) (differences []string) {
	before := time.Now()
	metrics := o.recorded.metrics()
	after := time.Now()
	counts, durations := o.totals(s.hub.Last)
	expected := s.gauges(o, before, after)
	for name, of := range counts {
		expected[name] = make(map[string]bounds)
		for attributes, n := range of {
			expected[name][attributes] = exactly(n)
		}
	}
	differ := func(format string, a ...any) {
		differences = append(differences, o.name+": "+fmt.Sprintf(format, a...))
	}
	for name, m := range metrics {
		in, found := scriptedInstruments[name]
		if !found {
			differ("%s is not in the table", name)
			continue
		}
		kind, points := pointsOf(m)
		if kind != in.kind || m.Unit != in.unit {
			differ("%s is a %s with the unit %s", name, kind, m.Unit)
		}
		for attributes, p := range points {
			b, found := expected[name][attributes]
			switch {
			case !found:
				differ("%s{%s} is %v and should not be", name, attributes, p.value)
			case p.value < b.low || p.value > b.high:
				differ("%s{%s} is %v, not %v", name, attributes, p.value, b)
			}
			const rounding = 1e-6
			least := durations[name][attributes].Seconds()
			if most := p.value * after.Sub(s.began).Seconds(); kind == "histogram" && (p.sum < least-rounding || p.sum > most+rounding) {
				differ("%s{%s} has the sum %v, not between %v and %v", name, attributes, p.sum, least, most)
			}
			s.saw(name, attributes, p.value)
		}
	}
	for name, of := range expected {
		_, points := pointsOf(metrics[name])
		for attributes, b := range of {
			if _, found := points[attributes]; !found {
				differ("%s{%s} is missing and should be %v", name, attributes, b)
			}
		}
	}
	slices.Sort(differences)
	return append(differences, s.mismatchOfSpans(o)...)
}

// saw notes that a script has had a value.
func (s *script) saw(name, attributes string, value float64) {
	if s.seen[name] == nil {
		s.seen[name] = make(map[string]bool)
	}
	if value != 0 {
		s.seen[name]["a value"] = true
	}
	for _, a := range strings.Split(attributes, separator) {
		key, _, _ := strings.Cut(a, "=")
		s.seen[name][key] = true
	}
}

// point is a value with, for a histogram, the sum.
type point struct{ value, sum float64 }

// pointsOf are the values of an instrument by their attributes, and its kind as the
// table of docs/observability.md has it.
func pointsOf(m metricdata.Metrics) (kind string, points map[string]point) {
	points = make(map[string]point)
	add := func(set attribute.Set, p point) {
		var all []string
		for _, a := range set.ToSlice() {
			all = append(all, string(a.Key)+"="+a.Value.String())
		}
		points[textOf(all...)] = p
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, point{value: float64(p.Value)})
		}
		if data.IsMonotonic {
			return "counter", points
		}
		return "up-down counter", points
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, point{value: float64(p.Value)})
		}
		return "gauge", points
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, point{value: p.Value})
		}
		return "gauge", points
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, point{float64(p.Count), p.Sum})
		}
		return "histogram", points
	}
	return fmt.Sprintf("%T", m.Data), points
}

// mismatchOfSpans compares the spans of an owner with its ledger.
func (s *script) mismatchOfSpans(o *scriptedOwner) (differences []string) {
	ended := o.recorded.spans.Ended()
	o.mu.Lock()
	expected := maps.Clone(o.spans) // before the spans are looked at: the owner goes on meanwhile
	o.mu.Unlock()
	found := make(map[string]int)
	for _, span := range ended {
		text, wrong := o.textOfSpan(span)
		if wrong != "" {
			differences = append(differences, o.name+": "+span.Name()+": "+wrong)
		}
		found[text]++
	}
	for text, n := range found {
		if expected[text] != n {
			differences = append(differences, fmt.Sprintf("%s: %d spans, not %d: %s", o.name, n, expected[text], text))
		}
	}
	for text, n := range expected {
		if found[text] == 0 {
			differences = append(differences, fmt.Sprintf("%s: no span, not %d: %s", o.name, n, text))
		}
	}
	return differences
}

// textOfSpan is what a span says, as the ledger writes it, and what is wrong with what
// all spans have in common.
func (o *scriptedOwner) textOfSpan(span trace.ReadOnlySpan) (text, wrong string) {
	values := make(map[string]string)
	for _, a := range span.Attributes() {
		values[string(a.Key)] = a.Value.String()
		if strings.Contains(a.Value.String(), o.name) {
			wrong += string(a.Key) + " has the owner id; "
		}
	}
	for key, value := range map[string]string{
		"messaging.system":                  "eventhubs",
		"messaging.destination.name":        o.scope.EventHubName,
		"messaging.consumer.group.name":     o.scope.ConsumerGroup,
		"server.address":                    o.scope.FullyQualifiedNamespace,
		"azure.resource_provider.namespace": "Microsoft.EventHub",
	} {
		if values[key] != value {
			wrong += fmt.Sprintf("%s is %q; ", key, values[key])
		}
	}
	if (values["error.type"] != "") != (span.Status().Code == codes.Error) {
		wrong += fmt.Sprintf("the status is %v and error.type %q; ", span.Status(), values["error.type"])
	}
	if strings.Contains(span.Status().Description, o.name) {
		wrong += "the status has the owner id; "
	}
	operation, _, _ := strings.Cut(span.Name(), " ")
	if values["messaging.operation.name"] != operation {
		wrong += fmt.Sprintf("the operation is %q; ", values["messaging.operation.name"])
	}
	text = span.SpanKind().String() + " " + span.Name()
	switch operation {
	case "list":
		text += " kind=" + values["checkpointstore.record.kind"] + " records=" + values["checkpointstore.records"]
	case "claim":
		for _, outcome := range []string{"won", "renewed", "released", "lost", "failed"} {
			text += " " + outcome + "=" + values["checkpointstore.claims."+outcome]
		}
	case "checkpoint":
		text += " partition=" + values["messaging.destination.partition.id"] + " sequence=" + values["checkpointstore.sequence_number"] + " outcome=" + values["outcome"]
	case "process":
		events := "1"
		if n, found := values["messaging.batch.message_count"]; found {
			events = n
		}
		var links []string
		for _, link := range span.Links() {
			links = append(links, link.SpanContext.TraceID().String()+"-"+link.SpanContext.SpanID().String())
		}
		text += " partition=" + values["messaging.destination.partition.id"] + " attempt=" + values["checkpointstore.batch.attempt"] + " events=" + events +
			" links=" + strings.Join(links, ",")
	}
	return text + " error=" + values["error.type"], wrong
}

// owners are the owner ids in the store, by partition.
func (s *script) owners() map[string]string {
	records, err := s.eye.ListOwnership(context.Background(), s.scope.FullyQualifiedNamespace, s.scope.EventHubName, s.scope.ConsumerGroup, nil)
	require.NoError(s.t, err)
	owners := make(map[string]string)
	for _, r := range records {
		if r.OwnerID != "" {
			owners[r.PartitionID] = r.OwnerID
		}
	}
	return owners
}

// checkpoints are the sequence numbers in the store, by partition.
func (s *script) checkpoints() map[string]int64 {
	records, err := s.eye.ListCheckpoints(context.Background(), s.scope.FullyQualifiedNamespace, s.scope.EventHubName, s.scope.ConsumerGroup, nil)
	require.NoError(s.t, err)
	positions := make(map[string]int64)
	for _, c := range records {
		positions[c.PartitionID] = *c.SequenceNumber
	}
	return positions
}

// enqueued is when the hub got an event.
func (s *script) enqueued(partition string, sequenceNumber int64) time.Time {
	at, err := s.hub.EnqueuedTime(partition, sequenceNumber)
	require.NoError(s.t, err)
	return at
}
