package checkpointstore_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

const (
	lowerPrefix = "ns.example/hub/$default/checkpoint/"
	typedPrefix = "ns.example/hub/$Default/checkpoint/"
)

// listOf matches the lists of a group's blobs.
func listOf(group string) fake.Matcher {
	return func(req *http.Request) bool { return strings.Contains(req.URL.Query().Get("prefix"), "/"+group+"/") }
}

func TestTheRecordModifiedLastIsReturned(t *testing.T) {
	service := fake.New()
	early := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	late := early.Add(time.Second)
	put := func(name string, sequenceNumber int64, modified time.Time) {
		service.Put(name, at(sequenceNumber))
		service.SetLastModified(name, modified)
	}
	put(typedPrefix+"0", 500, early) // only the old one: the fleet moves over
	put(lowerPrefix+"1", 600, early) // only the new one
	put(typedPrefix+"2", 700, early) // moved over
	put(lowerPrefix+"2", 710, late)
	put(typedPrefix+"3", 800, early) // moved over, and rewound deliberately
	put(lowerPrefix+"3", 10, late)
	put(typedPrefix+"4", 900, late) // moved back to the official store
	put(lowerPrefix+"4", 950, early)
	put(typedPrefix+"5", 1000, early) // a tie: ours
	put(lowerPrefix+"5", 20, early)

	store := newFakeStore(t, service, nil)
	all, err := store.ListCheckpoints(context.Background(), namespace, hub, "$Default", nil)
	require.NoError(t, err)
	got := make(map[string]int64)
	for _, c := range all {
		require.Equal(t, "$Default", c.ConsumerGroup, "the caller's spelling")
		got[c.PartitionID] = *c.SequenceNumber
		one, err := store.GetCheckpoint(context.Background(), namespace, hub, "$Default", c.PartitionID, nil)
		require.NoError(t, err)
		require.Equal(t, c, one, "both reads agree")
	}
	require.Equal(t, map[string]int64{"0": 500, "1": 600, "2": 710, "3": 10, "4": 900, "5": 20}, got)

	alone := newFakeStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
	all, err = alone.ListCheckpoints(context.Background(), namespace, hub, "$Default", nil)
	require.NoError(t, err)
	require.Len(t, all, 5, "without the one that is only under the names as typed")

	typed := newFakeStore(t, service, &verbatim)
	all, err = typed.ListCheckpoints(context.Background(), namespace, hub, "$Default", nil)
	require.NoError(t, err)
	require.Len(t, all, 5, "without the one that is only in lower case")
}

func TestAFailedReadOfTheOtherSpellingFailsTheList(t *testing.T) {
	service := fake.New()
	service.Inject(fake.Forbidden().On(listOf("$Default")))
	_, err := newFakeStore(t, service, nil).ListCheckpoints(context.Background(), namespace, hub, "$Default", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized, "a position may be there")
}

func TestVerbatimWritesNamesAsTyped(t *testing.T) {
	service := fake.New()
	store := newFakeStore(t, service, &verbatim)
	claimOne(t, store, claim("$Default", "a", "0", nil))
	require.NoError(t, store.UpdateCheckpoint(context.Background(), checkpoint("$Default", "0", 1), nil))
	require.Equal(t, []string{typedPrefix + "0", "ns.example/hub/$Default/ownership/0"}, service.Names())
}

func TestLowerCaseLeavesThePartitionAlone(t *testing.T) {
	service := fake.New()
	store := newFakeStore(t, service, nil)
	claimOne(t, store, checkpointstore.Ownership{FullyQualifiedNamespace: "NS.example", EventHubName: "Hub", ConsumerGroup: "Group", PartitionID: "ABC", OwnerID: "Owner"})
	require.Equal(t, []string{"ns.example/hub/group/ownership/ABC"}, service.Names())
}

func TestALiveOwnerUnderTheOtherSpellingIsWarnedAbout(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	service := fake.New()
	service.SetClock(func() time.Time { return now })
	var log bytes.Buffer
	store := newFakeStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	store.SetClock(func() time.Time { return now })
	warnings := func() int {
		defer log.Reset()
		_, err := store.ListOwnership(context.Background(), namespace, hub, "$Default", nil)
		require.NoError(t, err)
		for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
			if line != "" {
				require.Contains(t, line, "level=WARN")
				require.Contains(t, line, "ns.example/hub/$Default/ownership/")
				require.Contains(t, line, "ns.example/hub/$default/ownership/")
				require.Contains(t, line, "owner=official")
			}
		}
		return strings.Count(log.String(), "\n")
	}
	look := func() bool {
		service.Reset()
		warnings()
		return service.Count(fake.ListBlobs) == 2
	}

	require.Zero(t, warnings(), "nobody is there")
	service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": "official"})
	require.Zero(t, warnings(), "not looked at again so soon")
	now = now.Add(5 * time.Minute)
	require.Zero(t, warnings(), "expired since")
	service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": "official"})
	now = now.Add(5 * time.Minute)
	service.SetLastModified("ns.example/hub/$Default/ownership/0", now.Add(-30*time.Second))
	require.Equal(t, 1, warnings(), "live")
	require.False(t, look(), "once")
	now = now.Add(5*time.Minute - time.Second)
	require.False(t, look(), "at most every five minutes")
	now = now.Add(time.Second)
	require.True(t, look())
	service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": ""})
	service.SetLastModified("ns.example/hub/$Default/ownership/0", now.Add(5*time.Minute))
	now = now.Add(5 * time.Minute)
	require.Zero(t, warnings(), "relinquished")

	now = now.Add(5 * time.Minute)
	service.Inject(fake.Forbidden().On(listOf("$Default")))
	require.Zero(t, warnings(), "that the look fails is not an error")

	_, err := store.ListOwnership(context.Background(), namespace, hub, group, nil)
	require.NoError(t, err)
	service.Reset()
	ignoring := newFakeStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
	_, err = ignoring.ListOwnership(context.Background(), namespace, hub, "$Default", nil)
	require.NoError(t, err)
	require.Equal(t, 1, service.Requests(), "switched off")
}

func TestACheckpointWithoutAPositionIsReturnedAndWarnedAbout(t *testing.T) {
	service := fake.New()
	service.Put(checkpointPrefix+"0", map[string]string{"sequencenumber": "None", "offset": "None"})
	service.Put(checkpointPrefix+"1", at(7))
	var log bytes.Buffer
	store := newFakeStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	all, err := store.ListCheckpoints(context.Background(), namespace, hub, group, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Nil(t, all[0].Offset)
	require.Nil(t, all[0].SequenceNumber)
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	require.Contains(t, log.String(), checkpointPrefix+"0")
}
