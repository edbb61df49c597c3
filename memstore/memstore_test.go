package memstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/storetest"
)

func TestConformance(t *testing.T) {
	storetest.RunShared(t, func(testing.TB) func() checkpointstore.CheckpointStore {
		first := memstore.New()
		return func() checkpointstore.CheckpointStore { return first.Share() }
	})
}

// TestConformanceOfShared runs the suite on a store whose records another one
// has been given, too.
func TestConformanceOfShared(t *testing.T) {
	storetest.Run(t, func(testing.TB) checkpointstore.CheckpointStore { return memstore.New().Share() })
}

const (
	namespace = "ns.servicebus.windows.net"
	hub       = "hub"
	group     = "$Default"
)

func claim(partition, owner string, etag *azcore.ETag) checkpointstore.Ownership {
	return checkpointstore.Ownership{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: partition, OwnerID: owner, ETag: etag,
	}
}

func win(t *testing.T, s *memstore.Store, o checkpointstore.Ownership) checkpointstore.Ownership {
	t.Helper()
	won, err := s.ClaimOwnership(t.Context(), []checkpointstore.Ownership{o}, nil)
	if err != nil || len(won) != 1 {
		t.Fatalf("the claim gives %v, %v, want it to win", won, err)
	}
	return won[0]
}

func update(t *testing.T, s *memstore.Store, n int64) error {
	t.Helper()
	return s.UpdateCheckpoint(t.Context(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: "0", SequenceNumber: &n,
	}, nil)
}

func mustUpdate(t *testing.T, s *memstore.Store, n int64) {
	t.Helper()
	if err := update(t, s, n); err != nil {
		t.Fatalf("UpdateCheckpoint to %d: %v", n, err)
	}
}

func mustRewind(t *testing.T, s *memstore.Store, n int64) {
	t.Helper()
	err := s.UpdateCheckpoint(t.Context(), checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: "0", SequenceNumber: &n,
	}, &checkpointstore.UpdateCheckpointOptions{Rewind: true})
	if err != nil {
		t.Fatalf("UpdateCheckpoint to %d with Rewind: %v", n, err)
	}
}

func mustBeStale(t *testing.T, s *memstore.Store, n int64) {
	t.Helper()
	if err := update(t, s, n); !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		t.Fatalf("UpdateCheckpoint to %d: %v, want it stale", n, err)
	}
}

func list(t *testing.T, s *memstore.Store) {
	t.Helper()
	if _, err := s.ListCheckpoints(t.Context(), namespace, hub, group, nil); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s *memstore.Store, want int64) {
	t.Helper()
	c, err := s.Share().GetCheckpoint(t.Context(), namespace, hub, group, "0", nil)
	if err != nil || *c.SequenceNumber != want {
		t.Fatalf("the checkpoint is %+v, %v, want %d", c, err, want)
	}
}

// A process that was paused, lost the partition and goes on does not move the
// checkpoint back, though it lists again in between; nor where there was none.
func TestPausedOwnerIsStale(t *testing.T) {
	for name, first := range map[string]int64{"with a checkpoint": 500, "without a checkpoint": 0} {
		t.Run(name, func(t *testing.T) {
			paused := memstore.New()
			other := paused.Share()
			record := win(t, paused, claim("0", "paused", nil))
			list(t, paused)
			if first != 0 {
				mustUpdate(t, paused, first)
			}
			win(t, other, claim("0", "other", record.ETag))
			list(t, other)
			mustUpdate(t, other, 800)
			list(t, paused)
			mustBeStale(t, paused, 510)
			stored(t, paused, 800)
			mustUpdate(t, paused, 801)
		})
	}
}

// What is stored when a new tenure begins is where it goes on, wherever this
// process was before.
func TestNewTenure(t *testing.T) {
	s := memstore.New()
	operator := s.Share()
	record := win(t, s, claim("0", "alice", nil))
	mustUpdate(t, s, 5000)
	record = win(t, s, claim("0", "", record.ETag))
	mustBeStale(t, s, 4999)
	mustRewind(t, operator, 10)
	record = win(t, s, claim("0", "alice", record.ETag))
	list(t, s)
	mustUpdate(t, s, 20)
	win(t, s, record)
	mustBeStale(t, s, 19)
	stored(t, s, 20)
}

