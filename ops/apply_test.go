package ops_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

// hooked is a store on which something happens before calls. The hooks get the number
// of the call, from 1.
type hooked struct {
	ops.Store
	claims, records int

	beforeClaim, beforeRecords func(n int)
}

func (h *hooked) ClaimOwnership(ctx context.Context, o []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	h.claims++
	if h.beforeClaim != nil {
		h.beforeClaim(h.claims)
	}
	return h.Store.ClaimOwnership(ctx, o, options)
}

func (h *hooked) ListRecords(ctx context.Context, namespace, hub, group string, options *checkpointstore.ListRecordsOptions) ([]checkpointstore.ScopeRecords, error) {
	h.records++
	if h.beforeRecords != nil {
		h.beforeRecords(h.records)
	}
	return h.Store.ListRecords(ctx, namespace, hub, group, options)
}

// planTo is a plan to move partitions to event n, which is handled.
func planTo(t *testing.T, store ops.Store, n int64, partitions ...string) *ops.Plan {
	t.Helper()
	plan, err := ops.PlanReset(ctx, store, nil, scope, ops.ToPosition(ops.Position{SequenceNumber: n, Offset: offsetOf(n)}), &ops.ResetOptions{Partitions: partitions})
	require.NoError(t, err)
	require.Len(t, plan.Changes, len(partitions))
	return plan
}

func TestApplyAReset(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		old, store := open(), open()
		claim(t, old, "alice", "0", "1")
		checkpoint(t, old, "0", 50)
		checkpoint(t, old, "1", 50)
		checkpoint(t, old, "2", 7)
		claim(t, old, "", "0", "1")

		plan := planTo(t, store, 10, "0", "1", "3")
		plan.Changes[0].After.EnqueuedTime = &noon
		var backup *ops.Export
		result, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Backup: func(e *ops.Export) error {
			require.Equal(t, map[string]int64{"0": 50, "1": 50, "2": 7}, positions(t, store), "before anything is changed")
			require.Equal(t, ops.Relinquished, read(t, store).Partition("0").State)
			backup = e
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, []ops.ChangeResult{{PartitionID: "0", Done: true}, {PartitionID: "1", Done: true}, {PartitionID: "3", Done: true}}, result.Changes)
		require.Equal(t, map[string]int64{"0": 10, "1": 10, "2": 7, "3": 10}, positions(t, store))
		requireFree(t, store, "0", "1", "3")
		s := read(t, store)
		require.Equal(t, "1000", s.Partition("0").Position().Offset)
		require.Equal(t, &noon, s.Partition("0").Position().EnqueuedTime)
		require.Equal(t, int64(1), s.Partition("0").Checkpoint.Generation)

		// A late checkpoint of the owner of before.
		require.ErrorIs(t, old.UpdateCheckpoint(ctx, record("0", 51), nil), checkpointstore.ErrRewound)
		// The next owner goes on.
		next := open()
		claim(t, next, "bob", "0")
		_, err = next.ListCheckpoints(ctx, scope.FullyQualifiedNamespace, scope.EventHubName, scope.ConsumerGroup, nil)
		require.NoError(t, err)
		checkpoint(t, next, "0", 11)
		claim(t, next, "", "0")

		// Back again, from the backup.
		plan, err = ops.PlanImport(ctx, store, scope, backup, &ops.ImportOptions{Lower: true})
		require.NoError(t, err)
		_, err = ops.Apply(ctx, store, plan, nil)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 50, "1": 50, "2": 7, "3": 10}, positions(t, store))
	})
}

