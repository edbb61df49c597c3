package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

func rewindTo(store checkpointstore.CheckpointStore, sequenceNumber int64) error {
	return store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", sequenceNumber), rewind)
}

// The next owner rewinds, and the owner before it is far ahead.
func TestARewindIsNotUndoneByThePreviousOwner(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 500))
	blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", won.ETag))
	list(t, b)
	require.NoError(t, rewindTo(b, 10))

	err := write(a, 510)
	require.ErrorIs(t, err, checkpointstore.ErrRewound)
	require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint, "who knows only this error stops as well")
	requireStored(t, service, 10)
	require.NoError(t, write(b, 11))
	requireStored(t, service, 11)
}

// A write that hangs in the network while the partition is rewound.
func TestAWriteDelayedPastARewindChangesNothing(t *testing.T) {
	service, a, operator := fleet(t)
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 500))
	service.Inject(fake.RunBefore(func() { require.NoError(t, rewindTo(operator, 10)) }).On(fake.BlobIs(blobtest.CheckpointPrefix + "0")).Once())
	require.ErrorIs(t, write(a, 510), checkpointstore.ErrRewound)
	requireStored(t, service, 10)
}

// An update that waits for the one before it while this store rewinds the partition.
func TestAnUpdateThatWaitedPastARewindIsRefused(t *testing.T) {
	service := fake.New()
	a := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Timeout: -1}) // it waits for the test's own context
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 500))
	entered, leave := make(chan struct{}), make(chan struct{})
	service.Inject(fake.RunBefore(func() { close(entered); <-leave }).Once())
	rewound, late := make(chan error), make(chan error)
	go func() { rewound <- rewindTo(a, 10) }()
	<-entered
	asked := make(chan struct{})
	go func() {
		ctx := signalOnWait{context.Background(), asked}
		late <- a.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 510), nil)
	}()
	<-asked
	close(leave)
	require.NoError(t, <-rewound)
	require.ErrorIs(t, <-late, checkpointstore.ErrRewound)
	requireStored(t, service, 10)
}

// signalOnWait closes a channel when somebody first waits for the context.
type signalOnWait struct {
	context.Context
	waited chan struct{}
}

func (c signalOnWait) Done() <-chan struct{} {
	select {
	case <-c.waited:
	default:
		close(c.waited)
	}
	return c.Context.Done()
}

// One store serves two owners, one after the other, and the record changed in between.
func TestAnotherOwnerOfTheSameStoreStartsFromWhatItFinds(t *testing.T) {
	for name, change := range map[string]func(*fake.Service, *checkpointstore.BlobCheckpointStore) error{
		"rewound": func(_ *fake.Service, operator *checkpointstore.BlobCheckpointStore) error {
			return rewindTo(operator, 10)
		},
		"moved back by another package": func(s *fake.Service, _ *checkpointstore.BlobCheckpointStore) error {
			s.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(10))
			return nil
		},
		"deleted": func(s *fake.Service, _ *checkpointstore.BlobCheckpointStore) error {
			s.Delete(blobtest.CheckpointPrefix + "0")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			service, a, operator := fleet(t)
			won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "processor-1", "0", nil))
			list(t, a)
			require.NoError(t, write(a, 5000))
			require.NoError(t, change(service, operator))
			blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "processor-2", "0", won.ETag))
			list(t, a)
			require.NoError(t, write(a, 11))
			requireStored(t, service, 11)
		})
	}
}

// A list that set out before this store rewound the partition, and returns after, shows the generation before.
func TestAListFromBeforeTheRewindIsNoLook(t *testing.T) {
	service, a, _ := fleet(t)
	require.NoError(t, write(a, 500))
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	service.Inject(fake.RunAfter(func() { require.NoError(t, rewindTo(a, 10)) }).On(fake.OpIs(fake.ListBlobs)).Once())
	list(t, a)
	require.NoError(t, write(a, 11))
	requireStored(t, service, 11)
}

// Without a fence, updates carry the generation that the store knows of.
func TestWithoutAFenceTheGenerationIsCarriedOn(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{DisableFencing: true})
	require.NoError(t, rewindTo(store, 10))
	require.NoError(t, write(store, 5))
	blob, _ := service.Get(blobtest.CheckpointPrefix + "0")
	require.Equal(t, map[string]string{"sequencenumber": "5", "offset": "320", "generation": "1"}, blob.Metadata)
}

// A checkpoint that is written after the partition was relinquished names the owner that it had.
func TestTheWriterIsTheLastOwner(t *testing.T) {
	service, a, _ := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "", "0", won.ETag))
	require.NoError(t, write(a, 5))
	blob, _ := service.Get(blobtest.CheckpointPrefix + "0")
	require.Equal(t, "a", blob.Metadata["clientidentifier"])
}

// What ended the call, or keeps it from being decided, is what it returns.
func TestErrorsOfTheReadThatDecides(t *testing.T) {
	for name, c := range map[string]struct {
		fault fake.Fault
		want  error
	}{
		"forbidden": {fake.Forbidden(), checkpointstore.ErrNotAuthorized},
		"cancelled": {fake.HangWithoutApplying(), context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			service, a, _ := fleet(t)
			require.NoError(t, write(a, 400))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			service.Inject(fake.LoseResponse().On(fake.OpIs(fake.SetMetadata)))
			if c.want == context.Canceled {
				service.Inject(fake.RunBefore(cancel).On(fake.OpIs(fake.GetProperties)))
			}
			service.Inject(c.fault.On(fake.OpIs(fake.GetProperties)))
			require.ErrorIs(t, a.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 500), nil), c.want)
		})
	}
}

