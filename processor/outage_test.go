package processor

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

const expiry = time.Minute

// expired is what the Processor thinks of a record.
func (f *fixture) expired(t time.Time) bool { return f.clock.now().Sub(t) > expiry }

func TestOutage(t *testing.T) {
	t.Run("the last good list is served, and times stand still", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0")
		f.steal("b", "1")
		before := f.mustList()
		f.store.list = errBusy
		for range 9 {
			f.clock.pass(10 * time.Second)
			listed := f.mustList()
			require.Len(t, listed, 2)
			require.Equal(t, "b", listed["1"].OwnerID)
			require.Equal(t, before["1"].ETag, listed["1"].ETag)
			require.False(t, f.expired(listed["1"].LastModifiedTime))
		}
		require.Equal(t, "WARN the ownerships cannot be listed; serving the last list", f.logs.all()[0])
	})
	t.Run("after MaxOutage the error is returned", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0")
		f.mustList()
		f.store.list = errBusy
		f.mustList()
		f.clock.pass(5 * time.Minute)
		f.mustList()
		f.clock.pass(time.Millisecond)
		_, err := f.list(f.ctx)
		require.ErrorIs(t, err, errBusy)
		f.store.list = nil
		require.False(t, f.expired(f.mustList()["0"].LastModifiedTime), "and counts as blind time all the same")
	})
	t.Run("a negative MaxOutage serves nothing", func(t *testing.T) {
		f := newFixture(t, &AdaptOptions{MaxOutage: -1})
		f.mustList()
		f.store.list = errBusy
		_, err := f.list(f.ctx)
		require.ErrorIs(t, err, errBusy)
	})
	t.Run("without a good list the error is returned", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.list = errBusy
		_, err := f.list(f.ctx)
		require.ErrorIs(t, err, errBusy)
	})
	t.Run("a lasting failure is returned", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustList()
		f.store.list = errDenied
		_, err := f.list(f.ctx)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	})
	t.Run("the end of the caller's context is returned, and is no outage", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustList()
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err := f.list(ctx)
		require.ErrorIs(t, err, context.Canceled)
		f.store.list = context.Canceled
		_, err = f.list(ctx)
		require.Equal(t, context.Canceled, err)
		require.True(t, f.a.scope(names{namespace, hub, group}).blind.since.IsZero())
	})
	t.Run("blind time does not count in the lists after it either, until the record is written again", func(t *testing.T) {
		f := newFixture(t, nil)
		f.steal("b", "0") // written last 10 s before the outage
		f.mustList()
		f.clock.pass(10 * time.Second)
		f.store.list = errBusy
		f.mustList()
		f.clock.pass(90 * time.Second)
		f.store.list = nil
		require.Equal(t, f.clock.now().Add(-10*time.Second), f.mustList()["0"].LastModifiedTime)
		f.clock.pass(50 * time.Second)
		require.False(t, f.expired(f.mustList()["0"].LastModifiedTime))
		f.clock.pass(time.Second)
		require.True(t, f.expired(f.mustList()["0"].LastModifiedTime), "an owner that does not come back expires in the end")
		f.steal("c", "0")
		require.Equal(t, f.clock.now(), f.mustList()["0"].LastModifiedTime)
		require.Empty(t, f.a.scope(names{namespace, hub, group}).blind.spans, "no record is older than the outage")
	})
	t.Run("own claims made during the outage are served with their real ETags", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1")
		f.store.list = errBusy
		f.store.claims = failing(errBusy, "1")
		for range 3 { // would lose from the second time on with the ETags of the list
			f.clock.pass(10 * time.Second)
			require.Equal(t, []string{"0"}, ids(f.mustRound("a", "0", "1")))
			require.Equal(t, f.stored()["0"].ETag, f.mustList()["0"].ETag)
			require.Equal(t, f.clock.now(), f.mustList()["0"].LastModifiedTime)
		}
	})
	t.Run("a moved time is never stored, a claim on an outdated list loses", func(t *testing.T) {
		f := newFixture(t, nil)
		f.steal("b", "0")
		f.mustList()
		f.store.list = errBusy
		f.mustList()
		f.steal("b", "0") // the storage is back for b, not for us
		require.Empty(t, f.mustRound("a", "0"))
		require.Equal(t, "b", f.owners()["0"])
	})
}

