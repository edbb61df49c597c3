package interop_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestWeWarnOfOwnersUnderTheNamesAsTyped: with our defaults, a peer that keeps names as typed and ours do not see each
// other's owners where the names differ in case. We say so, if there is one alive.
func TestWeWarnOfOwnersUnderTheNamesAsTyped(t *testing.T) {
	defaultGroup := scope{lowerNamespace, "myhub", "$Default"}
	owns := func(s seat) { s.win(s.first("0")) }
	owned := func(s seat) { s.relinquish(s.win(s.first("0"))) }
	for _, peer := range peers() {
		typed := peer.keepsTyped()
		for _, c := range []struct {
			name   string
			scope  scope
			us     party
			before func(seat)
			sees   bool
			warns  bool
		}{
			{"owns under $Default", defaultGroup, ours(), owns, !typed, typed},
			{"owns under capitals", capitals(), ours(), owns, !typed, typed},
			{"relinquished", defaultGroup, ours(), owned, !typed, false},
			{"owns under lower case", lowerCase(), ours(), owns, true, false},
			{"owns and we are verbatim", defaultGroup, oursVerbatim(), owns, typed, false},
			{"owns and we were told to ignore it", defaultGroup, oursIgnoring(), owns, !typed, false},
		} {
			t.Run(peer.name+" "+c.name, func(t *testing.T) {
				peer.need(t)
				b := newBox(t)
				theirs := peer.sit(t, b, c.scope)
				c.before(theirs)
				us := c.us.sit(t, b, c.scope)
				require.Equal(t, c.sees, len(us.owned()) == 1)
				if !c.warns {
					require.Zero(t, b.warnings(), b.log)
					return
				}
				listUntilWarned(t, b, us)
				us.owned()
				require.Equal(t, 1, b.warnings(), "not in every round: %s", b.log)
				require.Contains(t, b.log.String(), theirs.owner)
				require.Contains(t, b.log.String(), "theirs="+c.scope.blob("ownership", ""))
				require.Contains(t, b.log.String(), "ours="+lower(c.scope).blob("ownership", ""))
			})
		}
	}
}

// TestTheNamesAsTypedAreReadBesideALiveOwner: a consumer of ours that starts beside one that keeps names as typed goes
// on from its checkpoints, and says who else reads the partitions.
func TestTheNamesAsTypedAreReadBesideALiveOwner(t *testing.T) {
	for _, peer := range peers() {
		if !peer.keepsTyped() {
			continue
		}
		t.Run(peer.name, func(t *testing.T) {
			peer.need(t)
			b, s := newBox(t), capitals()
			theirs, us := peer.sit(t, b, s), ours().sit(t, b, s)
			theirs.win(theirs.first("0"))
			theirs.update("0", 100)
			require.Empty(t, us.owned())
			listUntilWarned(t, b, us)
			require.Contains(t, b.log.String(), theirs.owner)
			require.Equal(t, []checkpointstore.Checkpoint{us.at("0", 100)}, us.checkpoints())
		})
	}
}

// listUntilWarned lists ownerships until there is a warning. The look for owners under other names never delays a list:
// it ends with the list, and takes place again with the next one if it was not completed.
func listUntilWarned(t *testing.T, b box, us seat) {
	t.Helper()
	for range 1000 {
		if b.warnings() > 0 {
			return
		}
		us.owned()
	}
	t.Fatal("1000 lists without a warning")
}