// Without claims, GetCheckpoint after the refusal takes over a rewind.
func TestGetCheckpointAfterARewind(t *testing.T) {
	s := memstore.New()
	mustUpdate(t, s, 500)
	mustRewind(t, s.Share(), 10)
	if err := update(t, s, 510); !errors.Is(err, checkpointstore.ErrRewound) {
		t.Fatalf("UpdateCheckpoint: %v, want ErrRewound", err)
	}
	if _, err := s.GetCheckpoint(t.Context(), namespace, hub, group, "0", nil); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s, 11)
	stored(t, s, 11)
}

// A store that only reads has a baseline from GetCheckpoint as from a list.
func TestGetCheckpointIsASight(t *testing.T) {
	s := memstore.New()
	other := s.Share()
	if _, err := s.GetCheckpoint(t.Context(), namespace, hub, group, "0", nil); !errors.Is(err, checkpointstore.ErrNotFound) {
		t.Fatalf("GetCheckpoint: %v, want ErrNotFound", err)
	}
	mustUpdate(t, other, 800)
	mustBeStale(t, s, 510)
}

func TestGet(t *testing.T) {
	s := memstore.New()
	_, err := s.GetOwnership(t.Context(), namespace, hub, group, "0", nil)
	isError(t, err, "GetOwnership", checkpointstore.ErrNotFound)
	_, err = s.GetCheckpoint(t.Context(), namespace, hub, group, "0", nil)
	isError(t, err, "GetCheckpoint", checkpointstore.ErrNotFound)

	record := win(t, s, claim("0", "alice", nil))
	mustUpdate(t, s, 5)
	o, err := s.GetOwnership(t.Context(), namespace, "HUB", group, "0", nil)
	if err != nil || o.OwnerID != "alice" || *o.ETag != *record.ETag || o.EventHubName != "HUB" {
		t.Errorf("GetOwnership: %+v, %v", o, err)
	}
	c, err := s.GetCheckpoint(t.Context(), namespace, "HUB", group, "0", nil)
	if err != nil || *c.SequenceNumber != 5 || c.Offset != nil || c.EventHubName != "HUB" {
		t.Errorf("GetCheckpoint: %+v, %v", c, err)
	}

	_, err = s.GetOwnership(t.Context(), namespace, hub, group, "", nil)
	isError(t, err, "GetOwnership", checkpointstore.ErrInvalidArgument)
	_, err = s.GetCheckpoint(t.Context(), namespace, hub, "a/b", "0", nil)
	isError(t, err, "GetCheckpoint", checkpointstore.ErrInvalidArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.GetOwnership(ctx, namespace, hub, group, "0", nil)
	isError(t, err, "GetOwnership", context.Canceled)
	_, err = s.GetCheckpoint(ctx, namespace, hub, group, "0", nil)
	isError(t, err, "GetCheckpoint", context.Canceled)
}

// TestErrorsNameTheMethod: what the Validate functions find is reported under the
// method's name.
func TestErrorsNameTheMethod(t *testing.T) {
	s := memstore.New()
	_, err := s.ListOwnership(t.Context(), "", hub, group, nil)
	isError(t, err, "ListOwnership", checkpointstore.ErrInvalidArgument)
	_, err = s.ListCheckpoints(t.Context(), "", hub, group, nil)
	isError(t, err, "ListCheckpoints", checkpointstore.ErrInvalidArgument)
	_, err = s.ClaimOwnership(t.Context(), []checkpointstore.Ownership{{}}, nil)
	isError(t, err, "ClaimOwnership", checkpointstore.ErrInvalidArgument)
	isError(t, s.UpdateCheckpoint(t.Context(), checkpointstore.Checkpoint{}, nil), "UpdateCheckpoint", checkpointstore.ErrInvalidArgument)
	mustUpdate(t, s, 5)
	isError(t, update(t, s, 4), "UpdateCheckpoint", checkpointstore.ErrStaleCheckpoint)
}

func isError(t *testing.T, err error, op string, kind error) {
	t.Helper()
	var e *checkpointstore.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) || e.Op != op {
		t.Errorf("got %v, want %v of %s", err, kind, op)
	}
}