func TestApplyTakesPartitionsFromLiveOwnersOnlyWhenAsked(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		owner, store := open(), open()
		claim(t, owner, "alice", "0", "1")
		checkpoint(t, owner, "0", 50)
		plan := planTo(t, store, 10, "0", "1")
		require.Contains(t, plan.Changes[0].Warnings[0], `owner "alice" is live`)
		_, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Backup: func(*ops.Export) error { t.Error("no need"); return nil }})
		require.ErrorIs(t, err, ops.ErrLive)
		require.ErrorContains(t, err, "nothing was changed")
		require.Equal(t, map[string]int64{"0": 50}, positions(t, store))

		// The owner goes on, and renews: that does not outdate the plan.
		checkpoint(t, owner, "0", 60)
		claim(t, owner, "alice", "0", "1")
		result, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
		require.NoError(t, err)
		require.True(t, result.Changes[0].Done && result.Changes[1].Done)
		require.Equal(t, map[string]int64{"0": 10, "1": 10}, positions(t, store))
		requireFree(t, store, "0", "1")
		for _, partition := range []string{"0", "1"} {
			require.ErrorIs(t, owner.UpdateCheckpoint(ctx, record(partition, 61), nil), checkpointstore.ErrRewound)
		}
		require.Equal(t, map[string]int64{"0": 10, "1": 10}, positions(t, store))
	})
}

func TestApplyRefusesAnOutdatedPlan(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, owner ops.Store)
		is      error
		release bool
	}{
		"a checkpoint":              {func(t *testing.T, o ops.Store) { checkpoint(t, o, "1", 51) }, ops.ErrOutdated, true},
		"a first checkpoint":        {func(t *testing.T, o ops.Store) { checkpoint(t, o, "2", 1) }, ops.ErrOutdated, true},
		"a rewind":                  {func(t *testing.T, o ops.Store) { rewind(t, o, "1", 50) }, ops.ErrOutdated, true},
		"a live owner":              {func(t *testing.T, o ops.Store) { claim(t, o, "bob", "1") }, ops.ErrLive, false},
		"a live owner that rewound": {func(t *testing.T, o ops.Store) { claim(t, o, "bob", "1"); rewind(t, o, "1", 3) }, ops.ErrOutdated, true},
		"a deleted checkpoint": {func(t *testing.T, o ops.Store) {
			require.NoError(t, o.DeleteCheckpoint(ctx, *read(t, o).Partition("1").Checkpoint, nil))
		}, ops.ErrOutdated, true},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			checkpoint(t, store, "0", 50)
			checkpoint(t, store, "1", 50)
			plan := planTo(t, store, 10, "0", "1", "2")
			c.between(t, store.Share())
			before := positions(t, store)
			_, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: c.release, Backup: func(*ops.Export) error { t.Error("no need"); return nil }})
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, "nothing was changed")
			require.Equal(t, before, positions(t, store))
		})
	}
	t.Run("changed by hand", func(t *testing.T) {
		store := memstore.New()
		plan := planTo(t, store, 10, "0", "1")
		plan.Changes[1].After.Offset = ""
		_, err := ops.Apply(ctx, store, plan, nil)
		require.ErrorContains(t, err, "no offset")
		require.Empty(t, positions(t, store))
	})
	t.Run("behind meanwhile, and not a rewind", func(t *testing.T) {
		store := memstore.New()
		claim(t, store, "alice", "0")
		plan, err := ops.PlanImport(ctx, store, scope, &ops.Export{Checkpoints: []ops.ExportCheckpoint{exported("0", 40)}}, nil)
		require.NoError(t, err)
		checkpoint(t, store, "0", 41)
		_, err = ops.Apply(ctx, store.Share(), plan, &ops.ApplyOptions{Release: true})
		require.ErrorIs(t, err, ops.ErrOutdated)
		require.Equal(t, map[string]int64{"0": 41}, positions(t, store))
	})
	t.Run("nothing to do", func(t *testing.T) {
		result, err := ops.Apply(ctx, nil, &ops.Plan{Kind: ops.PlanToReset}, nil)
		require.NoError(t, err)
		require.Empty(t, result.Changes)
	})
}

