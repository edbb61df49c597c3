package checkpointstore_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

const (
	lowerPrefix = "ns.example/hub/$default/checkpoint/"
	typedPrefix = "ns.example/hub/$Default/checkpoint/"
)

// listOf matches the lists of a group's blobs.
func listOf(group string) faults.Matcher {
	return func(req *http.Request) bool { return strings.Contains(req.URL.Query().Get("prefix"), "/"+group+"/") }
}

// letLooksEnd holds the lists under the store's spelling of $Default until the look under the verbatim one, if there is
// any, has ended. The test runs in a bubble of synctest.
func letLooksEnd(service *fake.Service) {
	service.Inject(faults.RunBefore(synctest.Wait).On(listOf("$default")))
}

func TestTheRecordModifiedLastIsReturned(t *testing.T) {
	service := fake.New()
	early := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	late := early.Add(time.Second)
	put := func(name string, sequenceNumber int64, modified time.Time) {
		service.Put(name, blobtest.Position(sequenceNumber))
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

	store := blobtest.NewStore(t, service, nil)
	all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.NoError(t, err)
	got := make(map[string]int64)
	for _, c := range all {
		require.Equal(t, "$Default", c.ConsumerGroup, "the caller's spelling")
		got[c.PartitionID] = *c.SequenceNumber
		one, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", c.PartitionID, nil)
		require.NoError(t, err)
		require.Equal(t, c, one, "both reads agree")
	}
	require.Equal(t, map[string]int64{"0": 500, "1": 600, "2": 710, "3": 10, "4": 900, "5": 20}, got)

	alone := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
	all, err = alone.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.NoError(t, err)
	require.Len(t, all, 5, "without the one that is only under the verbatim names")

	typed := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim})
	all, err = typed.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.NoError(t, err)
	require.Len(t, all, 5, "without the one that is only in lower case")
}

func TestAFailedReadOfTheOtherSpellingFailsTheList(t *testing.T) {
	service := fake.New()
	service.Inject(faults.Forbidden().On(listOf("$Default")))
	_, err := blobtest.NewStore(t, service, nil).ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized, "a position may be there")
}

func TestLowerCaseLeavesThePartitionAlone(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, nil)
	blobtest.ClaimOne(t, store, checkpointstore.Ownership{FullyQualifiedNamespace: "NS.example", EventHubName: "Hub", ConsumerGroup: "Group", PartitionID: "ABC", OwnerID: "Owner"})
	require.Equal(t, []string{"ns.example/hub/group/ownership/ABC"}, service.Names())
}

func TestALiveOwnerUnderTheOtherSpellingIsWarnedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		var log bytes.Buffer
		store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		letLooksEnd(service)
		warnings := func() int {
			defer log.Reset()
			_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
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
			return service.Count(faults.ListBlobs) == 2
		}

		require.Zero(t, warnings(), "nobody is there")
		service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": "official"})
		require.Zero(t, warnings(), "not looked at again so soon")
		time.Sleep(5 * time.Minute)
		require.Zero(t, warnings(), "expired since")
		service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": "official"})
		time.Sleep(5 * time.Minute)
		service.SetLastModified("ns.example/hub/$Default/ownership/0", time.Now().Add(-30*time.Second))
		require.Equal(t, 1, warnings(), "live")
		require.False(t, look(), "once")
		time.Sleep(5*time.Minute - time.Second)
		require.False(t, look(), "at most every five minutes")
		time.Sleep(time.Second)
		require.True(t, look())
		service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": ""})
		service.SetLastModified("ns.example/hub/$Default/ownership/0", time.Now().Add(5*time.Minute))
		time.Sleep(5 * time.Minute)
		require.Zero(t, warnings(), "relinquished")

		time.Sleep(5 * time.Minute)
		service.Inject(faults.Forbidden().On(listOf("$Default")))
		require.Zero(t, warnings(), "that the look fails is not an error")
		require.False(t, look(), "nor a reason to look sooner")

		_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		service.Reset()
		ignoring := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), BlobNaming: checkpointstore.BlobNamingLowerCaseOnly})
		_, err = ignoring.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
		require.NoError(t, err)
		require.Equal(t, 1, service.Requests(), "switched off")
	})
}

// counting counts the requests that a transport works on.
type counting struct {
	service *fake.Service
	now     atomic.Int32
}

func (c *counting) Do(req *http.Request) (*http.Response, error) {
	c.now.Add(1)
	defer c.now.Add(-1)
	return c.service.Do(req)
}

// A look that takes its time delays nothing: it ends with the list, and takes
// place again with the next one.
func TestTheLookForLiveOwnersNeverDelaysAList(t *testing.T) {
	for name, hang := range map[string]faults.Fault{
		"before it is sent": faults.HangWithoutApplying(),
		"after it was sent": faults.HangAfterApplying(),
		"in its retries":    faults.Busy(time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			for constructor, construct := range map[string]func(testing.TB, string, storeOptions) (blobStore, error){"built": constructors["no credential"], "handed in": blobtest.HandIn} {
				t.Run(constructor, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						service := fake.New()
						transport := &counting{service: service}
						var log bytes.Buffer
						o := storeOptions{Timeout: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
						o.ClientOptions.Transport = transport
						o.ClientOptions.Retry = policy.RetryOptions{TryTimeout: time.Hour, RetryDelay: time.Millisecond, MaxRetryDelay: 24 * time.Hour}
						store, err := construct(t, service.URL(), o)
						require.NoError(t, err)
						service.Put("ns.example/hub/$Default/ownership/0", map[string]string{"ownerid": "official"})
						service.Put("ns.example/hub/$default/ownership/0", map[string]string{"ownerid": "ours"})

						arrived := make(chan struct{}, 1)
						hang := hang.Before(func() { arrived <- struct{}{} })
						stop := service.Inject(hang.On(listOf("$Default")))
						hold := service.Inject(faults.RunBefore(func() { <-arrived }).On(listOf("$default")))
						for range 3 {
							began := time.Now()
							list, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
							require.NoError(t, err)
							require.Len(t, list, 1)
							require.Equal(t, "ours", list[0].OwnerID)
							require.Zero(t, time.Since(began))
							require.Zero(t, transport.now.Load(), "nothing outlives the call")
							require.Empty(t, log.String())
						}
						stop()
						hold()

						letLooksEnd(service)
						for range 2 {
							_, err = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
							require.NoError(t, err)
							require.Equal(t, 1, strings.Count(log.String(), "owner=official"), "it took place after all, once")
						}
					})
				})
			}
		})
	}
}

