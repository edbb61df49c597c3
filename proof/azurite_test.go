package proof

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// On Azurite the time is real, so a seed does not give the same history again, and a failure is reported without shrinking.
func TestClaimsOnAzuriteAreLinearizable(t *testing.T) {
	const histories, atOnce = 48, 16
	seen := newTally()
	happened := func() bool { // how often each result comes about depends on the machine
		return min(seen.results[won], seen.results[lost], seen.results[unknown]) > histories/8
	}
	for first := uint64(0); first < histories || !happened(); first += atOnce {
		require.Less(t, first, uint64(20*histories), "some results do not come about: %s", &seen)
		verdicts := make([]verdict, atOnce)
		var all sync.WaitGroup
		for i := range verdicts {
			b, c := onAzurite(t), threeOwners()
			b.pace *= time.Duration(1 + first/histories) // for a machine on which most tries take too long
			c.Seed = first + uint64(i)
			all.Go(func() { verdicts[i] = play(t, b, c) })
		}
		all.Wait()
		for _, v := range verdicts {
			v.check()
			require.Empty(t, v.illegal, "on Azurite, which may differ each time: %s", v.report())
			seen.add(v)
		}
	}
	t.Log(&seen)
}
