package memstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

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

func at(partition string, n int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
		PartitionID: partition, SequenceNumber: &n,
	}
}

func update(t *testing.T, s *memstore.Store, partition string, n int64) {
	t.Helper()
	if err := s.UpdateCheckpoint(t.Context(), at(partition, n), nil); err != nil {
		t.Fatalf("UpdateCheckpoint of partition %s to %d: %v", partition, n, err)
	}
}

// Without claims, GetCheckpoint after the refusal takes over a rewind.
func TestGetCheckpointAfterARewind(t *testing.T) {
	s := memstore.New()
	update(t, s, "0", 500)
	if err := s.Share().UpdateCheckpoint(t.Context(), at("0", 10), &checkpointstore.UpdateCheckpointOptions{Rewind: true}); err != nil {
		t.Fatal(err)
	}
	isError(t, s.UpdateCheckpoint(t.Context(), at("0", 510), nil), "UpdateCheckpoint", checkpointstore.ErrRewound)
	if _, err := s.GetCheckpoint(t.Context(), namespace, hub, group, "0", nil); err != nil {
		t.Fatal(err)
	}
	update(t, s, "0", 11)
}

func TestGet(t *testing.T) {
	s := memstore.New()
	_, err := s.GetOwnership(t.Context(), namespace, hub, group, "0", nil)
	isError(t, err, "GetOwnership", checkpointstore.ErrNotFound)
	_, err = s.GetCheckpoint(t.Context(), namespace, hub, group, "0", nil)
	isError(t, err, "GetCheckpoint", checkpointstore.ErrNotFound)

	record := win(t, s, claim("0", "alice", nil))
	update(t, s, "0", 5)
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
	update(t, s, "0", 5)
	isError(t, s.UpdateCheckpoint(t.Context(), at("0", 4), nil), "UpdateCheckpoint", checkpointstore.ErrStaleCheckpoint)
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
		update(t, s, want[i], 1)
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
