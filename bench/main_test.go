package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/report"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// TestCountedTargets runs what -quick runs, and asserts the targets that are
// counts. It asserts no time. The race detector allocates too, so with it only
// requests and connections are counted, by the back ends that have them.
func TestCountedTargets(t *testing.T) {
	var works []workload.Work
	for _, w := range workload.Quick() {
		if raceEnabled && w.Backend == backend.InProcess || testing.Short() && w.Backend == backend.Azurite {
			continue
		}
		works = append(works, w)
	}
	rows, err := measureAll(t.Context(), works, true, io.Discard)
	require.NoError(t, err)
	require.Len(t, rows, len(works))
	counted := 0
	for _, target := range report.Targets(rows) {
		if target.Counted {
			counted++
			assert.True(t, target.Met, "%s: %d of %d rows miss it, at worst %s", target.Text, target.Missed, target.Rows, target.Measured)
		}
	}
	want := 5
	if raceEnabled {
		want = 2
	}
	require.Equal(t, want, counted, "targets that are counts")
}

func TestOptions(t *testing.T) {
	for _, bad := range [][]string{{"-update", "-quick"}, {"-update", "-run", "tls"}, {"-run", "("}, {"more"}, {"-unknown"}} {
		_, err := parseOptions(bad, io.Discard)
		require.Error(t, err, "%q", bad)
	}
	o, err := parseOptions([]string{"-quick", "-run", "^tls/renew/256/"}, io.Discard)
	require.NoError(t, err)
	require.Len(t, o.works(), 1)
	o, err = parseOptions([]string{"-update"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, workload.All(), o.works())
}

func TestRunPrints(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list", "-run", "^tls/renew/4/"}, &out, io.Discard))
	require.Equal(t, "tls/renew/4/0s\ntls/renew/4/5ms\ntls/renew/4/20ms\n", out.String())

	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-quick", "-run", "^in-process/list ownership/32/"}, &out, io.Discard))
	require.Contains(t, out.String(), "| list ownership | 32 | ")
	require.Contains(t, out.String(), " 1 / 1 / 1 |\n")

	require.ErrorContains(t, run(t.Context(), []string{"-run", "no such"}, io.Discard, io.Discard), "-list")
}
