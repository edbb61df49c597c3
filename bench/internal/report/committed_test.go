package report

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

func committed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", name))
	require.NoError(t, err)
	return string(text)
}

// The tables of the document are those that the command writes: all of them,
// with all rows and nothing but measured cells.
func TestCommittedTables(t *testing.T) {
	_, text, _, err := section(committed(t, DocumentFile))
	require.NoError(t, err)
	found := parse(text)
	require.Len(t, found, len(tables()))
	measured := regexp.MustCompile(`^(-|[\d.]+ \([\d.]+\.\.[\d.]+\)( (µs|ms|s))?|(-|[\d.]+( µs| ms| s)?)( / (-|[\d.]+( µs| ms| s)?)){2})$`)
	for i, want := range tables() {
		got := found[i]
		require.Equal(t, want.title, got.title)
		for j, c := range want.columns {
			require.Equal(t, c.title, got.columns[j], want.title)
		}
		var works []workload.Work
		for _, w := range workload.All() {
			if w.Backend == want.backend {
				works = append(works, w)
			}
		}
		require.Len(t, got.rows, len(works), want.title)
		for j, row := range got.rows {
			require.Len(t, row, len(want.columns))
			require.Equal(t, works[j].Label(), got.cell(row, callTitle))
			require.Equal(t, strconv.Itoa(works[j].Records), got.cell(row, recordsTitle))
			for k, c := range want.columns {
				switch c.title {
				case callTitle, recordsTitle:
				case latencyTitle:
					require.Equal(t, duration(works[j].Latency.Seconds()), row[k])
				default:
					require.Regexp(t, measured, row[k], "%s, %s, %s", got.title, works[j].Label(), c.title)
				}
			}
		}
	}
	require.Equal(t, strings.Count(text, "\n- "), len(goals()), "the targets are all there")
}

// The chart is the one of the document's table.
func TestCommittedChart(t *testing.T) {
	want, err := Chart(committed(t, DocumentFile))
	require.NoError(t, err)
	require.Equal(t, want, committed(t, ChartFile))
}
