package processor

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

func TestRelease(t *testing.T) {
	all := func(owner string) map[string]string { return map[string]string{"0": owner, "1": owner, "2": owner} }

	t.Run("with the ETags of its last round", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		released, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, []string{"0", "1", "2"}, ids(released))
		require.Equal(t, all(""), f.owners())
		require.Equal(t, 1, f.store.lists, "no second look")
		require.Empty(t, f.a.scope(names{namespace, hub, group}).owners, "nothing is kept of it")
	})
	t.Run("stopped in the middle of a renewal: with the ETags of the last wins", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		ctx, cancel := context.WithCancel(f.ctx)
		f.store.claiming = func(context.Context, []checkpointstore.Ownership) { cancel() }
		f.store.claims = failing(context.Canceled, "2")
		_, err := f.round(ctx, "a", "0", "1", "2")
		require.ErrorIs(t, err, context.Canceled)
		f.store.claims = nil
		released, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, []string{"0", "1", "2"}, ids(released))
		require.Equal(t, all(""), f.owners())
	})
	t.Run("stopped in its first round: the Processor names nothing", func(t *testing.T) {
		f := newFixture(t, nil)
		ctx, cancel := context.WithCancel(f.ctx)
		f.store.claiming = func(context.Context, []checkpointstore.Ownership) { cancel() }
		f.store.claims = failing(context.Canceled, "2")
		_, err := f.round(ctx, "a", "0", "1", "2")
		require.ErrorIs(t, err, context.Canceled)
		f.store.claims = nil
		_, err = f.release(nil)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"0": "", "1": ""}, f.owners())
	})
	t.Run("after a round in which all failed: the Processor names nothing", func(t *testing.T) {
		f := newFixture(t, nil)
		ctx, cancel := context.WithCancel(f.ctx)
		_, err := f.round(ctx, "a", "0", "1", "2")
		require.NoError(t, err)
		f.store.claims = failing(errBusy, "0", "1", "2")
		won, err := f.round(ctx, "a", "0", "1", "2")
		require.NoError(t, err)
		require.Empty(t, won)
		f.store.claims = nil
		cancel()
		_, err = f.release(won)
		require.NoError(t, err)
		require.Equal(t, all(""), f.owners())
	})
	t.Run("after a lasting error that ended it", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.claims = failing(errDenied, "2")
		_, err := f.round(f.ctx, "a", "0", "1", "2")
		require.Error(t, err)
		f.store.claims = nil
		_, err = f.release(nil)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"0": "", "1": ""}, f.owners())
	})
	t.Run("what is missing in the Processor's list", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1", "2")
		f.store.claims = failing(errBusy, "1", "2")
		last := f.mustRound("a", "0", "1", "2")
		require.Equal(t, []string{"0"}, ids(last))
		f.store.claims = nil
		_, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, all(""), f.owners())
	})
	t.Run("a win without an answer: looks once", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.claims = unanswered(errBusy, "1", "2")
		last := f.mustRound("a", "0", "1", "2")
		require.Equal(t, all("a"), f.owners())
		f.store.claims = nil
		lists := f.store.lists
		released, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, []string{"0", "1", "2"}, ids(released))
		require.Equal(t, all(""), f.owners())
		require.Equal(t, lists+1, f.store.lists)
	})
	t.Run("a release without an answer: looks once, and is content", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		f.store.claims = unanswered(errBusy, "1")
		_, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, all(""), f.owners())
	})
	t.Run("a release that is lost though the record is still its own: looks once", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		f.steal("a", "1") // a renewal that was not known to be won
		released, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, []string{"0", "1", "2"}, ids(released))
		require.Equal(t, all(""), f.owners())
	})
	t.Run("not with an ETag that is known to be lost", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		listed := f.mustList()
		f.steal("b", "1")
		_, err := f.a.ClaimOwnership(f.ctx, f.claims("a", listed, "0", "1", "2"), nil)
		require.NoError(t, err)
		_, err = f.release(last[:1])
		require.NoError(t, err)
		require.Len(t, f.store.asked[2], 2)
		require.Equal(t, map[string]string{"0": "", "1": "b", "2": ""}, f.owners())
	})
	t.Run("never what it lost", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		f.steal("b", "1")
		_, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"0": "", "1": "b", "2": ""}, f.owners())
	})
	t.Run("never what it lost and a list has shown", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		f.steal("b", "1")
		f.mustList()
		require.NotContains(t, f.a.scope(names{namespace, hub, group}).owners["a"].held, "1")
		_, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"0": "", "1": "b", "2": ""}, f.owners())
	})
	t.Run("never what another owner on the same adapter has", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1")
		f.mustRound("b", "2")
		f.mustRound("b", "1")
		_, err := f.release(last)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"0": "", "1": "b", "2": "b"}, f.owners())
		for _, c := range f.lastAsked() {
			require.Equal(t, "0", c.PartitionID)
		}
	})
	t.Run("nothing of a Processor that goes on, when another one has nothing to claim", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1", "2")
		released, err := f.release(nil)
		require.NoError(t, err)
		require.Empty(t, released)
		require.Equal(t, all("a"), f.owners())
	})
	t.Run("nothing of one that was told to stop, before it says so", func(t *testing.T) {
		f := newFixture(t, nil)
		ctx, cancel := context.WithCancel(f.ctx)
		_, err := f.round(ctx, "a", "0", "1", "2")
		require.NoError(t, err)
		cancel()
		released, err := f.a.ClaimOwnership(f.ctx, nil, nil) // another Processor's
		require.NoError(t, err)
		require.Empty(t, released)
		require.Equal(t, all("a"), f.owners())
	})
	t.Run("what nobody here knows is passed on as it is", func(t *testing.T) {
		f := newFixture(t, nil)
		f.steal("z", "0")
		r := azeventhubs.Ownership(f.stored()["0"])
		r.FullyQualifiedNamespace, r.EventHubName, r.ConsumerGroup = namespace, hub, group
		_, err := f.release([]azeventhubs.Ownership{r})
		require.NoError(t, err)
		require.Equal(t, "", f.owners()["0"])
	})
	t.Run("the storage does not answer: an error, and logged", func(t *testing.T) {
		f := newFixture(t, nil)
		last := f.mustRound("a", "0", "1", "2")
		f.store.claims = failing(errBusy, "0", "1", "2")
		f.store.list = errBusy
		_, err := f.release(last)
		require.ErrorIs(t, err, errBusy)
		require.Contains(t, f.logs.all(), "WARN not everything was relinquished; the rest has to expire")
	})
	t.Run("after the handlers of Run", func(t *testing.T) {
		f := newFixture(t, nil)
		h := newHandlers(f.ctx, expiry, new(turnstiles))
		last, err := f.round(context.WithValue(f.ctx, handlersKey{}, h), "a", "0", "1", "2")
		require.NoError(t, err)
		var ended atomic.Bool
		h.start("0", func(ctx context.Context) {
			<-ctx.Done()
			require.Equal(t, all("a"), f.owners())
			ended.Store(true)
		})
		_, err = f.release(last)
		require.NoError(t, err)
		require.True(t, ended.Load())
		require.Equal(t, all(""), f.owners())
	})
}
