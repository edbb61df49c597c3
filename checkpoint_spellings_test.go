package checkpointstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// Updates where the partition has records under two spellings of its name.

const (
	defaultGroup = "$Default"
	ownBlob      = "ns.example/hub/$default/checkpoint/0"
	verbatimBlob = "ns.example/hub/$Default/checkpoint/0"
)

// spellings is a store that owns partition 0 of $Default, over records under both spellings. Nil is none.
func spellings(t *testing.T, own, verbatim map[string]string, newer string) (*fake.Service, *checkpointstore.BlobCheckpointStore) {
	t.Helper()
	service := fake.New()
	for name, m := range map[string]map[string]string{ownBlob: own, verbatimBlob: verbatim} {
		if m == nil {
			continue
		}
		service.Put(name, m)
		modified := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
		if name == newer {
			modified = modified.Add(time.Second)
		}
		service.SetLastModified(name, modified)
	}
	store := blobtest.NewStore(t, service, nil)
	blobtest.ClaimOne(t, store, blobtest.Claim(defaultGroup, "a", "0", nil))
	service.Reset()
	return service, store
}

func updateDefault(store *checkpointstore.BlobCheckpointStore, sequenceNumber int64) error {
	return store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(defaultGroup, "0", sequenceNumber), nil)
}

func TestUpdatesAreComparedWithTheNewestSpelling(t *testing.T) {
	looks := map[string]func(*testing.T, *checkpointstore.BlobCheckpointStore){
		"nobody looked": func(*testing.T, *checkpointstore.BlobCheckpointStore) {},
		"ListCheckpoints": func(t *testing.T, s *checkpointstore.BlobCheckpointStore) {
			_, err := s.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, defaultGroup, nil)
			require.NoError(t, err)
		},
		"GetCheckpoint": func(t *testing.T, s *checkpointstore.BlobCheckpointStore) {
			_, err := s.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, defaultGroup, "0", nil)
			require.NoError(t, err)
		},
	}
	garbled := map[string]string{"sequencenumber": "many"}
	rewound := func(sequenceNumber int64, generation string) map[string]string {
		m := blobtest.Position(sequenceNumber)
		m["generation"] = generation
		return m
	}
	for name, c := range map[string]struct {
		own, verbatim map[string]string
		newer         string
		stale, stored int64  // positions that are refused and stored
		generation    string // of what is stored, once somebody looked
	}{
		"only the verbatim record":                     {nil, blobtest.Position(900), "", 10, 901, ""},
		"the verbatim record is newer and ahead":       {blobtest.Position(5), blobtest.Position(900), verbatimBlob, 10, 901, ""},
		"the verbatim record is newer and behind":      {blobtest.Position(900), blobtest.Position(5), verbatimBlob, 4, 6, ""},
		"the own record is newer and behind":           {blobtest.Position(5), blobtest.Position(900), ownBlob, 4, 6, ""},
		"the own record is newer and ahead":            {blobtest.Position(900), blobtest.Position(5), ownBlob, 10, 901, ""},
		"both are from the same second":                {blobtest.Position(900), blobtest.Position(5), "", 10, 901, ""},
		"the verbatim record is newer and unreadable":  {blobtest.Position(900), garbled, verbatimBlob, 10, 901, ""},
		"the own record was rewound, the other newer":  {rewound(5, "2"), blobtest.Position(8), verbatimBlob, 7, 9, "2"},
		"the verbatim record was rewound and is newer": {blobtest.Position(900), rewound(5, "2"), verbatimBlob, 4, 6, "2"},
	} {
		for how, look := range looks {
			t.Run(name+", "+how, func(t *testing.T) {
				service, store := spellings(t, c.own, c.verbatim, c.newer)
				look(t, store)
				before, _ := service.Get(ownBlob)
				require.ErrorIs(t, updateDefault(store, c.stale), checkpointstore.ErrStaleCheckpoint)
				after, _ := service.Get(ownBlob)
				require.Equal(t, before.Metadata, after.Metadata)
				if c.generation != "" && how == "nobody looked" {
					require.ErrorIs(t, updateDefault(store, c.stored), checkpointstore.ErrRewound, "it belongs to generation 0")
					return
				}
				require.NoError(t, updateDefault(store, c.stored))
				after, _ = service.Get(ownBlob)
				want := blobtest.Position(c.stored)
				want["clientidentifier"] = "a"
				if c.generation != "" {
					want["generation"] = c.generation
				}
				require.Equal(t, want, after.Metadata)
			})
		}
	}
}
