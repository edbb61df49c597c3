package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/stretchr/testify/require"
)

// testDeletedBlobs: the ownerships are all there again after two rounds.
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
				require.Len(t, w.owners(), len(w.hub.partitions))
				w.hub.appendAll(5)
				w.complete()
				require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
				_, duplicates, _ := w.ledger.count()
				figures.add("deleted blobs", name, fmt.Sprintf("all owned after two rounds, %d duplicates", duplicates))
			})
		}
	}
}

// blob is the name of a record's blob.
func (w *world) blob(kind, partition string) string {
	return strings.ToLower(w.namespace+"/"+w.hubName+"/"+consumerGroup) + "/" + kind + "/" + partition
}

// testForeignBlobs: nothing stops.
func testForeignBlobs(t *testing.T, figures *report) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			w := newWorld(t, 8, 20)
			for _, kind := range []string{"ownership", "checkpoint"} {
				w.upload(w.blob(kind, "readme.txt"), nil)
				w.upload(w.blob(kind, "0/deeper"), nil)
			}
			broken := "no offset"
			w.upload(w.blob("checkpoint", "0"), map[string]*string{"offset": &broken})
			a, b := w.config(0).as(v), w.config(1).as(v)
			owners := []*owner{w.start(a, newNetwork()), w.start(b, newNetwork())}
			w.settled(a.Name, b.Name)
			w.complete()
			for _, o := range owners {
				require.EqualValues(t, 1, o.Processors.Load(), "no Processor ended")
			}
			figures.add("foreign blobs", v.name+", one of each kind, and a checkpoint without a position", "balanced, every event handled, no Processor ended")
		})
	}
}

func (w *world) upload(name string, metadata map[string]*string) {
	w.t.Helper()
	_, err := w.client.NewBlockBlobClient(name).Upload(context.Background(), streaming.NopCloser(bytes.NewReader([]byte("text"))),
		&blockblob.UploadOptions{Metadata: metadata})
	require.NoError(w.t, err)
}
