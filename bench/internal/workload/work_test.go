package workload

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
	require.Subset(t, All(), Quick())
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
