package interop_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestMatrixOwnership has each peer and ours take what the other one owns, in every way in which a consumer tries to.
func TestMatrixOwnership(t *testing.T) {
	for _, s := range []scope{lowerCase(), capitals()} {
		t.Run(s.String(), func(t *testing.T) {
			tb := newTable("ownership "+s.String(), "owner", "claimant", "sees it", "without an ETag", "on an old ETag",
				"renews on the listed ETag", "after relinquishing", "after expiry", "then the old owner renews")
			for _, pair := range pairs() {
				row := []string{pair.owner.name, pair.claimant.name, off, off, off, off, off, off, off}
				t.Run(pair.claimant.name+" claims of "+pair.owner.name, func(t *testing.T) {
					pair.owner.need(t)
					pair.claimant.need(t)
					b := newBox(t)
					owner, claimant := pair.owner.sit(t, b, s), pair.claimant.sit(t, b, s)
					row = append(row[:2], takeOver(t, b, owner, claimant)...)
				})
				tb.add(row...)
			}
			tb.check(t)
		})
	}
}

type pair struct{ owner, claimant party }

// pairs are each peer and ours, with its defaults and, beside a peer that keeps names as typed, with verbatim names.
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

// takeOver returns the cells of one pair: what a claimant does to partitions that another consumer owns, each of the
// ways at a partition of its own.
func takeOver(t *testing.T, b box, owner, claimant seat) []string {
	t.Helper()
	const blindly, late, renewed, relinquished, expired = "0", "1", "2", "3", "4"
	held := make(map[string]checkpointstore.Ownership)
	for _, o := range owner.claim(owner.owner, owner.first(blindly), owner.first(late), owner.first(renewed), owner.first(relinquished), owner.first(expired)) {
		held[o.PartitionID] = o
	}
	require.Len(t, held, 5)
	if !owner.party.shares(owner.scope, claimant.party) {
		return twoOwners(t, b, owner, claimant)
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

	add(claimant.party.blind, claimant.wins(claimant.first(blindly)))

	held[late] = owner.win(held[late])
	add(false, claimant.wins(listed[late]))

	add(true, len(claimant.claim(owner.owner, listed[renewed])) == 1)
	require.False(t, owner.wins(held[renewed]), "on the ETag before that")

	owner.relinquish(held[relinquished])
	free := claimant.owned()[relinquished]
	require.Empty(t, free.OwnerID)
	add(true, claimant.wins(free))
	require.Equal(t, claimant.owner, owner.owners()[relinquished])

	// When an ownership has expired is for the claimant to say, from what it lists as the time of the last claim.
	written := b.modified(t, owner.party.writes(owner.scope).blob("ownership", expired))
	require.Equal(t, written.Unix(), listed[expired].LastModifiedTime.Unix())
	add(true, claimant.wins(listed[expired]))
	add(false, owner.wins(held[expired]))
	require.Equal(t, claimant.owner, owner.owners()[expired])
	return cells
}

// twoOwners returns the cells of a pair that spells the names in two ways: both own each partition. Ours says so.
func twoOwners(t *testing.T, b box, owner, claimant seat) []string {
	t.Helper()
	sees := "no"
	require.Empty(t, claimant.owned())
	if claimant.party.name == ours().name {
		listUntilWarned(t, b, claimant)
		require.Equal(t, 1, b.warnings(), b.log)
		require.Contains(t, b.log.String(), owner.owner)
		sees = "no, and warns"
	}
	claimant.win(claimant.first("0"))
	require.Equal(t, claimant.owner, claimant.owners()["0"])
	require.Equal(t, owner.owner, owner.owners()["0"])
	if owner.party.name == ours().name {
		listUntilWarned(t, b, owner)
		require.Equal(t, 1, b.warnings(), "the owner is warned of it, once: %s", b.log)
	}
	return []string{sees, "wins: two owners", "-", "-", "-", "-", "-"}
}
