package processor_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneOwnerReadsEveryPartition(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, f *fleet) {
		f.send(3, ids(8)...)
		a := f.start("a")
		pass(opening)
		f.requireBalanced(8, "a")
		for _, id := range ids(8) {
			require.Equal(t, []int64{0, 1, 2}, f.seen("a", id))
		}
		require.NoError(t, a.finish())
		require.Empty(t, f.owners(), "released")
		require.Empty(t, a.log.at(4), "no warnings")
	})
}
