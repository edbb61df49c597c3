package ops_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

type hub struct{ n int64 }

func (h hub) PartitionIDs(context.Context) ([]string, error) { return []string{"0", "1", "2"}, nil }
func (h hub) PartitionProperties(_ context.Context, id string) (ops.PartitionProperties, error) {
	return ops.PartitionProperties{BeginningSequenceNumber: 100, LastEnqueuedSequenceNumber: 199, LastEnqueuedOffset: "12800", LastEnqueuedTime: time.Unix(199, 0)}, nil
}
func (h hub) ReadEvent(_ context.Context, id string, from ops.ReadFrom) (*ops.Event, error) {
	n := int64(0)
	switch {
	case from.SequenceNumber != nil:
		n = *from.SequenceNumber
	case from.EnqueuedTime != nil:
		n = from.EnqueuedTime.Unix()
	default:
		fmt.Sscan(from.Offset, &n)
		n /= 64
		n--
	}
	n = max(n, 100)
	if n > 199 {
		return nil, nil
	}
	return &ops.Event{SequenceNumber: n, Offset: fmt.Sprint((n + 1) * 64), EnqueuedTime: time.Unix(n, 0)}, nil
}

func TestSmoke(t *testing.T) {
	store := memstore.New()
	scope := ops.Scope{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "g"}
	ctx := t.Context()
	owner := store.Share()
	won, err := owner.ClaimOwnership(ctx, []checkpointstore.Ownership{{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "g", PartitionID: "0", OwnerID: "me"}}, nil)
	require.NoError(t, err)
	require.Len(t, won, 1)
	n, o := int64(150), "9664"
	c := checkpointstore.Checkpoint{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "g", PartitionID: "0", SequenceNumber: &n, Offset: &o}
	require.NoError(t, owner.UpdateCheckpoint(ctx, c, nil))
	plan, err := ops.PlanReset(ctx, store, hub{}, scope, ops.ToTime(time.Unix(120, 0)), nil)
	require.NoError(t, err)
	for _, c := range plan.Changes {
		fmt.Println(c.PartitionID, c.Before.Position(), c.After, c.Why, c.Warnings)
	}
	_, err = ops.Apply(ctx, store, plan, nil)
	fmt.Println(err)
	require.ErrorIs(t, err, ops.ErrLive)
	r, err := ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
	require.NoError(t, err)
	fmt.Println(r)
	n = 151
	fmt.Println(owner.UpdateCheckpoint(ctx, c, nil))
	s, err := ops.Read(ctx, store, scope, nil)
	require.NoError(t, err)
	h, err := ops.ReadHub(ctx, hub{}, nil)
	require.NoError(t, err)
	for _, p := range s.Partitions {
		fmt.Printf("%s %s %v %+v\n", p.ID, p.State, p.Position(), h.Lag(p, nil))
	}
	_, err = ops.Apply(ctx, store, plan, nil)
	fmt.Println(err)
}
