package checkpointstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/faults"
)

func TestListScopes(t *testing.T) {
	store, service := recordStore(t, "")
	for _, name := range []string{
		"ns/hub/$default/ownership/0",
		"ns/hub/$Default/checkpoint/0",
		"ns/hub/a/checkpoint/0", "ns/hub/a/checkpoint/1", "ns/hub/a/ownership/0",
		"ns/hub-2/a/checkpoint/0",
		// no records:
		"0", "ns/0", "ns/hub/0", "ns/hub/b/0", "ns/hub/b/other/0", "ns/hub/c.", "azure-webjobs/ns/hub/$Default/0",
		"ns/hub/d./checkpoint/0",
	} {
		service.Put(name, nil)
	}
	want := []checkpointstore.Scope{
		{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "$Default"},
		{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "$default"},
		{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "a"},
		{FullyQualifiedNamespace: "ns", EventHubName: "hub-2", ConsumerGroup: "a"},
	}
	for _, pageSize := range []int{0, 1, 2} {
		service.SetPageSize(pageSize)
		scopes, err := store.ListScopes(context.Background(), nil)
		require.NoError(t, err)
		require.Equal(t, want, scopes, "pages of %d", pageSize)
	}
	service.DeleteContainer()
	_, err := store.ListScopes(context.Background(), nil)
	require.ErrorIs(t, err, checkpointstore.ErrContainerNotFound)
}

func TestListScopesAsksForScopesAndNotForBlobs(t *testing.T) {
	store, service := recordStore(t, "")
	const groups = 20
	for group := range groups {
		for partition := range 300 {
			service.Put(fmt.Sprintf("ns/hub/g%d/ownership/%d", group, partition), nil)
			service.Put(fmt.Sprintf("ns/hub/g%d/checkpoint/%d", group, partition), nil)
		}
	}
	service.Inject(faults.RunBefore(func() { time.Sleep(5 * time.Millisecond) })) // so that they overlap
	scopes, err := store.ListScopes(context.Background(), nil)
	require.NoError(t, err)
	require.Len(t, scopes, groups)
	require.Equal(t, 1+1+1+groups, service.Count(faults.ListBlobs))
	require.LessOrEqual(t, service.Peak(), 8)
}
