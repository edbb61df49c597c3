package interop_test

import (
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestMatrixCheckpoints has every store read what every store wrote.
func TestMatrixCheckpoints(t *testing.T) {
	writers := append([]sdk{ours(), oursVerbatim(), oursLowerCaseOnly()}, peers()...)
	readers := append(slices.Clone(writers), kedaReader())
	for _, s := range scopes() {
		t.Run(s.String(), func(t *testing.T) {
			tbl := newTable("checkpoints "+s.String(), append([]string{"written by"}, names(readers)...)...)
			for _, writer := range writers {
				row := slices.Repeat([]string{off}, len(readers))
				t.Run(writer.name, func(t *testing.T) {
					writer.need(t)
					tc := newContainer(t)
					writer.consumer(t, tc, s).update("3", 1234)
					row = measure(t, readers, func(t *testing.T, reader sdk) string {
						us := reader.consumer(t, tc, s)
						found := us.checkpoints()
						if !reader.finds(s, writer) {
							require.Empty(t, found)
							return "no"
						}
						require.Equal(t, []checkpointstore.Checkpoint{us.read(us.at("3", 1234))}, found)
						return "yes"
					})
				})
				tbl.add(append([]string{writer.name}, row...)...)
			}
			tbl.check(t)
		})
	}
}

// TestEveryKeyIsRead has every store read a checkpoint with all keys that ours writes. Another SDK's update keeps only its own
// keys, and ours continues from there.
func TestEveryKeyIsRead(t *testing.T) {
	for _, reader := range append(peers(), kedaReader()) {
		t.Run(reader.name, func(t *testing.T) {
			reader.need(t)
			tc, s := newContainer(t), lowerCase()
			us, them := ours().consumer(t, tc, s), reader.consumer(t, tc, s)
			us.win(us.first("3"))
			us.update("3", 2000)
			rewound := us.at("3", 1234)
			enqueued := time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)
			require.NoError(t, us.store.UpdateCheckpoint(t.Context(), rewound, &checkpointstore.UpdateCheckpointOptions{Rewind: true, EnqueuedTime: &enqueued}))
			blob := s.blob("checkpoint", "3")
			require.Equal(t, "`clientidentifier=owner-ours, enqueuedtime=2026-02-03T04:05:06.789Z, generation=1, offset=123400, sequencenumber=1234`", tc.metadata(t, blob))
			require.Equal(t, []checkpointstore.Checkpoint{them.read(rewound)}, them.checkpoints())
			if reader.numberOnly {
				return // it only reads
			}
			them.update("3", 1300)
			require.Equal(t, "`offset=130000, sequencenumber=1300`", tc.metadata(t, blob))
			us.update("3", 1301)
			require.Equal(t, to.Ptr[int64](1301), them.checkpoints()[0].SequenceNumber)
			require.Equal(t, "`clientidentifier=owner-ours, generation=1, offset=130100, sequencenumber=1301`", tc.metadata(t, blob), "the owner keeps its generation")
		})
	}
}
