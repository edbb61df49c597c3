package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testDeletedBlobs: the ownerships are all there again, with Adapt after two rounds. Run
// first waits until the handlers have ended, which is no matter of rounds: package
// processor asserts in fake time that it claims them in the next one.
func testDeletedBlobs(t *testing.T, figures *report) {
	for _, v := range variants {
		for _, all := range []bool{false, true} {
			name := map[bool]string{false: "one blob", true: "all blobs"}[all] + ", " + v.name
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 8, 20)
				c := w.config(0).as(v)
				f := newNetwork()
				o := w.start(c, f)
				w.settled(c.Name)
				for _, id := range w.hub.partitions {
					if all || id == "0" {
						_, err := w.client.NewBlobClient(w.blob("ownership", id)).Delete(t.Context(), nil)
						require.NoError(t, err)
					}
				}
				lists := f.lists.Load() // one round may be on its way; two more end before the third list after it
				eventually(t, "two rounds", func() bool { return f.lists.Load() >= lists+3 })
				if v.loop == run {
					eventually(t, "all owned", func() bool { return len(w.owners()) == len(w.hub.partitions) })
				}
				require.Len(t, w.owners(), len(w.hub.partitions))
				w.hub.appendAll(5)
				w.complete()
				require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
				_, duplicates, _ := w.ledger.count()
				figures.add("deleted blobs", name, fmt.Sprintf("all owned again, %d duplicates", duplicates))
			})
		}
	}
}

// blob is the name of a record's blob.
func (w *world) blob(kind, partition string) string {
	return strings.ToLower(w.namespace+"/"+w.hubName+"/"+consumerGroup) + "/" + kind + "/" + partition
}
