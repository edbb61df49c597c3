package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/ops"
)

// naming is that of the store that an owner's records are in.
func (l loop) naming() checkpointstore.BlobNaming {
	if l == official {
		return checkpointstore.BlobNamingVerbatim
	}
	return checkpointstore.BlobNamingLowerCase
}

// testResetWhileStopped: an owner that starts after a reset of a stopped group begins
// exactly there, whatever its loop and its store are.
func testResetWhileStopped(t *testing.T, _ *report) {
	for _, v := range []variant{{"Run", run, false}, {"Adapt", adapted, true}, {"official store", official, true}} {
		t.Run(v.name, func(t *testing.T) {
			parallel(t)
			w := newWorld(t, 2, 20)
			w.onEmulator()
			w.look(v.loop == official)
			operator := w.operator(v.loop.naming(), nil)
			c := w.config(0).as(v)
			if v.loop == official { // which may have to wait for what it did not release
				c = w.expiring(0, brief).as(v)
			}
			l := newReadings()
			c.Handler = l.one
			o := w.start(c, newNetwork())
			w.complete()
			for i, target := range resetTargets {
				o.finish(t)
				if target.name == "latest" {
					w.hub.appendAll(3) // which are skipped
				}
				eventually(t, "nobody lives", func() bool { // a Processor may not release all that it had
					s, err := ops.Read(t.Context(), operator.store, w.scope(), &ops.ReadOptions{Expiration: c.Expiry})
					require.NoError(t, err)
					return !slices.ContainsFunc(s.Partitions, func(p ops.Partition) bool { return p.State == ops.Live })
				})
				plan := operator.reset(target, c.Expiry, nil)
				require.Equal(t, int64(i+1), operator.generations()["0"])
				began := l.count()
				o = w.start(c, newNetwork())
				for _, change := range plan.Changes {
					id, first := change.PartitionID, change.After.SequenceNumber+1
					w.hub.append(id, 2)
					last := w.hub.last(id)
					eventually(t, "the events after the reset", func() bool { return covers(l.calls(id, began[id]), first, last) })
					calls := l.calls(id, began[id])
					require.Len(t, calls, 1, "%s, partition %s", target.name, id)
					require.Equal(t, first, calls[0].events[0], "%s, partition %s", target.name, id)
					require.Len(t, calls[0].events, int(last-first+1))
				}
				last := w.lasts()
				eventually(t, "checkpoints at the last event", func() bool { return maps.Equal(last, w.checkpoints()) })
				if v.loop == official {
					require.Equal(t, int64(0), operator.generations()["0"], "the official store drops the generation")
				}
			}
			o.finish(t)
			require.Empty(t, l.wrong)
		})
	}
}

// etags are those of every blob in the container.
func (w *world) etags() map[string]azcore.ETag {
	w.t.Helper()
	etags := make(map[string]azcore.ETag)
	pager := w.client.NewListBlobsFlatPager(nil)
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		require.NoError(w.t, err)
		for _, b := range page.Segment.BlobItems {
			etags[*b.Name] = *b.Properties.ETag
		}
	}
	return etags
}

// testResetRefused: without release, and for a live owner under another spelling of
// the names even with it, nothing is changed and nobody is disturbed.
func testResetRefused(t *testing.T, _ *report) {
	for _, c := range []struct {
		name   string
		owner  loop
		naming checkpointstore.BlobNaming
		ops.ApplyOptions
	}{
		{"without release", run, checkpointstore.BlobNamingLowerCase, ops.ApplyOptions{}},
		{"owner of the official store, without release", official, checkpointstore.BlobNamingVerbatim, ops.ApplyOptions{}},
		{"owner under the other spelling, with release", official, checkpointstore.BlobNamingLowerCase, ops.ApplyOptions{Release: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parallel(t)
			w := newWorld(t, 2, 20)
			w.onEmulator()
			w.look(c.owner == official)
			l := newReadings()
			a := w.config(0).as(variant{"", c.owner, true})
			a.Handler, a.Expiry = l.one, time.Hour // so that nothing is renewed by Run meanwhile
			f := newNetwork()
			o := w.start(a, f)
			w.complete()
			operator := w.operator(c.naming, nil)
			plan := operator.plan(ops.ToEarliest(), a.Expiry)
			require.NotEmpty(t, plan.Changes[0].Warnings)
			checkpoints, before := w.checkpoints(), w.etags()
			backups := 0
			c.Backup = func(*ops.Export) error { backups++; return nil }
			result, err := ops.Apply(t.Context(), operator.store, plan, &c.ApplyOptions)
			require.ErrorIs(t, err, ops.ErrLive)
			require.ErrorContains(t, err, "nothing was changed")
			require.ErrorContains(t, err, a.Name)
			require.Nil(t, result)
			require.Zero(t, backups)
			f.rounds(t, 2)
			after := w.etags()
			if c.owner == official { // which renews in each round
				without(before, "/ownership/")
				without(after, "/ownership/")
			}
			require.Equal(t, before, after)
			require.Equal(t, checkpoints, w.checkpoints())
			w.hub.appendAll(2)
			w.complete()
			require.Equal(t, map[string]int{"0": 1, "1": 1}, l.count(), "no handler ended")
			o.finish(t)
			_, duplicates, _ := w.ledger.count()
			require.Zero(t, duplicates)
		})
	}
}