// A list that fails while a look takes place fails at once.
func TestTheLookForLiveOwnersNeverDelaysAFailure(t *testing.T) {
	service := fake.New()
	arrived := make(chan struct{}, 1)
	hang := faults.HangWithoutApplying()
	hang = hang.Before(func() { arrived <- struct{}{} })
	service.Inject(hang.On(listOf("$Default")))
	refuse := faults.Forbidden()
	refuse = refuse.Before(func() { <-arrived })
	service.Inject(refuse.On(listOf("$default")))
	options := checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	options.Timeout = -1
	options.ClientOptions.Retry.TryTimeout = time.Hour
	options.ClientOptions.Retry.RetryDelay = time.Millisecond
	_, err := blobtest.NewStore(t, service, &options).ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
}

// Of calls at the same time, one looks.
func TestOneLookForLiveOwnersAtATime(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	arrived := make(chan struct{})
	service.Inject(faults.RunBefore(func() {
		close(arrived)
		_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
		require.NoError(t, err)
	}).On(listOf("$Default")).Once())
	service.Inject(faults.RunBefore(func() { <-arrived }).On(listOf("$default")))
	_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(service.Transcript(), "$Default"))
}

// If there is no checkpoint under the verbatim names, ListCheckpoints leaves them
// out for five minutes. GetCheckpoint does not.
func TestEmptyVerbatimNamesAreNotListedAgainForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		store := blobtest.NewStore(t, service, nil)
		list := func(group string) (ids []string, requests int) {
			service.Reset()
			all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, group, nil)
			require.NoError(t, err)
			for _, c := range all {
				ids = append(ids, c.PartitionID)
			}
			return ids, service.Count(faults.ListBlobs)
		}
		requireList := func(requests int, want ...string) {
			t.Helper()
			ids, n := list("$Default")
			require.Equal(t, want, ids)
			require.Equal(t, requests, n)
		}
		service.Put(lowerPrefix+"1", blobtest.Position(600))
		service.Put(typedPrefix+"0/deeper", blobtest.Position(1)) // which is no checkpoint
		requireList(2, "1")
		requireList(1, "1")
		_, n := list("$DEFAULT")
		require.Equal(t, 2, n, "another spelling")

		service.Put(typedPrefix+"0", blobtest.Position(500))
		time.Sleep(5*time.Minute - time.Second)
		requireList(1, "1")
		one, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", "0", nil)
		require.NoError(t, err)
		require.EqualValues(t, 500, *one.SequenceNumber)
		time.Sleep(time.Second)
		requireList(2, "0", "1")
		requireList(2, "0", "1")
		time.Sleep(5 * time.Minute)
		requireList(2, "0", "1")

		service.Delete(typedPrefix + "0")
		failing := service.Inject(faults.Forbidden().On(listOf("$Default")))
		_, err = store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		failing()
		requireList(2, "1") // a list that failed shows nothing
		requireList(1, "1")
	})
}

// That there is none under the store's own spelling says nothing about the
// verbatim one, also if that is the list which comes back last.
func TestEmptyOwnNamesDoNotHideCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		store := blobtest.NewStore(t, service, nil)
		service.Put(typedPrefix+"0", blobtest.Position(500))
		listed := make(chan struct{})
		service.Inject(faults.RunAfter(func() { close(listed) }).On(listOf("$Default")).Once())
		service.Inject(faults.RunBefore(func() {
			<-listed
			synctest.Wait() // until that list is decoded
		}).On(listOf("$default")).Once())
		for range 2 {
			all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
			require.NoError(t, err)
			require.Len(t, all, 1)
		}
	})
}

// Of two lists at the same time, the one that began last tells whether there are
// checkpoints under the verbatim names.
func TestAListThatBeganEarlierDoesNotHideCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := fake.New()
		store := blobtest.NewStore(t, service, nil)
		service.Inject(faults.RunAfter(func() { // the first list has found nothing
			service.Put(typedPrefix+"0", blobtest.Position(500))
			time.Sleep(time.Second)
			all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
			require.NoError(t, err)
			require.Len(t, all, 1)
		}).On(listOf("$Default")).Once())
		_, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
		require.NoError(t, err)
		all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

func TestACheckpointWithoutAPositionIsReturnedAndWarnedAbout(t *testing.T) {
	service := fake.New()
	service.Put(blobtest.CheckpointPrefix+"0", map[string]string{"sequencenumber": "None", "offset": "None"})
	service.Put(blobtest.CheckpointPrefix+"1", blobtest.Position(7))
	var log bytes.Buffer
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Nil(t, all[0].Offset)
	require.Nil(t, all[0].SequenceNumber)
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	require.Contains(t, log.String(), blobtest.CheckpointPrefix+"0")
}

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
