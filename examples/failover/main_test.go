package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/azurite"
)

// requireStory checks what every run must show; how many events are handled
// again depends on the moment.
func requireStory(t *testing.T, o options) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), o, &out), out.String())
	for _, line := range []string{
		"carol is killed",
		"from carol, goes on at event",
		"refused, the partition has gone on without her",
		"bob stopped and relinquished",
		", relinquished, goes on at event",
		"events: 0 never handled",
	} {
		require.Contains(t, out.String(), line)
	}
}

func TestStoryInMemory(t *testing.T) { requireStory(t, options{partitions: 6}) }

func TestStoryOnAzurite(t *testing.T) {
	server := azurite.Shared(t)
	defer azurite.CloseShared()
	requireStory(t, options{partitions: 3, connectionString: server.ConnectionString(), container: azurite.NewContainerName(t)})
}

func TestBadArguments(t *testing.T) {
	require.ErrorContains(t, run(context.Background(), options{partitions: 2}, &bytes.Buffer{}), "-partitions is 2")
	require.ErrorContains(t, run(context.Background(), options{partitions: 3, azurite: true, accountURL: "x"}, &bytes.Buffer{}), "take one")
	require.ErrorContains(t, run(context.Background(), options{partitions: 3, connectionString: "AccountName", container: "c1c"}, &bytes.Buffer{}), "connection string")
	require.ErrorContains(t, run(context.Background(), options{partitions: 3, accountURL: "account", container: "c1c"}, &bytes.Buffer{}), "https://")
}