// without deletes the names that contain a text.
func without(etags map[string]azcore.ETag, text string) {
	maps.DeleteFunc(etags, func(name string, _ azcore.ETag) bool { return strings.Contains(name, text) })
}

// testResetUnderOthers shows what becomes of a reset with release while an azeventhubs
// Processor reads, which claims the partitions again and goes on reading where it was.
// With the official store its next checkpoint undoes the reset. With Adapt the store
// refuses that, and the partition is read from the new position; but then the
// Processor lists all checkpoints, and from there on a checkpoint of another partition
// counts as one of the claim that followed the reset: that reset is undone.
func testResetUnderOthers(t *testing.T, _ *report) {
	for _, v := range []variant{{"Adapt", adapted, true}, {"official store", official, true}} {
		t.Run(v.name, func(t *testing.T) {
			parallel(t)
			w := newWorld(t, 2, 20)
			w.onEmulator()
			w.look(v.loop == official)
			c := w.config(0).as(v)
			l := newReadings()
			c.Handler, c.Expiry = l.one, time.Minute
			f := newNetwork()
			o := w.start(c, f)
			w.complete()
			operator := w.operator(v.loop.naming(), nil)
			for _, change := range operator.plan(ops.ToEarliest(), c.Expiry).Changes {
				require.Len(t, change.Warnings, 1)
				require.Contains(t, change.Warnings[0], "may undo with its next checkpoint")
			}
			operator.reset(resetTargets[0], c.Expiry, &ops.ApplyOptions{Release: true})
			eventually(t, "the claims", func() bool { return len(w.of(c.Name)) == 2 })
			f.rounds(t, 3)
			require.Equal(t, map[string]int{"0": 1, "1": 1}, l.count(), "it goes on reading, and has not noticed")
			require.Equal(t, w.hub.before, w.checkpoints(), "the resets last until it checkpoints")

			for _, id := range w.hub.partitions {
				w.hub.append(id, 1)
				eventually(t, "the checkpoint", func() bool { return w.checkpoints()[id] == w.hub.last(id) })
			}
			first := w.hub.before["0"] + 1
			require.Equal(t, 1, w.ledger.times("1", first), "the reset of partition 1 is undone: nothing is handled again")
			if v.loop == official {
				require.Equal(t, 1, w.ledger.times("0", first), "and so is the other")
				require.Equal(t, map[string]int{"0": 1, "1": 1}, l.count())
				require.Equal(t, map[string]int64{"0": 0, "1": 0}, operator.generations(), "which are gone")
			} else {
				require.Equal(t, 2, w.ledger.times("0", first))
				require.Equal(t, map[string]int{"0": 2, "1": 1}, l.count())
				require.Equal(t, map[string]int64{"0": 1, "1": 1}, operator.generations())
			}
			require.EqualValues(t, 1, o.Processors.Load())
			o.finish(t)
			require.Empty(t, l.wrong)
		})
	}
}

// testReleaseOfDeadOwner: another owner takes the partitions of a dead one in its next
// round, long before they expire.
func testReleaseOfDeadOwner(t *testing.T, _ *report) {
	w := newWorld(t, 4, 20)
	w.onEmulator()
	l := newReadings()
	a, b := w.config(0), w.config(1)
	a.Expiry, b.Expiry = time.Hour, time.Hour
	b.Interval, b.Handler = time.Second, l.one // so that rounds can be counted
	first := w.spawn(a)
	f := l.network(b, false)
	o := w.start(b, f)
	w.settled(a.Name, b.Name)
	w.complete()
	first.kill(t)
	dead := w.of(a.Name)
	require.Len(t, dead, 2)
	_, before, _ := w.ledger.count()

	operator := w.operator(checkpointstore.BlobNamingLowerCase, nil)
	options := &ops.ReleaseOptions{OwnerID: a.Name, Expiration: b.Expiry}
	plan, err := ops.PlanRelease(t.Context(), operator.store, w.scope(), options)
	require.NoError(t, err)
	require.Empty(t, plan.Changes, "it counts as live")
	options.Live = true
	plan, err = ops.PlanRelease(t.Context(), operator.store, w.scope(), options)
	require.NoError(t, err)
	require.Len(t, plan.Changes, 2)
	began := l.count()
	_, err = ops.Apply(t.Context(), operator.store, plan, nil)
	require.ErrorIs(t, err, ops.ErrLive)
	_, err = ops.Apply(t.Context(), operator.store, plan, &ops.ApplyOptions{Release: true})
	require.NoError(t, err)
	round := l.roundsNow()[b.Name]
	w.settled(b.Name)
	for _, id := range dead {
		eventually(t, "a reader of partition "+id, func() bool { return l.count()[id] > began[id] })
		require.LessOrEqual(t, l.calls(id, began[id])[0].round, round+1, "partition %s: in the next round", id)
	}
	w.hub.appendAll(3)
	w.complete()
	_, duplicates, _ := w.ledger.count()
	require.Equal(t, before, duplicates, "it goes on from the checkpoints of the dead one")
	o.finish(t)
	require.Empty(t, l.wrong)
}
