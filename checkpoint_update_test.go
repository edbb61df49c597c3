package checkpointstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// The scenarios are told at the level of whole stores here; package fence
// explores their interleavings.

// fleet is two stores, as two processes have them, over one container.
func fleet(t *testing.T) (service *fake.Service, a, b *checkpointstore.BlobCheckpointStore) {
	service = fake.New()
	return service, blobtest.NewStore(t, service, nil), blobtest.NewStore(t, service, nil)
}

func write(store *checkpointstore.BlobCheckpointStore, sequenceNumber int64) error {
	return store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", sequenceNumber), nil)
}

// rewind are the options of a rewind.
var rewind = &checkpointstore.UpdateCheckpointOptions{Rewind: true}

// list lets a store look at the checkpoints of the group.
func list(t testing.TB, store *checkpointstore.BlobCheckpointStore) {
	t.Helper()
	_, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.NoError(t, err)
}

func requireStored(t *testing.T, service *fake.Service, sequenceNumber int64) {
	t.Helper()
	blob, found := service.Get(blobtest.CheckpointPrefix + "0")
	require.True(t, found)
	require.Equal(t, fmt.Sprint(sequenceNumber), blob.Metadata["sequencenumber"])
}

func TestAPausedOwnerCannotMoveACheckpointBack(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 500))

	// a is paused; b takes over and goes on.
	blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", won.ETag))
	list(t, b)
	require.NoError(t, write(b, 800))

	// a resumes, lists for another partition, and its handler ends.
	list(t, a)
	err := write(a, 510)
	require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
	requireStored(t, service, 800)
	require.ErrorIs(t, write(a, 520), checkpointstore.ErrStaleCheckpoint, "late handlers keep failing")
	requireStored(t, service, 800)
	require.NoError(t, write(b, 810), "the owner goes on")
}

// What an update reads is no look for the next one, if its own write fails.
func TestAnUpdateThatFailedIsNoLook(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 40))
	won = blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", won.ETag))
	list(t, b)
	require.NoError(t, write(b, 51))

	// a wins the partition back. Nobody has looked when its handler of before sends 57, which fails, and then 47.
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", won.ETag))
	remove := service.Inject(fake.ResetConnection().On(fake.OpIs(fake.SetMetadata)))
	require.Error(t, write(a, 57))
	remove()
	require.ErrorIs(t, write(a, 47), checkpointstore.ErrStaleCheckpoint)
	requireStored(t, service, 51)

	// The handler of now looks, and goes on from there.
	list(t, a)
	require.NoError(t, write(a, 52))
	requireStored(t, service, 52)
}

func TestARenewalGoesOnWithTheTenure(t *testing.T) {
	service, a, _ := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	require.NoError(t, write(a, 500))
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", won.ETag))
	list(t, a)
	service.Reset()
	require.ErrorIs(t, write(a, 490), checkpointstore.ErrStaleCheckpoint)
	require.Zero(t, service.Requests(), "nothing is sent")
}

func TestAnOperatorsRewindIsAcceptedInANewTenure(t *testing.T) {
	service, a, operator := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	require.NoError(t, write(a, 500))
	free := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "", "0", won.ETag))

	require.ErrorIs(t, write(a, 10), checkpointstore.ErrStaleCheckpoint, "still fenced after it was relinquished")
	require.NoError(t, operator.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 10), rewind))

	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", free.ETag))
	list(t, a)
	require.NoError(t, write(a, 20))
	requireStored(t, service, 20)
}

func TestARecreatedHubNeedsARewind(t *testing.T) {
	service, old, fresh := fleet(t)
	require.NoError(t, write(old, 5000))
	blobtest.ClaimOne(t, fresh, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, fresh)
	err := write(fresh, 3)
	require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
	require.ErrorContains(t, err, "Rewind", "the error says what to do")
	require.NoError(t, fresh.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 3), rewind))
	require.NoError(t, write(fresh, 4))
	requireStored(t, service, 4)
	require.ErrorIs(t, write(fresh, 3), checkpointstore.ErrStaleCheckpoint)
}

func TestUpdatesOfOneOwnerMayArriveInAnyOrder(t *testing.T) {
	service, a, _ := fleet(t)
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	var wg sync.WaitGroup
	for n := range int64(50) {
		wg.Go(func() {
			if err := write(a, n); err != nil {
				require.ErrorIs(t, err, checkpointstore.ErrStaleCheckpoint)
			}
		})
	}
	wg.Wait()
	requireStored(t, service, 49)
}

func TestAWriteDelayedPastAHandOverChangesNothing(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 190))
	// a's next write hangs in the network while the partition changes hands.
	service.Inject(fake.RunBefore(func() {
		free := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "", "0", won.ETag))
		blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", free.ETag))
		list(t, b)
		require.NoError(t, write(b, 999))
	}).On(fake.BlobIs(blobtest.CheckpointPrefix + "0")).Once())
	require.ErrorIs(t, write(a, 199), checkpointstore.ErrStaleCheckpoint)
	requireStored(t, service, 999)
}

