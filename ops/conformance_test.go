package ops_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/ops"
)

func TestSnapshot(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		owner, store := open(), open()
		require.Empty(t, read(t, store).Partitions, "a group without records")

		claim(t, owner, "alice", "0", "1", "10")
		checkpoint(t, owner, "0", 5)
		require.NoError(t, owner.UpdateCheckpoint(ctx, record("0", 7), &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &noon}))
		rewind(t, owner, "1", 3)
		rewind(t, owner, "1", 2)
		claim(t, owner, "", "10")
		rewind(t, open(), "2", 1)

		s := read(t, store)
		require.Equal(t, scope, s.Scope)
		require.Equal(t, ops.DefaultExpiration, s.Expiration)
		require.WithinDuration(t, time.Now(), s.Time, time.Hour)
		require.Equal(t, time.UTC, s.Time.Location())
		var seen []string
		for _, p := range s.Partitions {
			at := "none"
			if c := p.Checkpoint; c != nil {
				at = fmt.Sprintf("%d %s generation %d by %q", *c.SequenceNumber, *c.Offset, c.Generation, c.ClientID)
				require.NotEmpty(t, c.ETag)
				require.WithinDuration(t, s.Time, c.LastModifiedTime, time.Hour)
			}
			seen = append(seen, fmt.Sprintf("%s %s: %s", p.ID, p.State, at))
			require.GreaterOrEqual(t, p.OwnershipAge, time.Duration(0))
			require.Nil(t, p.Other)
			require.Equal(t, p.Checkpoint, p.Own)
		}
		require.Equal(t, []string{
			`0 live: 7 700 generation 0 by "alice"`,
			`1 live: 2 200 generation 2 by "alice"`,
			`2 never owned: 1 100 generation 1 by ""`,
			`10 relinquished: none`,
		}, seen)
		require.Equal(t, &noon, s.Partition("0").Checkpoint.EnqueuedTime)
		require.Nil(t, s.Partition("1").Checkpoint.EnqueuedTime)
		require.Equal(t, ops.Partition{ID: "99", State: ops.NeverOwned}, s.Partition("99"))
		require.Equal(t, "alice", s.Partition("0").Ownership.OwnerID)

		shown := s.WithHub(&ops.Hub{Partitions: []ops.HubPartition{{ID: "0"}, {ID: "5"}}})
		seen = nil
		for _, p := range shown.Partitions {
			seen = append(seen, fmt.Sprintf("%s %s", p.ID, p.State))
		}
		require.Equal(t, []string{"0 live", "1 live", "2 not a partition of the hub", "5 never owned", "10 not a partition of the hub"}, seen)
		require.Equal(t, ops.NeverOwned, s.Partition("2").State, "the snapshot itself is as it was")
	})
}

func TestOwnershipsExpireByTheStoresClock(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		store := open()
		claim(t, store, "alice", "0")
		state := func(expiration time.Duration) ops.State {
			s, err := ops.Read(ctx, store, scope, &ops.ReadOptions{Expiration: expiration})
			require.NoError(t, err)
			return s.Partition("0").State
		}
		require.Equal(t, ops.Live, state(time.Hour))
		eventually(t, func() bool { return state(1) == ops.Expired })
	})
}

func TestListGroups(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		store := open()
		groups, err := ops.ListGroups(ctx, store)
		require.NoError(t, err)
		require.Empty(t, groups)
		put := func(namespace, hub, group string) {
			c := record("0", 1)
			c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup = namespace, hub, group
			require.NoError(t, store.UpdateCheckpoint(ctx, c, nil))
		}
		put("ns", "hub", "b")
		put("ns", "hub", "a-b")
		put("ns", "hub", "A")
		put("ns", "hub-2", "a")
		put("m", "hub", "a")
		claim(t, store, "alice", "7")
		groups, err = ops.ListGroups(ctx, store)
		require.NoError(t, err)
		var seen []ops.Scope
		for _, g := range groups {
			require.Equal(t, []ops.Scope{g.Scope}, g.Spellings)
			seen = append(seen, g.Scope)
		}
		require.Equal(t, []ops.Scope{
			{FullyQualifiedNamespace: "m", EventHubName: "hub", ConsumerGroup: "a"},
			{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "a"},
			{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "a-b"},
			{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "b"},
			{FullyQualifiedNamespace: "ns", EventHubName: "hub-2", ConsumerGroup: "a"},
			{FullyQualifiedNamespace: "ns.servicebus.windows.net", EventHubName: "hub", ConsumerGroup: "$default"},
		}, seen)
	})
}

func TestDeleteRecords(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		owner, store := open(), open()
		claim(t, owner, "alice", "0")
		checkpoint(t, owner, "0", 1)
		old := read(t, store).Partition("0")
		claim(t, owner, "alice", "0")
		checkpoint(t, owner, "0", 2)

		err := store.DeleteOwnership(ctx, *old.Ownership, nil)
		require.ErrorIs(t, err, checkpointstore.ErrRecordChanged)
		err = store.DeleteCheckpoint(ctx, *old.Checkpoint, nil)
		require.ErrorIs(t, err, checkpointstore.ErrRecordChanged)
		var e *checkpointstore.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{"DeleteCheckpoint", "0"}, []string{e.Op, e.PartitionID})
		require.Equal(t, map[string]int64{"0": 2}, positions(t, store))

		now := read(t, store).Partition("0")
		for range 2 { // a record that does not exist is not an error
			require.NoError(t, store.DeleteOwnership(ctx, *now.Ownership, nil))
			require.NoError(t, store.DeleteCheckpoint(ctx, *now.Checkpoint, nil))
			require.Empty(t, read(t, store).Partitions)
		}
		now.Ownership.ETag, now.Checkpoint.ETag = nil, to.Ptr(azcore.ETag("*"))
		require.ErrorIs(t, store.DeleteOwnership(ctx, *now.Ownership, nil), checkpointstore.ErrInvalidArgument)
		require.ErrorIs(t, store.DeleteCheckpoint(ctx, *now.Checkpoint, nil), checkpointstore.ErrInvalidArgument)

		// The owner of before goes on, and its checkpoint is created anew.
		checkpoint(t, owner, "0", 3)
		require.Equal(t, map[string]int64{"0": 3}, positions(t, store))
	})
}

func TestARichReadIsNoLook(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() ops.Store) {
		a, b := open(), open()
		claim(t, a, "alice", "0")
		checkpoint(t, a, "0", 5)
		claim(t, b, "bob", "0") // takes it over, and has not looked yet
		rewind(t, a, "0", 1)
		read(t, b)
		// Bob's update is of the generation of before: had the read counted, it would be stored.
		require.ErrorIs(t, b.UpdateCheckpoint(ctx, record("0", 6), nil), checkpointstore.ErrRewound)
	})
}
