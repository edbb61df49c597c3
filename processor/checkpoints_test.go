package processor

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// positions is what the Processor sees, by partition.
func (f *fixture) positions(ctx context.Context) (map[string]int64, error) {
	list, err := f.a.ListCheckpoints(ctx, namespace, hub, group, nil)
	m := make(map[string]int64)
	for _, c := range list {
		m[c.PartitionID] = *c.SequenceNumber
	}
	return m, err
}

func (f *fixture) checkpoint(id string, sequence int64) {
	f.t.Helper()
	require.NoError(f.t, f.a.SetCheckpoint(f.ctx, checkpointAt(id, sequence), nil))
}

// elsewhere stores a checkpoint as another process does.
func (f *fixture) elsewhere(id string, sequence int64) {
	f.t.Helper()
	require.NoError(f.t, f.other.UpdateCheckpoint(f.ctx, checkpointstore.Checkpoint(checkpointAt(id, sequence)), nil))
}

func TestCheckpoints(t *testing.T) {
	busy := func() error { return errBusy }
	once := &AdaptOptions{CheckpointRetries: -1}

	t.Run("are the store's", func(t *testing.T) {
		f := newFixture(t, nil)
		f.elsewhere("0", 5)
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 5}, got)
	})
	t.Run("are read again when that failed", func(t *testing.T) {
		f := newFixture(t, nil)
		f.elsewhere("0", 5)
		f.store.position = func() error {
			if f.store.reads <= 2 {
				return errBusy
			}
			return nil
		}
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 5}, got)
		require.Equal(t, 3, f.store.reads)
	})
	t.Run("then served from the last list and from what was stored since", func(t *testing.T) {
		f := newFixture(t, once)
		f.mustRound("a", "0", "1", "2")
		f.elsewhere("0", 5)
		f.elsewhere("1", 6)
		_, err := f.positions(f.ctx)
		require.NoError(t, err)
		f.checkpoint("1", 8)
		f.checkpoint("2", 9)
		f.store.position = busy
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 5, "1": 8, "2": 9}, got)
		f.mustList()
	})
	t.Run("one stored while the list was on its way is newer", func(t *testing.T) {
		f := newFixture(t, nil)
		f.checkpoint("0", 5)
		f.store.hook = func() { f.checkpoint("0", 6) }
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 6}, got)
	})
	t.Run("one stored before the list is older", func(t *testing.T) {
		f := newFixture(t, nil)
		f.checkpoint("0", 5)
		f.elsewhere("0", 7)
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 7}, got)
	})
	t.Run("never read: an error, and the next ListOwnership fails", func(t *testing.T) {
		f := newFixture(t, once)
		f.mustRound("a", "0")
		f.store.position = busy
		_, err := f.positions(f.ctx)
		require.ErrorIs(t, err, errBusy)
		for range 2 {
			_, err = f.list(f.ctx)
			require.ErrorIs(t, err, errBusy)
		}
		_, err = f.release(nil)
		require.NoError(t, err)
		require.Equal(t, "", f.owners()["0"], "released all the same")
		f.mustList() // of the next Processor
	})
	t.Run("never read, and nothing claimed: an error", func(t *testing.T) {
		f := newFixture(t, once)
		f.store.position = busy
		_, err := f.positions(f.ctx)
		require.ErrorIs(t, err, errBusy)
	})
	t.Run("a partition won since the last list, of which it knows nothing: an error", func(t *testing.T) {
		f := newFixture(t, once)
		f.mustRound("a", "0")
		_, err := f.positions(f.ctx)
		require.NoError(t, err)
		f.elsewhere("1", 100) // by who had it until now
		f.mustRound("a", "0", "1")
		f.store.position = busy
		_, err = f.positions(f.ctx)
		require.ErrorIs(t, err, errBusy, "the default position could lie behind 100")
	})
	t.Run("a partition whose win is only known from a list: an error", func(t *testing.T) {
		f := newFixture(t, once)
		_, err := f.positions(f.ctx)
		require.NoError(t, err)
		f.elsewhere("1", 100)
		f.store.claims = unanswered(errBusy, "1")
		f.mustRound("a", "0", "1")
		f.store.claims = nil
		f.mustList()
		f.mustRound("a", "0", "1")
		f.checkpoint("0", 1)
		f.store.position = busy
		_, err = f.positions(f.ctx)
		require.ErrorIs(t, err, errBusy)
	})
	t.Run("a partition that has none since before the last list: served", func(t *testing.T) {
		f := newFixture(t, once)
		f.mustRound("a", "0")
		_, err := f.positions(f.ctx)
		require.NoError(t, err)
		f.mustRound("a", "0")
		f.store.position = busy
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Empty(t, got)
	})
	t.Run("only the Processor that is concerned has to end", func(t *testing.T) {
		f := newFixture(t, once)
		other, cancel := context.WithCancel(f.ctx)
		defer cancel()
		f.mustRound("a", "0")
		_, err := f.round(other, "b", "1")
		require.NoError(t, err)
		f.store.position = busy
		_, err = f.positions(f.ctx)
		require.Error(t, err)
		_, err = f.list(other)
		require.NoError(t, err)
		_, err = f.list(f.ctx)
		require.Error(t, err)
	})
	t.Run("a lasting failure is not tried again", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0")
		_, err := f.positions(f.ctx)
		require.NoError(t, err)
		f.store.position = func() error { return errDenied }
		_, err = f.positions(f.ctx)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.Equal(t, 2, f.store.reads)
		_, err = f.list(f.ctx)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	})
	t.Run("the end of the caller's context is returned as it is, and orphans nothing", func(t *testing.T) {
		f := newFixture(t, nil)
		f.mustRound("a", "0")
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err := f.positions(ctx)
		require.ErrorIs(t, err, context.Canceled)
		f.mustList()
	})
	t.Run("one without a position is the last one known, or the beginning", func(t *testing.T) {
		f := newFixture(t, nil)
		f.checkpoint("0", 5)
		list := f.a.legible(names{namespace, hub, group}, []checkpointstore.Checkpoint{{PartitionID: "0"}, {PartitionID: "1"}})
		require.EqualValues(t, 5, *list[0].SequenceNumber)
		require.Equal(t, "-1", *list[1].Offset)
		require.Nil(t, list[1].SequenceNumber)
		require.Len(t, f.logs.all(), 2)
	})
	t.Run("a stale one is told to the handler", func(t *testing.T) {
		f := newFixture(t, nil)
		f.checkpoint("0", 5)
		require.ErrorIs(t, f.a.SetCheckpoint(f.ctx, checkpointAt("0", 4), nil), checkpointstore.ErrStaleCheckpoint)
		f.store.position = busy
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 5}, got)
	})
	t.Run("the caller may change what it gave", func(t *testing.T) {
		f := newFixture(t, once)
		c := checkpointAt("0", 5)
		require.NoError(t, f.a.SetCheckpoint(f.ctx, c, nil))
		*c.SequenceNumber = 99
		f.store.position = busy
		got, err := f.positions(f.ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 5}, got)
	})
}