func TestAWriteThatArrivesBetweenTakeOverAndFirstCheckpoint(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 190))
	blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", won.ETag))
	list(t, b)
	require.NoError(t, write(a, 199), "nobody has gone further yet")
	require.NoError(t, write(b, 999))
	requireStored(t, service, 999)
	require.ErrorIs(t, write(a, 200), checkpointstore.ErrStaleCheckpoint)
}

func TestASingleReaderNeedsNoClaims(t *testing.T) {
	service, a, b := fleet(t)
	require.NoError(t, write(a, 500))
	require.NoError(t, write(a, 510))
	require.ErrorIs(t, write(a, 10), checkpointstore.ErrStaleCheckpoint)
	require.NoError(t, a.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 10), rewind), "the way back")
	require.NoError(t, write(a, 11))
	requireStored(t, service, 11)

	// Restarted, it goes on from what it reads.
	got, err := b.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.NoError(t, err)
	require.Equal(t, int64(11), *got.SequenceNumber)
	service.Reset()
	require.NoError(t, write(b, 12))
	require.Equal(t, 1, service.Requests(), "the read was the baseline")
}

func TestAListFromBeforeTheTenureIsNoLook(t *testing.T) {
	service, a, operator := fleet(t)
	require.NoError(t, write(operator, 500))
	// While a's list is on its way back, an operator rewinds and a claims.
	service.Inject(fake.RunAfter(func() {
		require.NoError(t, operator.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 10), rewind))
		blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	}).On(fake.OpIs(fake.ListBlobs)).Once())
	list(t, a)
	list(t, a) // this one is
	service.Reset()
	require.NoError(t, write(a, 11))
	require.Equal(t, 1, service.Requests())
	requireStored(t, service, 11)
}

func TestALateHandlerIsStaleAlsoAfterThePartitionWasWonBack(t *testing.T) {
	service, a, b := fleet(t)
	won := blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", nil))
	list(t, a)
	require.NoError(t, write(a, 500))
	won = blobtest.ClaimOne(t, b, blobtest.Claim(blobtest.Group, "b", "0", won.ETag))
	list(t, b)
	require.NoError(t, write(b, 800))

	// a wins the partition back while its handler of before is still at work: the
	// Processor of azeventhubs/v2 lists no checkpoints then.
	blobtest.ClaimOne(t, a, blobtest.Claim(blobtest.Group, "a", "0", won.ETag))
	require.ErrorIs(t, write(a, 510), checkpointstore.ErrStaleCheckpoint)
	require.ErrorIs(t, write(a, 520), checkpointstore.ErrStaleCheckpoint)
	requireStored(t, service, 800)
	require.NoError(t, write(a, 810))
	require.ErrorIs(t, write(a, 530), checkpointstore.ErrStaleCheckpoint)
}

func TestOnlyTheBlobThatIsWrittenIsABaseline(t *testing.T) {
	service, a, _ := fleet(t)
	service.Put("ns.example/hub/$Default/checkpoint/0", blobtest.Position(500))
	all, err := a.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
	require.NoError(t, err)
	require.Equal(t, int64(500), *all[0].SequenceNumber)
	require.NoError(t, a.UpdateCheckpoint(context.Background(), blobtest.Checkpoint("$Default", "0", 510), nil))
	old, _ := service.Get("ns.example/hub/$Default/checkpoint/0")
	require.Equal(t, "500", old.Metadata["sequencenumber"], "old names are never written")
	own, found := service.Get("ns.example/hub/$default/checkpoint/0")
	require.True(t, found)
	require.Equal(t, "510", own.Metadata["sequencenumber"])
}

func TestWithoutFencingTheLastWriterWins(t *testing.T) {
	unfenced := checkpointstore.BlobCheckpointStoreOptions{DisableFencing: true}
	service := fake.New()
	a, b := blobtest.NewStore(t, service, &unfenced), blobtest.NewStore(t, service, &unfenced)
	require.NoError(t, write(a, 500))
	require.NoError(t, write(b, 800))
	require.NoError(t, write(a, 510))
	requireStored(t, service, 510)
}

func TestAnUpdateWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	service, a, _ := fleet(t)
	require.NoError(t, write(a, 1))
	entered, leave := make(chan struct{}), make(chan struct{})
	service.Inject(fake.RunBefore(func() { close(entered); <-leave }).Once())
	first := make(chan error)
	go func() { first <- write(a, 2) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, a.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 3), nil), context.Canceled)
	require.NoError(t, a.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "1", 3), nil), "another partition does not wait")
	close(leave)
	require.NoError(t, <-first)
	requireStored(t, service, 2)
}