func TestApplyIsRefusedInTheMiddle(t *testing.T) {
	for name, c := range map[string]struct {
		hook func(t *testing.T, h *hooked, other ops.Store)
		is   error
		want map[string]int64
	}{
		"an owner comes alive before the claims": {func(t *testing.T, h *hooked, other ops.Store) {
			h.beforeClaim = func(n int) {
				if n == 1 {
					claim(t, other, "bob", "1")
				}
			}
		}, ops.ErrOutdated, map[string]int64{"0": 50, "1": 50}},
		"a checkpoint lands before the claims": {func(t *testing.T, h *hooked, other ops.Store) {
			h.beforeClaim = func(n int) {
				if n == 1 {
					checkpoint(t, other, "1", 51)
				}
			}
		}, ops.ErrOutdated, map[string]int64{"0": 50, "1": 51}},
		"a checkpoint lands after the claims": {func(t *testing.T, h *hooked, other ops.Store) {
			h.beforeRecords = func(n int) {
				if n == 2 {
					checkpoint(t, other, "2", 1)
				}
			}
		}, ops.ErrOutdated, map[string]int64{"0": 50, "1": 50, "2": 1}},
		"a partition is taken over after the claims": {func(t *testing.T, h *hooked, other ops.Store) {
			h.beforeRecords = func(n int) {
				if n == 2 {
					claim(t, other, "bob", "1")
				}
			}
		}, ops.ErrOutdated, map[string]int64{"0": 50, "1": 50}},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			checkpoint(t, store, "0", 50)
			checkpoint(t, store, "1", 50)
			h := &hooked{Store: store.Share()}
			plan := planTo(t, store, 10, "0", "1", "2")
			c.hook(t, h, store.Share())
			result, err := ops.Apply(ctx, h, plan, nil)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, "nothing was changed")
			require.Nil(t, result)
			require.Equal(t, c.want, positions(t, store))
			for _, p := range read(t, store).Partitions {
				if p.State == ops.Live {
					require.Equal(t, "bob", p.Ownership.OwnerID, "partition %s", p.ID)
				}
			}
		})
	}
}

func TestABackupThatFailsChangesNothing(t *testing.T) {
	store := memstore.New()
	checkpoint(t, store, "0", 50)
	full := errors.New("disk full")
	_, err := ops.Apply(ctx, store, planTo(t, store, 10, "0"), &ops.ApplyOptions{Backup: func(*ops.Export) error { return full }})
	require.ErrorIs(t, err, full)
	require.Equal(t, map[string]int64{"0": 50}, positions(t, store))
	require.Nil(t, read(t, store).Partition("0").Ownership)
}

// faulty is a store with partitions 0 to 2 at 50, and a plan to move them to 10.
func faulty(t *testing.T) (ops.Store, *fakeblob.Service, *ops.Plan) {
	t.Helper()
	store, service := fakeStore(t)
	for _, id := range []string{"0", "1", "2"} {
		checkpoint(t, store, id, 50)
	}
	return store, service, planTo(t, store, 10, "0", "1", "2")
}