// A list that began before a win says nothing about it.
func TestListOvertakenByClaim(t *testing.T) {
	f := newFixture(t, nil)
	f.mustRound("a", "0", "1")
	listed := f.mustList()
	f.store.listed = func() {
		f.store.listed = nil
		won, err := f.a.ClaimOwnership(f.ctx, f.claims("b", listed, "1"), nil)
		require.NoError(t, err)
		require.Len(t, won, 1)
	}
	now := f.mustList()
	require.Equal(t, "b", now["1"].OwnerID)
	require.Equal(t, f.stored()["1"].ETag, now["1"].ETag)
	require.Contains(t, f.a.scope(names{namespace, hub, group}).owners["b"].held, "1")
}

func TestDeletedRecords(t *testing.T) {
	// emptied makes the store that of a container whose blobs were deleted.
	emptied := func(f *fixture) {
		fresh := newFixture(f.t, nil)
		f.store.Store, f.other = fresh.store.Store, fresh.other
	}
	t.Run("between two rounds", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1")
		emptied(f)
		listed := f.mustList()
		require.Len(t, listed, 2)
		require.Equal(t, "a", listed["0"].OwnerID)
		require.Nil(t, listed["0"].ETag)

		f.steal("b", "1")
		won, err := f.a.ClaimOwnership(f.ctx, f.claims("a", listed, "0", "1"), nil)
		require.NoError(t, err)
		require.Equal(t, []string{"0"}, ids(won), "created again, unless somebody was faster")
		require.Equal(t, map[string]string{"0": "a", "1": "b"}, f.owners())
		require.Equal(t, "b", f.mustList()["1"].OwnerID)
	})
	t.Run("in the middle of one", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1")
		listed := f.mustList()
		emptied(f)
		won, err := f.a.ClaimOwnership(f.ctx, f.claims("a", listed, "0", "1"), nil)
		require.NoError(t, err)
		require.Empty(t, won)
		require.Equal(t, "a", f.mustList()["0"].OwnerID)
		require.Len(t, f.mustRound("a", "0", "1"), 2)
	})
	t.Run("by nobody, but taken", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1")
		listed := f.mustList()
		f.steal("b", "0")
		_, err := f.a.ClaimOwnership(f.ctx, f.claims("a", listed, "0", "1"), nil)
		require.NoError(t, err)
		require.Equal(t, "b", f.mustList()["0"].OwnerID)
		require.NotContains(t, f.a.scope(names{namespace, hub, group}).owners["a"].held, "0")
	})
}

func TestForeignRecords(t *testing.T) {
	f := newFixture(t, nil)
	f.steal("", "readme.txt")
	f.steal("", "0")
	require.Len(t, f.mustList(), 1, "not a partition")
	require.Empty(t, f.mustRound("a", "readme.txt"), "unless the hub has it: a first claim loses,")
	require.Len(t, f.mustRound("a", "readme.txt"), 1, "the next one knows the record")
}

func TestBlindness(t *testing.T) {
	start := newClock().now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

	t.Run("sees, always", func(t *testing.T) {
		var b blindness
		require.Zero(t, b.see(at(0)))
		require.Equal(t, at(-100), b.moved(at(-100), at(0)))
	})
	t.Run("adds what lies after the time, of all spans", func(t *testing.T) {
		var b blindness
		require.True(t, b.fail(at(10)))
		require.False(t, b.fail(at(15)))
		require.Equal(t, 10*time.Second, b.see(at(20)))
		b.fail(at(30))
		require.Equal(t, at(25), b.moved(at(0), at(45)), "10 s and the 15 s that still last")
		require.Equal(t, at(35), b.moved(at(15), at(45)))
		require.Equal(t, at(45), b.moved(at(35), at(45)), "never after now")
		require.Equal(t, at(50), b.moved(at(50), at(45)), "unless it was")
	})
	t.Run("a read that began before another one succeeded is blind only after it", func(t *testing.T) {
		var b blindness
		b.see(at(10))
		b.fail(at(5))
		require.Equal(t, 5*time.Second, b.see(at(15)))
	})
	t.Run("forgets what no record is older than", func(t *testing.T) {
		var b blindness
		b.fail(at(0))
		b.see(at(10))
		b.forget(at(5))
		require.Len(t, b.spans, 1)
		b.forget(at(10))
		require.Empty(t, b.spans)
	})
	t.Run("is bounded", func(t *testing.T) {
		var b blindness
		for i := range maxSpans + 10 {
			b.fail(at(2 * i))
			b.see(at(2*i + 1))
		}
		require.Len(t, b.spans, maxSpans)
	})
}
