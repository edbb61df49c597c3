package processor

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// failing makes the claims on these partitions fail, before they take effect.
func failing(err error, partitions ...string) func(checkpointstore.Ownership) (error, error) {
	return func(r checkpointstore.Ownership) (error, error) {
		for _, id := range partitions {
			if r.PartitionID == id {
				return err, nil
			}
		}
		return nil, nil
	}
}

// unanswered makes the claims on these partitions fail after they took effect.
func unanswered(err error, partitions ...string) func(checkpointstore.Ownership) (error, error) {
	return func(r checkpointstore.Ownership) (error, error) {
		err, _ := failing(err, partitions...)(r)
		return nil, err
	}
}

func TestClaims(t *testing.T) {
	t.Run("winners are returned as the store has them", func(t *testing.T) {
		f := newFixture(t, nil)
		won := f.mustRound("a", "0", "1")
		require.Equal(t, []string{"0", "1"}, ids(won))
		require.Equal(t, f.stored()["0"].ETag, won[0].ETag)
		require.Equal(t, f.clock.now(), won[0].LastModifiedTime)
		require.Empty(t, f.logs.all())
	})
	t.Run("a lost claim is left out without a word", func(t *testing.T) {
		f := newFixture(t, nil)
		listed := f.mustList()
		f.steal("b", "0")
		won, err := f.a.ClaimOwnership(f.ctx, f.claims("a", listed, "0", "1"), nil)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, ids(won))
		require.Empty(t, f.logs.all())
	})
	t.Run("a passing failure is not claimed in this round, logged, no error", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.claims = failing(errBusy, "1")
		won := f.mustRound("a", "0", "1", "2")
		require.Equal(t, []string{"0", "2"}, ids(won))
		require.Equal(t, []string{"WARN claims were not decided; not claimed in this round"}, f.logs.all())
		require.Contains(t, f.logs.attrs, "undecided=[1]")
	})
	t.Run("all failed for a passing reason: none, no error", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.claims = failing(context.DeadlineExceeded, "0", "1")
		require.Empty(t, f.mustRound("a", "0", "1"))
	})
	t.Run("a lasting failure is an error, the winners come with it", func(t *testing.T) {
		f := newFixture(t, nil)
		f.store.claims = failing(errDenied, "1")
		won, err := f.round(f.ctx, "a", "0", "1")
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.Equal(t, []string{"0"}, ids(won))
	})
	t.Run("an argument that cannot be stored is an error", func(t *testing.T) {
		f := newFixture(t, nil)
		_, err := f.round(f.ctx, "a", "no/slash")
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
	})
	t.Run("the end of the caller's context is returned as it is", func(t *testing.T) {
		f := newFixture(t, nil)
		ctx, cancel := context.WithCancel(f.ctx)
		f.store.claiming = func(context.Context, []checkpointstore.Ownership) { cancel() }
		f.store.claims = failing(context.Canceled, "1")
		won, err := f.round(ctx, "a", "0", "1")
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []string{"0"}, ids(won))
		require.Empty(t, f.logs.all())
	})
	t.Run("an error that names no partition leaves all undecided", func(t *testing.T) {
		asked := []checkpointstore.Ownership{{PartitionID: "0"}, {PartitionID: "1"}}
		require.Equal(t, []string{"1"}, partitions(undecided(asked, asked[:1], errBusy)))
		require.Empty(t, undecided(asked, asked[:1], nil))
	})
	t.Run("nothing to claim sends nothing", func(t *testing.T) {
		f := newFixture(t, nil)
		won, err := f.a.ClaimOwnership(f.ctx, nil, nil)
		require.NoError(t, err)
		require.Empty(t, won)
		require.Empty(t, f.store.asked)
	})
	t.Run("two owners on one adapter take a partition from each other", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0", "1")
		require.Len(t, f.mustRound("b", "0"), 1)
		require.Equal(t, []string{"1"}, ids(f.mustRound("a", "1")))
		require.NotContains(t, f.a.scope(names{namespace, hub, group}).owners["a"].held, "0")
	})
	bubble(t, "a partition that was lost is claimed again when its handler has returned", func(t *testing.T) {
		f := newFixture(t, nil)
		h := newHandlers(f.ctx, expiry, new(turnstiles))
		ctx := context.WithValue(f.ctx, handlersKey{}, h)
		round := func(ids ...string) []string {
			won, err := f.round(ctx, "a", ids...)
			require.NoError(t, err)
			return partitions(fromHub(won))
		}
		require.Equal(t, []string{"0", "1"}, round("0", "1"))
		told, goOn := make(chan struct{}), make(chan struct{})
		h.start("0", func(ctx context.Context) { <-ctx.Done(); close(told); <-goOn })
		h.start("1", func(ctx context.Context) { <-ctx.Done() })
		require.Equal(t, []string{"0", "1"}, round("0", "1"), "renewals are no losses")

		f.steal("b", "0")
		require.Equal(t, []string{"1"}, round("0", "1"))
		<-told
		require.Equal(t, []string{"1"}, round("0", "1"))
		require.Empty(t, round("0"), "nothing else to claim")
		close(goOn)
		synctest.Wait()
		require.Equal(t, []string{"0", "1"}, round("0", "1"))
		h.stop(f.ctx)
	})
	t.Run("the scope ignores case", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0")
		records, err := f.a.ListOwnership(f.ctx, "NS.servicebus.windows.net", "hub", "$default", nil)
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Equal(t, "$default", records[0].ConsumerGroup)
		require.Len(t, f.a.scopes, 1)
	})
}
