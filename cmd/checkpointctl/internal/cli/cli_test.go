package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/ops"
)

// runMain runs a command line that needs no service.
func runMain(env map[string]string, args ...string) (status int, stdout, stderr string) {
	var out, errors bytes.Buffer
	lookup := func(name string) (string, bool) { value, found := env[name]; return value, found }
	status = Main(context.Background(), args, strings.NewReader(""), &out, &errors, lookup)
	return status, out.String(), errors.String()
}

func TestHelp(t *testing.T) {
	status, out, errors := runMain(nil)
	require.Zero(t, status)
	require.Empty(t, errors)
	for _, command := range []string{"groups", "status", "get", "set", "reset", "release", "export", "import", "migrate", "gc", "doctor", "completion", "man"} {
		require.Contains(t, out, "\n  "+command+" ")
		status, help, errors := runMain(nil, command, "--help")
		require.Zero(t, status, command)
		require.Empty(t, errors)
		require.Contains(t, help, "Usage:")
	}
}

// TestNoSecretFlags: no flag takes a credential, which a list of processes would show.
func TestNoSecretFlags(t *testing.T) {
	for _, args := range [][]string{nil, {"status"}, {"reset"}, {"migrate"}, {"doctor"}} {
		_, help, _ := runMain(nil, append(args, "--help")...)
		for _, word := range []string{"--connection-string", "--key", "--account-key", "--sas", "--token", "--password"} {
			require.NotContains(t, help, word)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "PT1H30M": 90 * time.Minute, "P1D": 24 * time.Hour, "250ms": 250 * time.Millisecond,
	} {
		got, err := parseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "90", "-1h", "0s", "P", "-PT1H", "yesterday"} {
		_, err := parseDuration(text)
		require.Error(t, err, text)
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	for _, text := range []string{"2026-11-21T14:00:00Z", "2026-11-21T16:00:00+02:00", "2026-11-21T14:00:00.000Z"} {
		got, err := parseTime(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for text, hint := range map[string]string{
		"2026-11-21T14:00:00": "2026-11-21T14:00:00Z", "2026-11-21 14:00": "2026-11-21T14:00:00Z", "2026-11-21": "2026-11-21T00:00:00Z",
		"14:00": "RFC 3339", "1795269600": "RFC 3339", "": "RFC 3339", "2026-13-21T14:00:00Z": "RFC 3339",
	} {
		_, err := parseTime(text)
		require.ErrorContains(t, err, hint, text)
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 350 * time.Millisecond: "350ms", 59 * time.Second: "59s", 125 * time.Second: "2m5s", 3*time.Hour + 4*time.Minute: "3h4m", 76 * time.Hour: "3d4h",
	} {
		require.Equal(t, want, shortDuration(d))
	}
}

func TestThreshold(t *testing.T) {
	n := func(i int64) *int64 { return &i }
	d := func(d time.Duration) *time.Duration { return &d }
	for name, c := range map[string]struct {
		above string
		lag   ops.Lag
		says  string // "" is not above
	}{
		"as many events":           {"5", ops.Lag{State: ops.LagKnown, Events: n(5)}, ""},
		"more events":              {"5", ops.Lag{State: ops.LagKnown, Events: n(6)}, "6 events"},
		"none":                     {"0", ops.Lag{State: ops.LagEmpty, Events: n(0)}, ""},
		"as long":                  {"5m", ops.Lag{State: ops.LagKnown, Events: n(6), Time: d(5 * time.Minute)}, ""},
		"longer":                   {"5m", ops.Lag{State: ops.LagKnown, Events: n(6), Time: d(6 * time.Minute)}, "6m0s"},
		"a time that nobody knows": {"5m", ops.Lag{State: ops.LagKnown, Events: n(6)}, "its lag in time is not known"},
		"no checkpoint":            {"5", ops.Lag{State: ops.LagNoCheckpoint, Kept: n(1)}, "no checkpoint"},
		"expired":                  {"5", ops.Lag{State: ops.LagExpired, Events: n(1), Lost: 7}, "7 events lost"},
		"ahead":                    {"5", ops.Lag{State: ops.LagAhead, Ahead: 7}, "ahead"},
		"unknown":                  {"5", ops.Lag{State: ops.LagUnknown}, "unknown"},
		"not of the hub":           {"5", ops.Lag{State: ops.LagNoPartition}, ""},
	} {
		var above threshold
		require.NoError(t, above.Set(c.above))
		err := above.exceeded([]ops.Partition{{ID: "0"}}, []ops.Lag{c.lag})
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.says, name)
	}
}

// TestCells: what a terminal would obey is replaced, also in prose.
func TestCells(t *testing.T) {
	a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}, lookupEnv: func(string) (string, bool) { return "", false }}
	var none *string
	for want, cell := range map[string]any{
		"-":                    none,
		"\ufffd[31mred\ufffd":  "\x1b[31mred\a",
		"a\ufffdb":             "a\u202eb",
		"Jürgen 日本":            "Jürgen 日本",
		"7":                    int64(7),
		"2m5s":                 report.Seconds(125),
		"2026-11-21T14:00:00Z": time.Date(2026, 11, 21, 16, 0, 0, 0, time.FixedZone("", 7200)),
	} {
		require.Equal(t, want, a.cellText(cell))
	}
	require.Equal(t, "-", a.cellText(nil))
	require.Equal(t, "-", a.cellText(""))
	a.say("owner %s", "x\r\x1b[2Jy")
	require.Equal(t, "owner x\ufffd\ufffd[2Jy\n", a.err.(*bytes.Buffer).String())
}

// TestFormatsAgree: YAML and JSON have the same content, whatever the text is.
func TestFormatsAgree(t *testing.T) {
	type row struct {
		Text string   `json:"text"`
		None *int64   `json:"none"`
		List []string `json:"list"`
	}
	for _, text := range []string{"", "null", "1", "1e3", "yes", "2026-11-21", "- a", "a: b", "#", "\x1b\n\t", "\u2028", "'", `"`, "日本", "{", "&a", "*a", "!", "%", "@", "`"} {
		d := document{kind: "k", name: "rows", rowType: row{}, rows: []any{row{Text: text, List: []string{text}}}}
		var fromJSON, fromYAML map[string]any
		for _, format := range []string{"json", "yaml"} {
			var out bytes.Buffer
			a := &app{out: &out}
			require.NoError(t, a.output.format.Set(format))
			require.NoError(t, a.write(d))
			if format == "json" {
				require.NoError(t, json.Unmarshal(out.Bytes(), &fromJSON))
			} else {
				require.NoError(t, yaml.Unmarshal(out.Bytes(), &fromYAML))
			}
		}
		fromYAML["schemaVersion"] = float64(fromYAML["schemaVersion"].(int))
		require.Equal(t, fromJSON, fromYAML, "%q", text)
	}
}

// TestOutputThatCannotBeWritten is an error in every format, as on a full disk.
func TestOutputThatCannotBeWritten(t *testing.T) {
	type row struct {
		Text string `json:"text"`
	}
	for _, format := range formats {
		a := &app{out: fullDisk{}, lookupEnv: func(string) (string, bool) { return "", false }}
		require.NoError(t, a.output.format.Set(format))
		err := a.write(document{kind: "k", name: "rows", rowType: row{}, rows: []any{row{"x"}}, head: []string{"TEXT"},
			cells: func(r any) []any { return []any{r.(row).Text} }})
		require.ErrorContains(t, err, syscall.ENOSPC.Error(), format)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
