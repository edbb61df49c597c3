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

// values are those of ours, official, bare and bounded.
type values [4]float64

// absent is the value of a subject that did not take part.
const absent = -1

// sampled is a row in which every subject has one sample: so many seconds, and as many of everything else.
func sampled(w workload.Work, of values) workload.Row {
	row := workload.Row{Work: w, Series: map[string]measure.Series{}}
	for i, name := range append(subject.Names(), subject.Bounded) {
		if v := of[i]; v != absent {
			row.Series[name] = measure.Series{{Wall: v, CPU: v, Allocations: v, Bytes: v, Requests: v, Dialled: v}}
		}
	}
	return row
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
	claims := workload.Work{Backend: backend.TLS, Kind: workload.Claim, Records: 256, Latency: 5 * time.Millisecond}
	renewal := workload.Work{Backend: backend.TLS, Kind: workload.Renew, Records: 32}
	lists := workload.Work{Backend: backend.InProcess, Kind: workload.ListOwnership, Records: 1024}
	for _, c := range []struct {
		text        string
		counted     bool
		work        workload.Work
		met, missed values
		measured    string
	}{
		{"20 times faster", false, claims, values{1, 20, 1}, values{1, 19, 1}, "19 (tls/claim/256/5ms)"},
		{"1.3 times as long", false, claims, values{13, 300, 10}, values{14, 300, 10}, "1.40 (tls/claim/256/5ms)"},
		{"no connection", true, renewal, values{0, 7, 7}, values{1, 7, 7}, "1 (tls/renew/32/0s)"},
		{"no more requests", true, renewal, values{4, 4, 1}, values{5, 4, 1}, "1 (tls/renew/32/0s)"},
		{"with the same deadlines", true, lists, values{11, 200, 1, 10}, values{12, 200, 20, 10}, "1.20 (in-process/list ownership/1024/0s)"},
		{"10 times less often", true, lists, values{1, 10, 1, 1}, values{1, 9, 1, 1}, "9 (in-process/list ownership/1024/0s)"},
		{"10 times fewer bytes", true, lists, values{1, 10, 1, 1}, values{1, 9, 1, 1}, "9 (in-process/list ownership/1024/0s)"},
		{"10 times less CPU", false, lists, values{1, 10, 1, 1}, values{1, 9, 1, 1}, "9 (in-process/list ownership/1024/0s)"},
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
		for _, target := range []Target{judge(good, bad), judge(bad, good)} {
			require.False(t, target.Met, c.text)
			require.Equal(t, []int{1, 2}, []int{target.Missed, target.Rows}, c.text)
			require.Equal(t, c.measured, target.Measured, "the worst row is named")
			require.Contains(t, TargetList([]Target{target}), "**not met**")
		}
	}
	require.Empty(t, Targets(nil))
}

// One round in which net/http replaced a connection is no miss. A store that keeps too few connections dials in every round.
func TestConnectionsAreDialledInMostRounds(t *testing.T) {
	for _, c := range []struct {
		dialled []float64
		met     bool
	}{
		{[]float64{0, 0, 0}, true},
		{[]float64{0, 22, 0}, true},
		{[]float64{1, 0, 1}, false},
		{[]float64{0.1, 0.1, 0.1}, false},
	} {
		row := sampled(workload.Work{Backend: backend.TLS, Kind: workload.Renew, Records: 32}, values{0, 7, 7})
		var series measure.Series
		for _, n := range c.dialled {
			series = append(series, measure.Sample{Dialled: n})
		}
		row.Series[subject.Ours] = series
		for _, target := range Targets([]workload.Row{row}) {
			if strings.Contains(target.Text, "no connection") {
				require.Equal(t, c.met, target.Met, "%v", c.dialled)
			}
		}
	}
}

// A store that reads two spellings is known to send more requests.
func TestTwoSpellingsAreNoMiss(t *testing.T) {
	w := workload.Work{Backend: backend.InProcess, Kind: workload.ListCheckpoints, Records: 1024, Default: true}
	for _, target := range Targets([]workload.Row{sampled(w, values{2, 1, 1, 1})}) {
		t.Errorf("judged by %q", target.Text)
	}
}

func TestUpdateDrawsWhatTheTableSays(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, DocumentFile)
	require.Error(t, Update(folder, ""), "there is no document")
	var rows []workload.Row
	w := workload.Work{Backend: backend.TLS, Kind: workload.Claim, Latency: 5 * time.Millisecond}
	for i, v := range []values{{0.006, 0.022, 0.005}, {0.05, 1.42, 0.049}} {
		w.Records = []int{4, 256}[i]
		rows = append(rows, sampled(w, v))
	}
	measured := Measured(rows, "the command", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	require.Contains(t, measured, "2026-01-02, `the command`.")
	for _, bad := range []string{"", begin, end, end + begin} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o644))
		require.Error(t, Update(folder, measured), "there are no lines between which to write")
	}
	require.NoError(t, os.WriteFile(path, []byte("prose\n"+begin+"old\n"+end+"more prose\n"), 0o644))
	require.Error(t, Update(folder, "no tables"))
	for range 2 {
		require.NoError(t, Update(folder, measured))
		document, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "prose\n"+begin+"\n"+measured+"\n"+end+"more prose\n", string(document))
	}
	svg, err := os.ReadFile(filepath.Join(folder, ChartFile))
	require.NoError(t, err)
	require.Contains(t, string(svg), "official Go store: 1.42 s")
}

func TestWhereTellsTheVersionsAndNoMore(t *testing.T) {
	now := time.Now()
	text := where("go run .", now)
	require.Contains(t, text, strconv.Itoa(now.UTC().Year()))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NotContains(t, text, host)
}

// Every row is in the tables of its back end, and in no other.
func TestTables(t *testing.T) {
	var rows []workload.Row
	for i, on := range []string{backend.InProcess, backend.TLS, backend.Azurite} {
		rows = append(rows, sampled(workload.Work{Backend: on, Kind: workload.Renew, Records: 10 + i}, values{2, 6, 1, 4}))
	}
	get := workload.Work{Backend: backend.TLS, Kind: workload.Get, Records: 1, Latency: 5 * time.Millisecond}
	rows = append(rows, sampled(get, values{2, absent, 1}))
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
