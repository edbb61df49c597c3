package interop_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// TestMatrixCheckpoints has every store read what every store wrote.
func TestMatrixCheckpoints(t *testing.T) {
	writers := append([]party{ours(), oursVerbatim(), oursIgnoring()}, peers()...)
	readers := append(slices.Clone(writers), kedaReader())
	for _, s := range scopes() {
		t.Run(s.String(), func(t *testing.T) {
			tb := newTable("checkpoints "+s.String(), append([]string{"written by"}, names(readers)...)...)
			for _, writer := range writers {
				row := slices.Repeat([]string{off}, len(readers))
				t.Run(writer.name, func(t *testing.T) {
					writer.need(t)
					b := newBox(t)
					writer.sit(t, b, s).update("3", 1234)
					row = measure(t, readers, func(t *testing.T, reader party) string {
						us := reader.sit(t, b, s)
						found := us.checkpoints()
						if !reader.finds(s, writer) {
							require.Empty(t, found)
							return "no"
						}
						require.Equal(t, []checkpointstore.Checkpoint{us.read(us.at("3", 1234))}, found)
						return "yes"
					})
				})
				tb.add(append([]string{writer.name}, row...)...)
			}
			tb.check(t)
		})
	}
}
