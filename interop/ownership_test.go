package interop_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestPartitionsChangeHands has our consumer and a peer's take partitions from each other, by claims on what a list
// shows, and relinquish them to each other.
func TestPartitionsChangeHands(t *testing.T) {
	for _, peer := range peers() {
		for _, s := range scopes() {
			t.Run(peer.name+" "+s.String(), func(t *testing.T) {
				peer.need(t)
				b := newBox(t)
				theirs, us := peer.sit(t, b, s), oursBeside(peer).sit(t, b, s)

				held := theirs.claim(theirs.first("0", "1")...)
				require.Len(t, held, 2)
				require.Equal(t, map[string]string{"0": theirs.owner, "1": theirs.owner}, us.owners(), "we see what it claimed")
				mine := us.win(us.owned()["0"])
				theirs.lose(held[0])
				require.Equal(t, map[string]string{"0": us.owner, "1": theirs.owner}, theirs.owners(), "it sees what we took over")
				us.lose(us.first("1")[0])

				mine = us.win(mine)
				taken := theirs.win(theirs.owned()["0"])
				us.lose(mine)
				require.Equal(t, map[string]string{"0": theirs.owner, "1": theirs.owner}, us.owners(), "we see what it took over")

				theirs.relinquish(taken)
				require.Equal(t, map[string]string{"0": "", "1": theirs.owner}, us.owners(), "we see what it relinquished")
				mine = us.win(us.owned()["0"])

				us.relinquish(mine)
				require.Equal(t, map[string]string{"0": "", "1": theirs.owner}, theirs.owners(), "it sees what we relinquished, and the rest")
				us.lose(mine)
				theirs.win(theirs.owned()["0"])
				require.Equal(t, map[string]string{"0": theirs.owner, "1": theirs.owner}, us.owners())

				theirs.win(us.owned()["1"]) // its own, on the ETag in our form
				us.win(theirs.owned()["1"])
			})
		}
	}
}

// TestTwoSpellingsAreTwoOwners: with our defaults the official store and ours do not see each other's owners where the
// names as typed are not in lower case. We say so.
func TestTwoSpellingsAreTwoOwners(t *testing.T) {
	const warning = "level=WARN"
	for _, c := range []struct {
		name    string
		peer    party
		scope   scope
		options checkpointstore.BlobCheckpointStoreOptions
		before  func(seat)
		sees    bool
		warns   bool
	}{
		{"official Go owns under $Default", officialGo(), scope{"myhub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{}, owns, false, true},
		{"official Go owns under MyHub/$Default", officialGo(), scope{"MyHub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{}, owns, false, true},
		{"official Go relinquished", officialGo(), scope{"myhub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{}, owned, false, false},
		{"official Go owns under lower case", officialGo(), scope{"myhub", "mygroup"}, checkpointstore.BlobCheckpointStoreOptions{}, owns, true, false},
		{"official Go owns and we are verbatim", officialGo(), scope{"myhub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim}, owns, true, false},
		{"official Go owns and we were told to ignore it", officialGo(), scope{"myhub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{IgnoreVerbatimNames: true}, owns, false, false},
		{"JavaScript owns", peers()[1], scope{"MyHub", "$Default"}, checkpointstore.BlobCheckpointStoreOptions{}, owns, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			theirs := c.peer.sit(t, b, c.scope)
			c.before(theirs)
			var log bytes.Buffer
			c.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			us := oursWith("ours", &c.options, party{}).sit(t, b, c.scope)
			require.Equal(t, c.sees, len(us.owned()) == 1)
			require.Equal(t, c.warns, strings.Contains(log.String(), warning), log.String())
			if c.warns {
				require.Contains(t, log.String(), theirs.owner)
				require.Contains(t, log.String(), "theirs="+c.scope.blob("ownership", ""))
				require.Contains(t, log.String(), "ours="+c.scope.lower().blob("ownership", ""))
				us.win(us.first("0")[0])
				require.Equal(t, map[string]string{"0": theirs.owner}, theirs.owners(), "two owners")
				require.Equal(t, map[string]string{"0": us.owner}, us.owners(), "two owners")
				require.Equal(t, 1, strings.Count(log.String(), warning), "not in every round")
			}
		})
	}
}

func owns(s seat) { s.win(s.first("0")[0]) }

func owned(s seat) { s.relinquish(s.win(s.first("0")[0])) }
