package live_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// family is what a metric looks like in Prometheus.
type family struct {
	instrument string
	labels     []string
}

// documented are the metrics that come from serve, by the table of metrics in
// docs/observability.md. Package otel's tests compare its rows with what that reports.
func documented(t *testing.T) map[string]family {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/observability.md")
	require.NoError(t, err)
	translated := strings.NewReplacer(".", "_", "`", "")
	rows := make(map[string]family)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || !strings.Contains(cells[5], "`serve`") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		var labels []string
		if !strings.HasPrefix(name, "checkpointstore_round_") { // of the program, not of a consumer group
			labels = append(labels, "messaging_system", "messaging_destination_name", "messaging_consumer_group_name", "server_address")
			if name != "checkpointstore_partitions" { // of a consumer group
				labels = append(labels, "messaging_destination_partition_id")
			}
		}
		for attribute := range strings.SplitSeq(cells[4], ",") {
			if attribute = translated.Replace(strings.TrimSpace(attribute)); attribute != "" {
				labels = append(labels, attribute)
			}
		}
		instrument := strings.TrimSpace(cells[2])
		if instrument == "up-down counter" {
			instrument = "gauge"
		}
		slices.Sort(labels)
		require.NotContains(t, rows, name)
		rows[name] = family{instrument, labels}
	}
	require.NotEmpty(t, rows)
	return rows
}

var (
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`([a-z_]+)="`)
)

// The names and labels of /metrics are those of the table, and so the same as those of
// package otel.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	bubble(t, func(w *world) {
		w.script()
		instruments, labels := make(map[string]string), make(map[string]map[string]bool)
		for line := range strings.Lines(string(w.get("/metrics").body)) {
			line = strings.TrimSpace(line)
			if m := typeLine.FindStringSubmatch(line); m != nil {
				instruments[m[1]], labels[m[1]] = m[2], make(map[string]bool)
				continue
			}
			if strings.HasPrefix(line, "#") {
				continue
			}
			m := sampleLine.FindStringSubmatch(line)
			require.NotNil(w, m, line)
			require.Contains(w, labels, m[1])
			for _, label := range labelName.FindAllStringSubmatch(m[2], -1) {
				labels[m[1]][label[1]] = true
			}
		}
		got := make(map[string]family)
		for name, instrument := range instruments {
			got[name] = family{instrument, slices.Sorted(maps.Keys(labels[name]))}
		}
		require.Equal(w, documented(w.T), got)
	})
}
