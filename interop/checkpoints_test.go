package interop_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestAFleetMovesOver replaces each peer's consumers by ours, and goes back, at names of which some differ in case.
func TestAFleetMovesOver(t *testing.T) {
	for _, peer := range peers() {
		for _, s := range scopes() {
			t.Run(peer.name+" "+s.String(), func(t *testing.T) {
				peer.need(t)
				b := newBox(t)
				theirs := peer.sit(t, b, s)
				theirs.update("0", 100)
				theirs.update("1", 110)

				us := ours().sit(t, b, s)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, us.checkpoints(), "goes on where it was")
				us.update("0", 200)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, us.checkpoints(), "ours is newer")
				again := ours().sit(t, b, s)
				require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, again.checkpoints(), "after a restart")

				if peer.shares(s, ours()) {
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 200), us.at("1", 110)}, theirs.checkpoints(), "and back")
				} else {
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, theirs.checkpoints(), "the way back is not open by itself")
					require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 100), us.at("1", 110)}, oursVerbatim().sit(t, b, s).checkpoints())
				}
			})
		}
	}
}

// TestTheNewerSpellingIsReturned moves back and forth between ours and each store that keeps names as typed: the record
// modified last counts, also if its position is behind.
func TestTheNewerSpellingIsReturned(t *testing.T) {
	for _, peer := range peers() {
		if !peer.keepsTyped() {
			continue
		}
		t.Run(peer.name, func(t *testing.T) {
			peer.need(t)
			b, s := newBox(t), capitals()
			theirs, us := peer.sit(t, b, s), ours().sit(t, b, s)
			theirs.update("0", 500)
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 500)}, us.checkpoints())
			us.rewind("0", 20) // on a tie of the seconds ours counts
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 20)}, us.checkpoints())

			written := b.modified(t, lower(s).blob("checkpoint", "0"))
			for !b.modified(t, s.blob("checkpoint", "0")).After(written) { // it counts in seconds
				time.Sleep(20 * time.Millisecond)
				theirs.update("0", 10)
			}
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 10)}, us.checkpoints())
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 20)}, oursIgnoring().sit(t, b, s).checkpoints())
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 10)}, theirs.checkpoints())
		})
	}
}

// TestWithoutAnOffset stores a position of a sequence number only: nobody's list fails over it. Some peers give a text
// for the offset that is not there; one that they write back is none for us.
func TestWithoutAnOffset(t *testing.T) {
	for _, peer := range peers() {
		t.Run(peer.name, func(t *testing.T) {
			peer.need(t)
			b, s := newBox(t), capitals()
			us, theirs := oursBeside(peer).sit(t, b, s), peer.sit(t, b, s)
			us.update("0", 10)
			us.put(us.checkpoint("1", to.Ptr[int64](20), nil))
			require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 10), us.checkpoint("1", to.Ptr[int64](20), peer.none)}, theirs.checkpoints())
			require.ElementsMatch(t, []checkpointstore.Checkpoint{us.at("0", 10), us.checkpoint("1", to.Ptr[int64](20), nil)}, us.checkpoints())

			theirs.put(theirs.checkpoint("0", to.Ptr[int64](30), peer.none)) // it writes back what it read
			theirs.update("1", 40)
			require.ElementsMatch(t, []checkpointstore.Checkpoint{us.checkpoint("0", to.Ptr[int64](30), nil), us.at("1", 40)}, us.checkpoints())
		})
	}
}

// TestAPeersPositionIsNotMovedBack has our consumer lose its partition to a peer's, and then write once more.
func TestAPeersPositionIsNotMovedBack(t *testing.T) {
	for _, peer := range peers() {
		t.Run(peer.name, func(t *testing.T) {
			peer.need(t)
			b, s := newBox(t), capitals()
			us, theirs := oursBeside(peer).sit(t, b, s), peer.sit(t, b, s)
			us.win(us.first("0"))
			us.update("0", 10)
			theirs.win(theirs.owned()["0"])
			theirs.update("0", 20)
			err := us.store.UpdateCheckpoint(t.Context(), us.at("0", 15), nil)
			require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 20)}, theirs.checkpoints())
			us.update("0", 25) // ahead of it: an update does not look at the ownership
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 25)}, theirs.checkpoints())
		})
	}
}
