package ops_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

func planClean(t *testing.T, store ops.Store, o ops.CleanOptions) *ops.Plan {
	t.Helper()
	plan, err := ops.PlanClean(ctx, store, scope, o)
	require.NoError(t, err)
	return plan
}

func TestCleanPartitionsThatTheHubDoesNotHave(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		owner, store := open(), open()
		claim(t, owner, "alice", "0", "8", "9")
		claim(t, owner, "", "9")
		for _, id := range []string{"0", "7", "8", "9"} {
			checkpoint(t, owner, id, 5)
		}
		hub := newHub(map[string]fakePartition{"0": {}, "1": {}})
		plan := planClean(t, store, ops.CleanOptions{Hub: hub})
		require.Equal(t, []ops.Skipped{{Name: "8", Why: "it has a live owner"}}, plan.Skipped)
		result, err := ops.Apply(ctx, store, plan, nil)
		require.NoError(t, err)
		require.Equal(t, []ops.ChangeResult{{PartitionID: "7", Done: true}, {PartitionID: "9", Done: true}}, result.Changes)
		require.Equal(t, map[string]int64{"0": 5, "8": 5}, positions(t, store))
		require.Nil(t, read(t, store).Partition("9").Ownership)
		require.Empty(t, planClean(t, store, ops.CleanOptions{Hub: hub}).Changes)
		result, err = ops.Apply(ctx, store, plan, nil)
		require.NoError(t, err, "what is gone is gone")
		require.True(t, result.Changes[0].Done)
	})
}

func TestCleanAGroupWithoutLife(t *testing.T) {
	now := noon
	store := memstore.NewWithClock(func() time.Time { return now })
	claim(t, store, "alice", "0", "1")
	now = now.Add(time.Hour)
	checkpoint(t, store, "0", 5)
	now = now.Add(24 * time.Hour)
	require.Empty(t, planClean(t, store, ops.CleanOptions{Unused: 24*time.Hour + 1}).Changes)
	plan := planClean(t, store, ops.CleanOptions{Unused: 24 * time.Hour})
	golden(t, "plans/gc-unused.txt", describePlan(plan))
	_, err := ops.Apply(ctx, store, plan, nil)
	require.NoError(t, err)
	require.Empty(t, read(t, store).Partitions)

	claim(t, store, "alice", "0")
	plan = planClean(t, store, ops.CleanOptions{Unused: 1})
	require.Empty(t, plan.Changes)
	now = now.Add(time.Second)
	plan = planClean(t, store, ops.CleanOptions{Unused: 1})
	require.Equal(t, []ops.Skipped{{Name: "0", Why: "it has a live owner"}}, plan.Skipped)
}

func TestCleanTheOtherSpelling(t *testing.T) {
	service := fakeblob.New()
	store := blobStore(t, service.Client(), nil)
	service.SetClock(sequence())
	old := func(id string, n int64) { putCheckpoint(service, typedPrefix, id, n) }
	own := func(id string, n int64) { putCheckpoint(service, lowerPrefix, id, n) }
	old("0", 5) // behind
	own("0", 7)
	own("1", 7) // behind, but it counts
	old("1", 5)
	old("2", 7) // ahead
	own("2", 5)
	old("3", 5) // the only one
	service.Put(typedPrefix+"ownership/4", map[string]string{"ownerid": ""})
	own("5", 1)
	old("6", 1)
	own("6", 2)
	service.Put(typedPrefix+"ownership/6", map[string]string{"ownerid": "bob"})
	plan := planClean(t, store, ops.CleanOptions{OtherSpelling: true})
	golden(t, "plans/gc-other-spelling.txt", describePlan(plan))
	before := positions(t, store)
	_, err := ops.Apply(ctx, store, plan, nil)
	require.NoError(t, err)
	require.Equal(t, before, positions(t, store), "the positions that count are the same")
	require.NotContains(t, service.Names(), typedPrefix+"checkpoint/0")
	require.NotContains(t, service.Names(), typedPrefix+"ownership/4")
	require.Contains(t, service.Names(), typedPrefix+"checkpoint/1")

	// Both spellings of a partition that is gone.
	plan = planClean(t, store, ops.CleanOptions{Hub: newHub(map[string]fakePartition{"6": {}})})
	_, err = ops.Apply(ctx, store, plan, nil)
	require.NoError(t, err)
	require.Equal(t, []string{typedPrefix + "checkpoint/6", typedPrefix + "ownership/6", lowerPrefix + "checkpoint/6"}, service.Names())
}