// Without claims, a read of the partition after the refusal accepts the rewind.
func TestWithoutClaimsGetCheckpointAcceptsARewind(t *testing.T) {
	service, reader, operator := fleet(t)
	require.NoError(t, write(reader, 500))
	require.NoError(t, rewindTo(operator, 10))
	get := func() {
		_, err := reader.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.NoError(t, err)
	}
	get() // before the refusal it could be on behalf of anybody
	require.ErrorIs(t, write(reader, 510), checkpointstore.ErrRewound)
	list(t, reader)
	require.ErrorIs(t, write(reader, 510), checkpointstore.ErrRewound, "a list is on behalf of all partitions")
	get()
	require.NoError(t, write(reader, 11))
	requireStored(t, service, 11)
}

// A position that was stored without an answer is not somebody else's.
func TestStaleBehindAWriteWhoseAnswerWasLost(t *testing.T) {
	service, a, _ := fleet(t)
	require.NoError(t, write(a, 400))
	stop := service.Inject(fake.LoseResponse())
	require.Error(t, write(a, 500))
	stop()
	err := write(a, 499)
	require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
	require.ErrorContains(t, err, "499 is behind 500, which is stored")
	require.NotContains(t, err.Error(), "somebody else")
}

// A lost answer is found out by a read; a write that had no effect is sent once more.
func TestAWriteThatHadNoEffectIsSentOnceMore(t *testing.T) {
	service, a, _ := fleet(t)
	require.NoError(t, write(a, 400))
	service.Inject(fake.ResetConnection().On(fake.OpIs(fake.SetMetadata)).Limit(4)) // all tries of the first write
	require.NoError(t, write(a, 500))
	requireStored(t, service, 500)
}

// A service that answers a Put Blob with "no such blob" is not asked again and again.
func TestACreateThatFindsNoBlobFails(t *testing.T) {
	service, a, _ := fleet(t)
	service.Inject(fake.Status(404, "BlobNotFound").On(fake.OpIs(fake.PutBlob)))
	require.ErrorContains(t, write(a, 1), "404 BlobNotFound")
	require.Equal(t, 2, service.Requests(), "a read and a write")
}

// That there is no checkpoint is a look as well.
func TestAbsenceIsALook(t *testing.T) {
	for name, look := range map[string]func(*checkpointstore.BlobCheckpointStore) error{
		"ListCheckpoints": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			return err
		},
		"GetCheckpoint": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
			if !errors.Is(err, checkpointstore.ErrNotFound) {
				return fmt.Errorf("GetCheckpoint: %w", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			service, a, _ := fleet(t)
			blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
			require.NoError(t, look(a))
			service.Reset()
			require.NoError(t, write(a, 1))
			require.Equal(t, 1, service.Requests())
		})
	}
}

func TestNothingIsKeptOfPartitionsThatAreNotThere(t *testing.T) {
	_, a, _ := fleet(t)
	require.NoError(t, write(a, 1))
	for i := range 100 {
		_, err := a.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, fmt.Sprint("none-", i), nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotFound)
		_, err = a.GetOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, fmt.Sprint("none-", i), nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotFound)
	}
	list(t, a)
	require.Equal(t, 1, a.KnownPartitions())
}

// TestSteadyCheckpointAllocations holds what a checkpoint costs beside the one
// request of it: within 1.1 times of azblob alone with the same metadata.
func TestSteadyCheckpointAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		owner      string
		generation int64
		options    checkpointstore.UpdateCheckpointOptions
	}{
		"a position": {},
		"all keys":   {"a", 1, checkpointstore.UpdateCheckpointOptions{EnqueuedTime: to.Ptr(time.Now())}},
	} {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			service.SetRecording(false)
			store, err := checkpointstore.NewBlobCheckpointStore(service.Client(), nil)
			require.NoError(t, err)
			if c.owner != "" {
				blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, c.owner, "0", nil))
				require.NoError(t, rewindTo(store, 0))
			}
			require.NoError(t, write(store, 0))
			update := blobtest.Checkpoint(blobtest.Group, "0", 0)
			n := int64(0)
			ours := testing.AllocsPerRun(200, func() {
				n++
				update.SequenceNumber = to.Ptr(n)
				if err := store.UpdateCheckpoint(context.Background(), update, &c.options); err != nil {
					t.Fatal(err)
				}
			})
			service.Put(blobtest.CheckpointPrefix+"1", nil)
			set := bareSetMetadata(service, blobtest.CheckpointPrefix+"1", c.owner, c.generation, c.options.EnqueuedTime)
			bare := testing.AllocsPerRun(200, func() {
				n++
				if err := set(n); err != nil {
					t.Fatal(err)
				}
			})
			mine, _ := service.Get(blobtest.CheckpointPrefix + "0")
			other, _ := service.Get(blobtest.CheckpointPrefix + "1")
			require.ElementsMatch(t, slices.Collect(maps.Keys(other.Metadata)), slices.Collect(maps.Keys(mine.Metadata)), "the same metadata")
			if !raceEnabled {
				require.LessOrEqual(t, ours, bare*1.1)
			}
			t.Logf("allocations: UpdateCheckpoint %.0f, bare SetMetadata %.0f, ratio %.2f", ours, bare, ours/bare)
			require.Equal(t, 0, service.Count(fake.ListBlobs))
		})
	}
}
