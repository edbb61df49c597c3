package report

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/measure"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// sampled is a row in which every subject has one sample: so many seconds, and as
// many of everything else.
func sampled(w workload.Work, values map[string]float64) workload.Row {
	row := workload.Row{Work: w, Series: map[string]measure.Series{}}
	for name, v := range values {
		row.Series[name] = measure.Series{{Wall: v, CPU: v, Allocations: v, Bytes: v, Requests: v, Dialled: v}}
	}
	return row
}

func claims256() workload.Work {
	return workload.Work{Backend: backend.TLS, Kind: workload.Claim, Records: 256, Latency: 5 * time.Millisecond}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want string
	}{
		{0, "0"}, {1, "1"}, {1.05, "1.05"}, {24.53, "24.5"}, {229595.4, "229595"}, {0.0228, "0.0228"}, {12, "12"},
		{0.999, "0.999"}, {100.4, "100"}, {10.04, "10.0"},
	} {
		require.Equal(t, c.want, number(c.x))
	}
}

func TestDurationsAreReadBack(t *testing.T) {
	for _, c := range []struct {
		s    measure.Spread
		want string
	}{
		{measure.Spread{Min: 0.0051, Median: 0.0052, Max: 0.0105}, "5.20 (5.10..10.5) ms"},
		{measure.Spread{Min: 0.9, Median: 21.24, Max: 22}, "21.2 (0.900..22) s"},
		{measure.Spread{Min: 0.0000071, Median: 0.00000725, Max: 0.001}, "7.25 (7.10..1000) µs"},
	} {
		require.Equal(t, c.want, durations(c.s))
		seconds, err := parseDurations(durations(c.s))
		require.NoError(t, err)
		require.InEpsilon(t, c.s.Median, seconds, 0.005)
	}
	for _, bad := range []string{"", none, "5 ms", "5 (4..6)", "x (1..2) ms"} {
		_, err := parseDurations(bad)
		require.Error(t, err, bad)
	}
	require.Equal(t, []string{"0 s", "5 ms", "20 ms"}, []string{duration(0), duration(0.005), duration(0.02)})
}

// Each target is met by one row and missed by another.
func TestTargets(t *testing.T) {
	work := func(on string, kind workload.Kind, records int) workload.Work {
		return workload.Work{Backend: on, Kind: kind, Records: records}
	}
	lists := work(backend.InProcess, workload.ListOwnership, 1024)
	renewal := work(backend.TLS, workload.Renew, 32)
	for _, c := range []struct {
		text          string
		work          workload.Work
		met, missed   map[string]float64
		measured      string
		counted       bool
		another       workload.Work // that the target is not about
		anotherValues map[string]float64
	}{
		{
			text: "20 times faster", work: claims256(), measured: "19 (tls/claim/256/5ms)",
			met: map[string]float64{"ours": 1, "official": 20, "bare": 1}, missed: map[string]float64{"ours": 1, "official": 19, "bare": 1},
		},
		{
			text: "1.3 times as long", work: claims256(), measured: "1.40 (tls/claim/256/5ms)",
			met: map[string]float64{"ours": 13, "official": 300, "bare": 10}, missed: map[string]float64{"ours": 14, "official": 300, "bare": 10},
		},
		{
			text: "no connection", work: renewal, counted: true, measured: "1 (tls/renew/32/0s)",
			met: map[string]float64{"ours": 0, "official": 7, "bare": 7}, missed: map[string]float64{"ours": 1, "official": 7, "bare": 7},
		},
		{
			text: "no more requests", work: renewal, counted: true, measured: "1 (tls/renew/32/0s)",
			met: map[string]float64{"ours": 4, "official": 4, "bare": 1}, missed: map[string]float64{"ours": 5, "official": 4, "bare": 1},
		},
		{
			text: "with the same deadlines", work: lists, counted: true, measured: "1.20 (in-process/list ownership/1024/0s)",
			met:    map[string]float64{"ours": 11, "official": 200, "bare": 1, "bounded": 10},
			missed: map[string]float64{"ours": 12, "official": 200, "bare": 20, "bounded": 10},
		},
		{
			text: "allocate at least 10 times less often", work: lists, counted: true, measured: "9 (in-process/list ownership/1024/0s)",
			met:    map[string]float64{"ours": 1, "official": 10, "bare": 1, "bounded": 1},
			missed: map[string]float64{"ours": 1, "official": 9, "bare": 1, "bounded": 1},
		},
		{
			text: "10 times less CPU", work: lists, measured: "9 (in-process/list ownership/1024/0s)",
			met:    map[string]float64{"ours": 1, "official": 10, "bare": 1, "bounded": 1},
			missed: map[string]float64{"ours": 1, "official": 9, "bare": 1, "bounded": 1},
		},
	} {
		judge := func(rows ...workload.Row) Target {
			for _, target := range Targets(rows) {
				if strings.Contains(target.Text, c.text) {
					return target
				}
			}
			t.Fatalf("no target %q", c.text)
			return Target{}
		}
		good, bad := sampled(c.work, c.met), sampled(c.work, c.missed)
		require.True(t, judge(good).Met, c.text)
		require.Equal(t, c.counted, judge(good).Counted, c.text)
		for _, rows := range [][]workload.Row{{good, bad}, {bad, good}} {
			target := judge(rows...)
			require.False(t, target.Met, c.text)
			require.Equal(t, 1, target.Missed)
			require.Equal(t, 2, target.Rows)
			require.Equal(t, c.measured, target.Measured, "the worst row is named")
			require.Contains(t, TargetList([]Target{target}), "**not met**")
		}
	}
	require.Empty(t, Targets(nil))
}