// endsAfter is a context that ends when it was asked n times.
type endsAfter struct {
	context.Context
	n int
}

func (c *endsAfter) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// A context that ends in the middle of a call leaves what was won before.
func TestClaimsUntilTheContextEnds(t *testing.T) {
	s := memstore.New()
	asked := []checkpointstore.Ownership{claim("0", "a", nil), claim("1", "a", nil), claim("2", "a", nil)}
	won, err := s.ClaimOwnership(&endsAfter{t.Context(), 2}, asked, nil)
	var failed *checkpointstore.PartitionErrors
	if !errors.Is(err, context.Canceled) || !errors.As(err, &failed) || len(failed.Errors) != 1 || failed.Errors[0].PartitionID != "2" {
		t.Fatalf("the error is %v, want the context's for partition 2", err)
	}
	if len(won) != 2 || won[0].PartitionID != "0" || won[1].PartitionID != "1" {
		t.Fatalf("%+v were won, want partitions 0 and 1", won)
	}
	if listed, err := s.ListOwnership(t.Context(), namespace, hub, group, nil); err != nil || len(listed) != 2 {
		t.Fatalf("%+v are listed, %v, want what was won", listed, err)
	}
}

// Lists are sorted, so that tests of users see the same every time.
func TestListsAreSorted(t *testing.T) {
	s := memstore.New()
	want := []string{"0", "1", "10", "2", "A", "a", "b"}
	for _, i := range []int{4, 1, 6, 0, 5, 3, 2} {
		win(t, s, claim(want[i], "alice", nil))
		c := checkpointstore.Checkpoint{FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: want[i], SequenceNumber: to.Ptr[int64](1)}
		if err := s.UpdateCheckpoint(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
	}
	owned, err := s.ListOwnership(t.Context(), namespace, hub, group, nil)
	if err != nil || len(owned) != len(want) {
		t.Fatalf("%d ownerships, %v", len(owned), err)
	}
	read, err := s.ListCheckpoints(t.Context(), namespace, hub, group, nil)
	if err != nil || len(read) != len(want) {
		t.Fatalf("%d checkpoints, %v", len(read), err)
	}
	for i, id := range want {
		if owned[i].PartitionID != id || read[i].PartitionID != id {
			t.Errorf("place %d has the ownership of %q and the checkpoint of %q, want %q", i, owned[i].PartitionID, read[i].PartitionID, id)
		}
	}
}

// NewWithClock's clock is what LastModifiedTime comes from, in all that share the
// records.
func TestClock(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	s := memstore.NewWithClock(func() time.Time { return now })
	record := win(t, s, claim("0", "alice", nil))
	if !record.LastModifiedTime.Equal(now) || record.LastModifiedTime.Location() != time.UTC {
		t.Errorf("LastModifiedTime is %v, want %v in UTC", record.LastModifiedTime, now)
	}
	now = now.Add(time.Minute)
	if record = win(t, s.Share(), record); !record.LastModifiedTime.Equal(now) {
		t.Errorf("LastModifiedTime is %v, want %v", record.LastModifiedTime, now)
	}
}

// An ETag without a record and a record without an ETag both lose.
func TestETagsAndRecordsGoTogether(t *testing.T) {
	s := memstore.New()
	record := win(t, s, claim("0", "alice", nil))
	for name, lost := range map[string]checkpointstore.Ownership{
		"an ETag without a record": claim("1", "alice", record.ETag),
		"a record without an ETag": claim("0", "alice", nil),
	} {
		if won, err := s.ClaimOwnership(t.Context(), []checkpointstore.Ownership{lost}, nil); err != nil || len(won) != 0 {
			t.Errorf("%s gives %v, %v, want it to lose", name, won, err)
		}
	}
}

// ETags are handed out in quotes and taken without them, too.
func TestETagForms(t *testing.T) {
	s := memstore.New()
	text := string(*win(t, s, claim("0", "alice", nil)).ETag)
	if len(text) < 3 || text[0] != '"' || text[len(text)-1] != '"' {
		t.Fatalf("the ETag is %s, want it in quotes", text)
	}
	win(t, s, claim("0", "bob", to.Ptr(azcore.ETag(text[1:len(text)-1]))))
}