// After a move, the consumers run under the store's own spelling while the other one
// is cleaned.
func TestCleanTheOtherSpellingBesideLiveOwners(t *testing.T) {
	service := fakeblob.New()
	store := blobStore(t, service.Client(), nil)
	service.SetClock(sequence())
	putCheckpoint(service, typedPrefix, "0", 5)
	service.Put(typedPrefix+"ownership/0", map[string]string{"ownerid": ""})
	putCheckpoint(service, lowerPrefix, "0", 7)
	service.Put(lowerPrefix+"ownership/0", map[string]string{"ownerid": "alice"})
	plan := planClean(t, store, ops.CleanOptions{OtherSpelling: true})
	_, err := ops.Apply(ctx, store, plan, nil)
	require.NoError(t, err)
	require.Equal(t, []string{lowerPrefix + "checkpoint/0", lowerPrefix + "ownership/0"}, service.Names())
}

func TestCleaningIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, s ops.Store)
		is      error
	}{
		"an owner comes alive":        {func(t *testing.T, s ops.Store) { claim(t, s, "bob", "8") }, ops.ErrLive},
		"an owner comes and goes":     {func(t *testing.T, s ops.Store) { claim(t, s, "bob", "8"); claim(t, s, "", "8") }, ops.ErrOutdated},
		"a first owner comes alive":   {func(t *testing.T, s ops.Store) { claim(t, s, "bob", "9") }, ops.ErrLive},
		"a first owner came and went": {func(t *testing.T, s ops.Store) { claim(t, s, "bob", "9"); claim(t, s, "", "9") }, ops.ErrOutdated},
		"a checkpoint lands":          {func(t *testing.T, s ops.Store) { checkpoint(t, s, "9", 6) }, ops.ErrOutdated},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			claim(t, store, "alice", "8")
			claim(t, store, "", "8")
			checkpoint(t, store, "8", 5)
			checkpoint(t, store, "9", 5)
			plan := planClean(t, store, ops.CleanOptions{Hub: newHub(map[string]fakePartition{"0": {}})})
			require.Len(t, plan.Changes, 2)
			c.between(t, store.Share())
			want := len(positions(t, store))
			_, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
			require.ErrorIs(t, err, c.is)
			require.Len(t, positions(t, store), want, "nothing is half done")
		})
	}
	t.Run("while it is carried out", func(t *testing.T) {
		store, service := fakeStore(t)
		claim(t, store, "alice", "8")
		claim(t, store, "", "8")
		checkpoint(t, store, "8", 5)
		plan := planClean(t, store, ops.CleanOptions{Hub: newHub(map[string]fakePartition{"0": {}})})
		service.Inject(faults.RunBefore(func() {
			service.Put(lowerPrefix+"ownership/8", map[string]string{"ownerid": "bob"})
		}).On(faults.OpIs(faults.DeleteBlob)).Once())
		result, err := ops.Apply(ctx, store, plan, nil)
		require.ErrorIs(t, err, checkpointstore.ErrRecordChanged)
		require.False(t, result.Changes[0].Done)
		require.Equal(t, map[string]int64{"8": 5}, positions(t, store), "the checkpoint stays with its new owner")
	})
	t.Run("a plan that cannot be made", func(t *testing.T) {
		_, err := ops.PlanClean(ctx, memstore.New(), scope, ops.CleanOptions{})
		require.ErrorContains(t, err, "nothing to look for")
		_, err = ops.PlanClean(ctx, memstore.New(), scope, ops.CleanOptions{Hub: newHub(nil)})
		require.ErrorContains(t, err, "no partitions")
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = ops.PlanClean(ended, memstore.New(), scope, ops.CleanOptions{Unused: 1})
		require.ErrorIs(t, err, context.Canceled)
	})
}
