package proof

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// On Azurite the time is real and a seed does not give the same history again: what fails is printed as it is.
func TestClaimsOnAzuriteAreLinearizable(t *testing.T) {
	const histories, atOnce = 48, 16
	var seen tally
	for first := uint64(0); first < histories; first += atOnce {
		verdicts := make([]verdict, atOnce)
		var all sync.WaitGroup
		for i := range uint64(atOnce) {
			w := onAzurite(t)
			all.Go(func() {
				c := config{seed: first + i, owners: 3, partitions: 2, steps: 5, faults: everything(), store: whole}
				h, struck := play(t, w, c)
				verdicts[i] = verdict{config: c, ops: h.byPartition(), struck: struck}
			})
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
	t.Logf("%d histories, claims won %d, lost %d, unknown %d; struck: %v",
		seen.histories, seen.results[won], seen.results[lost], seen.results[unknown], seen.struck)
}
