package ops_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

func TestExportAndImport(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		store := open()
		claim(t, store, "alice", "0")
		require.NoError(t, store.UpdateCheckpoint(ctx, record("0", 5), &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &noon}))
		checkpoint(t, store, "2", 7)
		rewind(t, store, "10", 3)
		c := record("11", 4)
		c.Offset = nil
		require.NoError(t, store.UpdateCheckpoint(ctx, c, nil))
		claim(t, store, "", "0")

		exported := read(t, store).Export()
		text, err := json.Marshal(exported)
		require.NoError(t, err)
		back, err := ops.ReadExport(bytes.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, exported, back)

		// Into another group, which has one of them already.
		other := scope
		other.ConsumerGroup = "other"
		ahead := record("2", 8)
		ahead.ConsumerGroup = "other"
		require.NoError(t, store.UpdateCheckpoint(ctx, ahead, nil))
		imported := func(o *ops.ImportOptions) (positions map[string]int64, skipped []ops.Skipped) {
			plan, err := ops.PlanImport(ctx, open(), other, back, o)
			require.NoError(t, err)
			_, err = ops.Apply(ctx, open(), plan, nil)
			require.NoError(t, err)
			s, err := ops.Read(ctx, store, other, nil)
			require.NoError(t, err)
			positions = make(map[string]int64)
			for _, p := range s.Partitions {
				positions[p.ID] = p.Position().SequenceNumber
			}
			return positions, plan.Skipped
		}
		got, skipped := imported(&ops.ImportOptions{Partitions: []string{"0", "2", "9"}})
		require.Equal(t, map[string]int64{"0": 5, "2": 8}, got)
		require.Equal(t, []ops.Skipped{
			{Name: "9", Why: "it is not in the export"},
			{Name: "2", Why: "sequence number 7, offset 700 is not ahead of what is stored, sequence number 8, offset 800"},
		}, skipped)
		got, skipped = imported(nil)
		require.Equal(t, map[string]int64{"0": 5, "2": 8, "10": 3}, got)
		require.Contains(t, skipped, ops.Skipped{Name: "11", Why: "it has no offset, without which consumers of other packages fail"})
		require.Contains(t, skipped, ops.Skipped{Name: "0", Why: "already at sequence number 5, offset 500"})
		got, _ = imported(&ops.ImportOptions{Lower: true})
		require.Equal(t, map[string]int64{"0": 5, "2": 7, "10": 3}, got)
		s, err := ops.Read(ctx, store, other, nil)
		require.NoError(t, err)
		require.Equal(t, &noon, s.Partition("0").Checkpoint.EnqueuedTime)
		require.Equal(t, int64(1), s.Partition("2").Checkpoint.Generation)
	})
}

func TestTheFormatOfAnExport(t *testing.T) {
	store := memstore.NewWithClock(sequence())
	claim(t, store, "alice", "0")
	require.NoError(t, store.UpdateCheckpoint(ctx, record("0", 5), &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &noon}))
	c := record("1", 4)
	c.Offset = nil
	require.NoError(t, store.UpdateCheckpoint(ctx, c, nil))
	text, err := json.MarshalIndent(read(t, store).Export(), "", "  ")
	require.NoError(t, err)
	golden(t, "export.json", string(text)+"\n")
}

func TestReadExportRefuses(t *testing.T) {
	const head = `{"format":"checkpointstore.export","version":1,"checkpoints":`
	for text, says := range map[string]string{
		``:                           "cannot be read",
		`[]`:                         "cannot be read",
		`{"format":"x","version":1}`: `its format is "x"`,
		`{"format":"checkpointstore.export","version":2}`:                     "it has version 2",
		`{"format":"checkpointstore.export"}`:                                 "it has version 0",
		head + `[],"more":1}`:                                                 "unknown field",
		head + `[]} x`:                                                        "something follows",
		head + `[{"partitionId":"0"},{"partitionId":"0"}]}`:                   `partition "0" is there twice`,
		head + `[{"partitionId":""}]}`:                                        "has no partition",
		head + `[{"partitionId":"0","sequenceNumber":99999999999999999999}]}`: "cannot be read",
	} {
		_, err := ops.ReadExport(strings.NewReader(text))
		require.ErrorContains(t, err, says, "%s", text)
	}
}

func FuzzReadExport(f *testing.F) {
	f.Add([]byte(`{"format":"checkpointstore.export","version":1,"checkpoints":[{"partitionId":"0","sequenceNumber":5,"offset":"500","enqueuedTime":"2026-11-21T12:00:00Z"}]}`))
	f.Add([]byte(`{"format":"checkpointstore.export","version":1,"checkpoints":[{"partitionId":"../0","sequenceNumber":-9223372036854775808,"offset":" "}]}`))
	f.Add([]byte(`{"format":"checkpointstore.export","version":1,"checkpoints":[{"partitionId":"0","sequenceNumber":5,"offset":"500","enqueuedTime":"0000-01-01T00:00:00+23:00"}]}`))
	f.Add([]byte(`{"format":"checkpointstore.export","version":1,"checkpoints":[{"partitionId":"ä","sequenceNumber":5,"offset":"500","enqueuedTime":"2026-11-21T12:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		export, err := ops.ReadExport(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := json.Marshal(export)
		if err != nil {
			return // a year that RFC 3339 cannot write
		}
		back, err := ops.ReadExport(bytes.NewReader(again))
		require.NoError(t, err)
		final, err := json.Marshal(back)
		require.NoError(t, err)
		require.JSONEq(t, string(again), string(final))

		// What is planned from it can be stored.
		plan, err := ops.PlanImport(ctx, memstore.New(), scope, export, nil)
		require.NoError(t, err)
		_, err = ops.Apply(ctx, memstore.New(), plan, nil)
		require.NoError(t, err)
	})
}
