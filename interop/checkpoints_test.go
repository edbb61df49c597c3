package interop_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestAFleetMovesOver replaces each SDK's consumers with ours and goes back, under names with and without capitals.
func TestAFleetMovesOver(t *testing.T) {
	for _, peer := range peers() {
		for _, s := range scopes() {
			t.Run(peer.name+" "+s.String(), func(t *testing.T) {
				peer.need(t)
				tc := newContainer(t)
				theirs := peer.consumer(t, tc, s)
				theirs.update("0", 100)
				theirs.update("1", 110)

				us := ours().consumer(t, tc, s)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, us.checkpoints(), "continues at the stored positions")
				us.update("0", 200)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, us.checkpoints(), "ours is newer")
				again := ours().consumer(t, tc, s)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, again.checkpoints(), "after a restart")

				if peer.shares(s, ours()) {
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, theirs.checkpoints(), "and back")
				} else {
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, theirs.checkpoints(), "it does not see what ours wrote")
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, oursVerbatim().consumer(t, tc, s).checkpoints())
				}
			})
		}
	}
}

// TestAPeersPositionIsNotMovedBack: a consumer of ours that lost its partition cannot move another SDK's position back.
func TestAPeersPositionIsNotMovedBack(t *testing.T) {
	for _, peer := range peers() {
		t.Run(peer.name, func(t *testing.T) {
			peer.need(t)
			tc, s := newContainer(t), capitals()
			us, theirs := oursBeside(peer).consumer(t, tc, s), peer.consumer(t, tc, s)
			us.win(us.first("0"))
			us.update("0", 10)
			theirs.win(theirs.owned()["0"])
			theirs.update("0", 20)
			err := us.store.UpdateCheckpoint(t.Context(), us.at("0", 15), nil)
			require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 20)}, theirs.checkpoints())
			us.update("0", 25) // ahead of it: an update does not read the ownership
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 25)}, theirs.checkpoints())
		})
	}
}
