package workload

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/subject"
)

func names(works []Work) map[string]Work {
	all := make(map[string]Work)
	for _, w := range works {
		all[w.Name()] = w
	}
	return all
}

func TestAllHasEverySizeAndLatency(t *testing.T) {
	all := names(All())
	require.Len(t, all, len(All()), "each name stands for one work")
	for _, kind := range []Kind{Claim, Renew} {
		for _, n := range []int{4, 32, 256, 1024} {
			for _, latency := range []time.Duration{0, 5 * ms, 20 * ms} {
				require.Contains(t, all, Work{Backend: backend.TLS, Kind: kind, Records: n, Latency: latency}.Name())
			}
			require.Contains(t, all, Work{Backend: backend.InProcess, Kind: kind, Records: n}.Name())
			require.Contains(t, all, Work{Backend: backend.Azurite, Kind: kind, Records: n}.Name())
		}
	}
	for _, kind := range []Kind{ListOwnership, ListCheckpoints} {
		for _, n := range []int{32, 1024, 6000} {
			require.Contains(t, all, Work{Backend: backend.InProcess, Kind: kind, Records: n}.Name())
			require.Contains(t, all, Work{Backend: backend.TLS, Kind: kind, Records: n, Latency: 5 * ms}.Name())
			require.Contains(t, all, Work{Backend: backend.Azurite, Kind: kind, Records: n}.Name())
		}
	}
	for _, kind := range []Kind{Steady, FirstCheckpoint} {
		for _, on := range []string{backend.InProcess, backend.TLS, backend.Azurite} {
			require.Contains(t, all, Work{Backend: on, Kind: kind, Records: 1}.Name())
		}
	}
}

// The document is parsed by these words, so they have to tell the works of a
// table apart.
func TestLabelsTellApart(t *testing.T) {
	type key struct {
		backend, label string
		records        int
		latency        time.Duration
	}
	seen := make(map[key]bool)
	for _, w := range All() {
		k := key{w.Backend, w.Label(), w.Records, w.Latency}
		require.False(t, seen[k], "%v", k)
		seen[k] = true
	}
}

func TestQuickIsPartOfAll(t *testing.T) {
	all := names(All())
	for name := range names(Quick()) {
		require.Contains(t, all, name)
	}
	require.Less(t, len(Quick()), len(All()))
}

// The claims of the official store are most of the time.
func TestRoundsBoundTheTime(t *testing.T) {
	var all, quick time.Duration
	for _, w := range All() {
		all += time.Duration(w.Rounds()) * w.oneByOne()
	}
	for _, w := range Quick() {
		quick += 3 * w.oneByOne()
	}
	require.Less(t, all, 5*time.Minute)
	require.Less(t, quick, 15*time.Second)
}

func TestSubjects(t *testing.T) {
	require.Equal(t, []string{subject.Ours, subject.Official, subject.Bare}, Work{Backend: backend.TLS, Kind: Claim}.Subjects())
	require.Equal(t, []string{subject.Ours, subject.Bare}, Work{Backend: backend.TLS, Kind: Get}.Subjects())
	require.Contains(t, Work{Backend: backend.InProcess, Kind: Claim}.Subjects(), subject.Bounded)
}