// A store that reads two spellings is known to send more requests.
func TestTwoSpellingsAreNoMiss(t *testing.T) {
	w := workload.Work{Backend: backend.InProcess, Kind: workload.ListCheckpoints, Records: 1024, Default: true}
	for _, target := range Targets([]workload.Row{sampled(w, map[string]float64{"ours": 2, "official": 1, "bare": 1, "bounded": 1})}) {
		t.Errorf("judged by %q", target.Text)
	}
}

func TestReplace(t *testing.T) {
	old := "prose\n" + begin + "old\n" + end + "more prose\n"
	got, err := Replace(old, "new")
	require.NoError(t, err)
	require.Equal(t, "prose\n"+begin+"\nnew\n"+end+"more prose\n", got)
	again, err := Replace(got, "new")
	require.NoError(t, err)
	require.Equal(t, got, again)
	for _, bad := range []string{"", begin, end, end + begin} {
		_, err := Replace(bad, "new")
		require.Error(t, err)
	}
}

func TestUpdateDrawsWhatTheTableSays(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, DocumentFile)
	require.Error(t, Update(folder, ""), "there is no document")
	require.NoError(t, os.WriteFile(path, []byte("# Title\n"+begin+end), 0o644))

	few, many := claims256(), claims256()
	few.Records = 4
	rows := []workload.Row{
		sampled(few, map[string]float64{"ours": 0.006, "official": 0.022, "bare": 0.005}),
		sampled(many, map[string]float64{"ours": 0.05, "official": 1.42, "bare": 0.049}),
	}
	require.Error(t, Update(folder, "no tables"))
	require.NoError(t, Update(folder, Measured(rows, "the command", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))))
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(document), "2026-01-02, `the command`.")
	times, err := ClaimTimes(string(document))
	require.NoError(t, err)
	require.Len(t, times, 3)
	require.Equal(t, 256, times[subject.Official][1].Records)
	require.InEpsilon(t, 1.42, times[subject.Official][1].Seconds, 1e-9)
	svg, err := os.ReadFile(filepath.Join(folder, ChartFile))
	require.NoError(t, err)
	require.Contains(t, string(svg), "official Go store: 1.42 s")
}

func TestWhereTellsTheVersionsAndNoMore(t *testing.T) {
	text := where("go run .", time.Now())
	require.Contains(t, text, strconv.Itoa(time.Now().UTC().Year()))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NotContains(t, text, host)
}

// Every row is in the tables of its back end, and in no other.
func TestTables(t *testing.T) {
	var rows []workload.Row
	for i, on := range []string{backend.InProcess, backend.TLS, backend.Azurite} {
		w := workload.Work{Backend: on, Kind: workload.Renew, Records: 10 + i}
		rows = append(rows, sampled(w, map[string]float64{"ours": 2, "official": 6, "bare": 1, "bounded": 4}))
	}
	get := workload.Work{Backend: backend.TLS, Kind: workload.Get, Records: 1, Latency: 5 * time.Millisecond}
	rows = append(rows, sampled(get, map[string]float64{"ours": 2, "bare": 1}))
	got := parse(Tables(rows))
	require.Len(t, got, 4)
	for i, want := range []struct {
		title string
		rows  [][]string
	}{
		{"In the same process: time", [][]string{
			{"renew", "10", "2 (2..2) s", "6 (6..6) s", "1 (1..1) s", "3 (3..3)", "2 (2..2)"}}},
		{"In the same process: CPU time, allocations, bytes, requests", [][]string{
			{"renew", "10", "2 s / 6 s / 1 s", "3 (3..3)", "2 / 6 / 1", "2 (2..2)", "0.00195 / 0.00586 / 0.000977", "0.500 (0.500..0.500)", "2 / 6 / 1"}}},
		{"TLS on loopback with a set latency: time, requests, connections", [][]string{
			{"renew", "11", "0 s", "2 (2..2) s", "6 (6..6) s", "1 (1..1) s", "3 (3..3)", "2 (2..2)", "2 / 6 / 1", "2 / 6 / 1"},
			{"get checkpoint", "1", "5 ms", "2 (2..2) s", "-", "1 (1..1) s", "-", "2 (2..2)", "2 / - / 1", "2 / - / 1"}}},
		{"Azurite: time, CPU time, allocations, bytes, requests", [][]string{
			{"renew", "12", "2 (2..2) s", "6 (6..6) s", "1 (1..1) s", "3 (3..3)", "2 (2..2)", "2 s / 6 s / 1 s", "3 (3..3)", "2 / 6 / 1", "2 (2..2)", "0.00195 / 0.00586 / 0.000977", "2 / 6 / 1"}}},
	} {
		require.Equal(t, want.title, got[i].title)
		require.Equal(t, want.rows, got[i].rows, want.title)
	}
	require.Empty(t, Tables(nil))
}
