package interop_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestMatrixOwnership has each peer and ours claim what the other one owns, in every way in which consumers do.
func TestMatrixOwnership(t *testing.T) {
	for _, s := range []scope{lowerCase(), capitals()} {
		t.Run(s.String(), func(t *testing.T) {
			tbl := newTable("ownership "+s.String(), "owner", "claimant", "sees it", "without an ETag", "on an old ETag",
				"renews on the listed ETag", "after relinquishing", "after expiry", "then the old owner renews")
			for _, pair := range pairs() {
				row := []string{pair.owner.name, pair.claimant.name, off, off, off, off, off, off, off}
				t.Run(pair.claimant.name+" claims of "+pair.owner.name, func(t *testing.T) {
					pair.owner.need(t)
					pair.claimant.need(t)
					tc := newContainer(t)
					owner, claimant := pair.owner.consumer(t, tc, s), pair.claimant.consumer(t, tc, s)
					row = append(row[:2], takeOver(t, tc, owner, claimant)...)
				})
				tbl.add(row...)
			}
			tbl.check(t)
		})
	}
}

type pair struct{ owner, claimant sdk }

// pairs returns each peer with ours, with our defaults and, for a peer that writes names as typed, with BlobNamingVerbatim.
func pairs() []pair {
	var all []pair
	for _, p := range peers() {
		all = append(all, pair{ours(), p}, pair{p, ours()})
		if p.keepsTyped() {
			all = append(all, pair{oursVerbatim(), p}, pair{p, oursVerbatim()})
		}
	}
	return all
}

// takeOver returns the cells of one pair. The claimant claims partitions of another consumer, one partition in each way.
func takeOver(t *testing.T, tc testContainer, owner, claimant consumer) []string {
	t.Helper()
	const blindly, late, renewed, relinquished, expired = "0", "1", "2", "3", "4"
	held := make(map[string]checkpointstore.Ownership)
	for _, o := range owner.claim(owner.owner, owner.first(blindly), owner.first(late), owner.first(renewed), owner.first(relinquished), owner.first(expired)) {
		held[o.PartitionID] = o
	}
	require.Len(t, held, 5)
	if !owner.sdk.shares(owner.scope, claimant.sdk) {
		return twoOwners(t, tc, owner, claimant)
	}
	cells := []string{"yes"}
	listed := claimant.owned()
	for partition := range held {
		require.Equal(t, owner.owner, listed[partition].OwnerID)
	}
	add := func(want, won bool) {
		t.Helper()
		require.Equal(t, want, won, "won")
		cells = append(cells, map[bool]string{true: "wins", false: "loses"}[won])
	}

	add(claimant.sdk.overwritesOwner, claimant.wins(claimant.first(blindly)))

	held[late] = owner.win(held[late])
	add(false, claimant.wins(listed[late]))

	add(true, len(claimant.claim(owner.owner, listed[renewed])) == 1)
	require.False(t, owner.wins(held[renewed]), "on the ETag before that")

	owner.relinquish(held[relinquished])
	free := claimant.owned()[relinquished]
	require.Empty(t, free.OwnerID)
	add(true, claimant.wins(free))
	require.Equal(t, claimant.owner, owner.owners()[relinquished])

	// The claimant decides whether an ownership has expired, from the time of the last claim that it lists.
	written := tc.modified(t, owner.sdk.writes(owner.scope).blob("ownership", expired))
	require.Equal(t, written.Unix(), listed[expired].LastModifiedTime.Unix())
	add(true, claimant.wins(listed[expired]))
	add(false, owner.wins(held[expired]))
	require.Equal(t, claimant.owner, owner.owners()[expired])
	return cells
}

// twoOwners returns the cells of a pair with two spellings of the names: both own each partition. Ours logs a warning, once.
func twoOwners(t *testing.T, tc testContainer, owner, claimant consumer) []string {
	t.Helper()
	sees := "no"
	require.Empty(t, claimant.owned())
	if claimant.sdk.name == ours().name {
		listUntilWarned(t, tc, claimant)
		require.Equal(t, 1, tc.warnings(), tc.log)
		require.Contains(t, tc.log.String(), owner.owner)
		require.Contains(t, tc.log.String(), "theirs="+owner.scope.blob("ownership", ""))
		require.Contains(t, tc.log.String(), "ours="+lower(claimant.scope).blob("ownership", ""))
		sees = "no, and warns"
	}
	claimant.win(claimant.first("0"))
	require.Equal(t, claimant.owner, claimant.owners()["0"])
	require.Equal(t, owner.owner, owner.owners()["0"])
	if owner.sdk.name == ours().name {
		listUntilWarned(t, tc, owner)
		require.Equal(t, 1, tc.warnings(), "the owner logs it, once: %s", tc.log)
	}
	return []string{sees, "wins: two owners", "-", "-", "-", "-", "-"}
}

// listUntilWarned lists ownerships until there is a warning. The list of owners under other names never delays a list: it ends
// with the list, and is sent again with the next one if it did not complete.
func listUntilWarned(t *testing.T, tc testContainer, us consumer) {
	t.Helper()
	for range 1000 {
		if tc.warnings() > 0 {
			return
		}
		us.owned()
	}
	t.Fatal("1000 lists without a warning")
}
