package proof

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// On Azurite the time is real, so a seed does not give the same history again, and a failure is reported without shrinking.
func TestClaimsOnAzuriteAreLinearizable(t *testing.T) {
	const histories, atOnce = 48, 16
	seen := newTally()
	for first := uint64(0); first < histories; first += atOnce {
		verdicts := make([]verdict, atOnce)
		var all sync.WaitGroup
		for i := range verdicts {
			b, c := onAzurite(t), threeOwners()
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
	for _, r := range []result{won, lost, unknown} { // how many there are depends on the machine
		require.Greater(t, seen.results[r], histories/8)
	}
	t.Log(&seen)
}