func TestApplyWithFaultsOfTheStorage(t *testing.T) {
	const ownership, checkpoints = "/ownership/1", "/checkpoint/1"
	broken := faults.Status(500, "InternalError")
	t.Run("a claim fails", func(t *testing.T) {
		store, service, plan := faulty(t)
		remove := service.Inject(broken.On(faults.NameHas(ownership)))
		_, err := ops.Apply(ctx, store, plan, nil)
		remove()
		require.ErrorContains(t, err, "nothing was changed: claiming the partitions")
		require.Equal(t, map[string]int64{"0": 50, "1": 50, "2": 50}, positions(t, store))
		requireFree(t, store, "0", "1", "2")
	})
	t.Run("a claim fails and is carried out", func(t *testing.T) {
		store, service, plan := faulty(t)
		// The write and the read that resolves it fail, until the cleaning up.
		service.Inject(faults.ApplyThenStatus(500, "InternalError").On(faults.NameHas(ownership)).Limit(8))
		_, err := ops.Apply(ctx, store, plan, nil)
		require.Error(t, err)
		require.Equal(t, map[string]int64{"0": 50, "1": 50, "2": 50}, positions(t, store))
		require.Equal(t, ops.Relinquished, read(t, store).Partition("1").State, "it was claimed, and is free")
		requireFree(t, store, "0", "2")
	})
	t.Run("a checkpoint fails", func(t *testing.T) {
		store, service, plan := faulty(t)
		remove := service.Inject(broken.On(faults.NameHas(checkpoints)))
		result, err := ops.Apply(ctx, store, plan, nil)
		remove()
		require.ErrorContains(t, err, "1 of 3 changes failed: partition 1")
		require.Equal(t, []bool{true, false, true}, []bool{result.Changes[0].Done, result.Changes[1].Done, result.Changes[2].Done})
		require.Equal(t, map[string]int64{"0": 10, "1": 50, "2": 10}, positions(t, store))
		requireFree(t, store, "0", "1", "2")
	})
	t.Run("a checkpoint fails and is carried out", func(t *testing.T) {
		store, service, plan := faulty(t)
		// So does the read by which the store would find out, after the two of its start.
		service.Inject(faults.ApplyThenStatus(500, "InternalError").On(faults.All(faults.NameHas(checkpoints), faults.OpIs(faults.SetMetadata))))
		service.Inject(broken.On(after(2, faults.All(faults.NameHas(checkpoints), faults.OpIs(faults.GetProperties)))))
		result, err := ops.Apply(ctx, store, plan, nil)
		require.NoError(t, err, "it was read back")
		require.True(t, result.Changes[1].Done)
		require.Equal(t, map[string]int64{"0": 10, "1": 10, "2": 10}, positions(t, store))
		requireFree(t, store, "0", "1", "2")
	})
	t.Run("a partition cannot be given free", func(t *testing.T) {
		store, service, plan := faulty(t)
		// One claim to take it, then nothing.
		remove := service.Inject(faults.Forbidden().On(faults.All(faults.NameHas(ownership), faults.OpIs(faults.SetMetadata))))
		result, err := ops.Apply(ctx, store, plan, nil)
		remove()
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.ErrorContains(t, err, "may not be free before it expires")
		require.True(t, result.Changes[1].Done)
		require.NoError(t, result.Changes[0].Err)
		requireFree(t, store, "0", "2")
		require.Contains(t, read(t, store).Partition("1").Ownership.OwnerID, "checkpointstore-ops-")
	})
	t.Run("reading back fails", func(t *testing.T) {
		store, service, plan := faulty(t)
		remove := service.Inject(faults.Forbidden().On(after(2*2, faults.OpIs(faults.ListBlobs))))
		result, err := ops.Apply(ctx, store, plan, nil)
		remove()
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.ErrorContains(t, err, "stored, but not read back")
		require.False(t, result.Changes[0].Done)
		require.Equal(t, map[string]int64{"0": 10, "1": 10, "2": 10}, positions(t, store))
		requireFree(t, store, "0", "1", "2")
	})
}

// after picks those of a matcher's requests that come after the first n.
func after(n int, m faults.Matcher) faults.Matcher {
	var first []faults.Matcher
	for i := range n {
		first = append(first, faults.Nth(i+1, m))
	}
	return func(req *http.Request) bool {
		picked := false
		for _, is := range first {
			picked = is(req) || picked
		}
		return m(req) && !picked
	}
}

