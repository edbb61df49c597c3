package checkpointstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	fake "github.com/ea947076/checkpointstore/internal/fakeblob"

	"github.com/ea947076/checkpointstore/internal/blobtest"
)

// TestRecordsOfEveryPackageInOneContainer puts what every other package writes,
// the odd ones too, beside each other: one list reads them all, and every
// partition can be claimed.
func TestRecordsOfEveryPackageInOneContainer(t *testing.T) {
	service := fake.New()
	files, err := filepath.Glob(filepath.Join("testdata", "metadata", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	want := make(map[string]map[string]any) // by partition
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var all struct {
			Records []struct {
				Kind     string
				Metadata map[string]string
				Want     map[string]any
			}
		}
		require.NoError(t, json.Unmarshal(text, &all))
		for _, r := range all.Records {
			if r.Kind == "directory" {
				continue
			}
			id := fmt.Sprint(len(want))
			service.Put("ns.example/hub/group/"+r.Kind+"/"+id, r.Metadata)
			want[id] = r.Want
		}
	}
	store := blobtest.NewStore(t, service, nil)
	owners, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	for i, o := range owners {
		require.Equal(t, want[o.PartitionID]["ownerID"], o.OwnerID)
		owners[i].OwnerID = "me"
	}
	won, err := store.ClaimOwnership(context.Background(), owners, nil)
	require.NoError(t, err)
	require.Len(t, won, len(owners))

	checkpoints, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Equal(t, len(want), len(owners)+len(checkpoints))
	for _, c := range checkpoints {
		w := want[c.PartitionID]
		require.Equal(t, w["offset"] == nil, c.Offset == nil)
		if c.Offset != nil {
			require.Equal(t, w["offset"], *c.Offset)
		}
		require.Equal(t, w["sequenceNumber"] == nil, c.SequenceNumber == nil)
		if c.SequenceNumber != nil {
			require.InDelta(t, w["sequenceNumber"], float64(*c.SequenceNumber), 0)
		}
		require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, c.PartitionID, math.MaxInt64), nil), "any record can be written over")
	}
}

// TestAListWithHolesInIt reads a list in which the service leaves out what it may
// not: nothing of it is taken for granted.
func TestAListWithHolesInIt(t *testing.T) {
	const xml = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>` +
		`<Blob><Properties /></Blob>` +
		`<Blob><Name>` + blobtest.CheckpointPrefix + `0</Name></Blob>` +
		`<Blob><Name>` + blobtest.CheckpointPrefix + `1</Name><Properties /><Metadata><sequencenumber>7</sequencenumber></Metadata></Blob>` +
		`</Blobs><NextMarker /></EnumerationResults>`
	service := fake.New()
	service.Put(blobtest.CheckpointPrefix+"1", blobtest.Position(7))
	store := blobtest.NewStore(t, service, nil)
	remove := service.Inject(fake.StatusWithBody(200, "application/xml", xml))
	all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	owners, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Empty(t, owners)
	remove()

	service.Reset()
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "1", 8), nil))
	require.Equal(t, 1, service.Count(fake.GetProperties), "a state without an ETag is no baseline")
	require.Equal(t, 2, service.Requests())

	service.Inject(fake.StatusWithBody(200, "application/xml", `<?xml version="1.0" encoding="utf-8"?><EnumerationResults />`))
	all, err = store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Empty(t, all)
}