func TestApplyWithAContextThatEnds(t *testing.T) {
	for name, c := range map[string]struct {
		when  func() faults.Matcher
		moves bool // positions may have been stored by then
	}{
		"in the first read":  {func() faults.Matcher { return faults.OpIs(faults.ListBlobs) }, false},
		"in the claims":      {func() faults.Matcher { return faults.NameHas("/ownership/2") }, false},
		"in the second read": {func() faults.Matcher { return after(2, faults.OpIs(faults.ListBlobs)) }, false},
		"in the updates": {func() faults.Matcher {
			return faults.All(faults.NameHas("/checkpoint/2"), faults.OpIs(faults.SetMetadata))
		}, true},
		"in the reading back": {func() faults.Matcher { return after(4, faults.OpIs(faults.ListBlobs)) }, true},
	} {
		for kind, run := range map[string]func(func()) faults.Fault{
			"before it is carried out": faults.RunBefore,
			"after it is carried out":  faults.RunAfter,
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				store, service, plan := faulty(t)
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				service.Inject(run(cancel).On(c.when()).Once())
				result, err := ops.Apply(ctx, store, plan, nil)
				requireFree(t, store, "0", "1", "2")
				stored := positions(t, store)
				if !c.moves {
					require.ErrorIs(t, err, context.Canceled)
					require.Nil(t, result)
					require.Equal(t, map[string]int64{"0": 50, "1": 50, "2": 50}, stored)
					return
				}
				for _, r := range result.Changes {
					require.Equal(t, stored[r.PartitionID] == 10, r.Done, "partition %s", r.PartitionID)
					require.Equal(t, r.Done, r.Err == nil)
					if r.Err != nil {
						require.ErrorIs(t, err, context.Canceled)
						require.Equal(t, int64(50), stored[r.PartitionID])
					}
				}
			})
		}
	}
}

func TestRelease(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		owner, store := open(), open()
		claim(t, owner, "alice", "0", "1")
		claim(t, owner, "bob", "2")
		claim(t, owner, "", "1")
		checkpoint(t, owner, "0", 5)
		planWith := func(o ops.ReleaseOptions) *ops.Plan {
			plan, err := ops.PlanRelease(ctx, store, scope, &o)
			require.NoError(t, err)
			return plan
		}
		plan := planWith(ops.ReleaseOptions{Partitions: []string{"0", "1", "9"}})
		require.Empty(t, plan.Changes)
		require.Equal(t, []ops.Skipped{{Name: "9", Why: "it was never owned"}, {Name: "0", Why: `owner "alice" is live`}, {Name: "1", Why: "it is free"}}, plan.Skipped)

		plan = planWith(ops.ReleaseOptions{OwnerID: "bob", Live: true})
		require.Len(t, plan.Changes, 1)
		_, err := ops.Apply(ctx, store, plan, nil)
		require.ErrorIs(t, err, ops.ErrLive)
		claim(t, owner, "bob", "2") // renews
		result, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
		require.NoError(t, err)
		require.Equal(t, []ops.ChangeResult{{PartitionID: "2", Done: true}}, result.Changes)
		requireFree(t, store, "1", "2")
		_, err = ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
		require.ErrorIs(t, err, ops.ErrOutdated)

		// An expired owner.
		eventually(t, func() bool {
			plan = planWith(ops.ReleaseOptions{Expiration: 1})
			return len(plan.Changes) == 1
		})
		require.Contains(t, plan.Changes[0].Why, `owner "alice" wrote its ownership`)
		_, err = ops.Apply(ctx, store, plan, nil)
		require.NoError(t, err)
		requireFree(t, store, "0", "1", "2")
		require.Equal(t, map[string]int64{"0": 5}, positions(t, store))
	})
}

func TestReleaseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, other ops.Store)
		release bool
		is      error
	}{
		"the owner is alive again":                 {func(t *testing.T, s ops.Store) { claim(t, s, "alice", "0") }, false, ops.ErrLive},
		"the owner is alive again, asked for more": {func(t *testing.T, s ops.Store) { claim(t, s, "alice", "0") }, true, ops.ErrOutdated},
		"somebody else has it":                     {func(t *testing.T, s ops.Store) { claim(t, s, "bob", "0") }, true, ops.ErrOutdated},
		"somebody released it":                     {func(t *testing.T, s ops.Store) { claim(t, s, "", "0") }, false, ops.ErrOutdated},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			store := memstore.NewWithClock(func() time.Time { return now })
			claim(t, store, "alice", "0", "1")
			now = now.Add(time.Hour)
			plan, err := ops.PlanRelease(ctx, store, scope, nil)
			require.NoError(t, err)
			require.Len(t, plan.Changes, 2)
			c.between(t, store.Share())
			_, err = ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: c.release})
			require.ErrorIs(t, err, c.is)
			require.Equal(t, "alice", read(t, store).Partition("1").Ownership.OwnerID, "nothing is half done")
		})
	}
	t.Run("while it is carried out", func(t *testing.T) {
		store := memstore.New()
		claim(t, store, "alice", "0", "1")
		plan, err := ops.PlanRelease(ctx, store, scope, &ops.ReleaseOptions{Live: true})
		require.NoError(t, err)
		h := &hooked{Store: store.Share(), beforeClaim: func(int) { claim(t, store, "alice", "1") }}
		result, err := ops.Apply(ctx, h, plan, &ops.ApplyOptions{Release: true})
		require.ErrorIs(t, err, ops.ErrOutdated)
		require.True(t, result.Changes[0].Done)
		require.False(t, result.Changes[1].Done)
		require.Equal(t, ops.Live, read(t, store).Partition("1").State)
	})
	t.Run("with a fault", func(t *testing.T) {
		store, service := fakeStore(t)
		claim(t, store, "alice", "0", "1")
		plan, err := ops.PlanRelease(ctx, store, scope, &ops.ReleaseOptions{Live: true})
		require.NoError(t, err)
		remove := service.Inject(faults.Forbidden().On(faults.BlobIs(lowerPrefix + "ownership/1")))
		result, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
		remove()
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.Equal(t, []bool{true, false}, []bool{result.Changes[0].Done, result.Changes[1].Done})

		ended, cancel := context.WithCancel(ctx)
		plan, err = ops.PlanRelease(ctx, store, scope, &ops.ReleaseOptions{Live: true})
		require.NoError(t, err)
		service.Inject(faults.RunAfter(cancel).On(faults.NameHas("/ownership/1")).Once())
		result, err = ops.Apply(ended, store, plan, &ops.ApplyOptions{Release: true})
		require.NoError(t, err, "it was carried out, and read back")
		require.True(t, result.Changes[0].Done)
	})
}

func TestACheckpointInFlightDoesNotUndoAReset(t *testing.T) {
	owner, service := fakeStore(t)
	store := blobStore(t, service.Client(), nil)
	claim(t, owner, "alice", "0")
	checkpoint(t, owner, "0", 50)
	plan := planTo(t, store, 10, "0")
	// The owner's last checkpoint lands between the look and the write of the reset.
	service.Inject(faults.RunBefore(func() { checkpoint(t, owner, "0", 51) }).
		On(faults.All(faults.NameHas("/checkpoint/0"), faults.OpIs(faults.SetMetadata))).Once())
	result, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
	require.NoError(t, err)
	require.True(t, result.Changes[0].Done)
	require.Equal(t, map[string]int64{"0": 10}, positions(t, store))
	require.ErrorIs(t, owner.UpdateCheckpoint(ctx, record("0", 52), nil), checkpointstore.ErrRewound)
	require.Equal(t, map[string]int64{"0": 10}, positions(t, store))
}

func TestApplyReadsBack(t *testing.T) {
	for name, write := range map[string]func(other ops.Store){
		"another position":                  func(other ops.Store) { rewind(t, other, "1", 77) },
		"a checkpoint that goes on from it": func(other ops.Store) { checkpoint(t, other, "1", 11) },
		"a consumer that knows no generations": func(other ops.Store) {
			c := read(t, other).Partition("1").Checkpoint
			require.NoError(t, other.DeleteCheckpoint(ctx, *c, nil))
			checkpoint(t, other, "1", 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			h := &hooked{Store: store.Share()}
			plan := planTo(t, store, 10, "0", "1")
			h.beforeRecords = func(n int) {
				if n == 3 {
					write(store.Share())
				}
			}
			result, err := ops.Apply(ctx, h, plan, nil)
			require.ErrorContains(t, err, "1 of 2 changes failed: partition 1: somebody else wrote since")
			require.Equal(t, []bool{true, false}, []bool{result.Changes[0].Done, result.Changes[1].Done})
			requireFree(t, store, "0", "1")
		})
	}
}
