package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/azurite"
)

// requireFailover checks what every run must show.
func requireFailover(t *testing.T, s settings) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, s.run(t.Context(), &out), out.String())
	for _, line := range []string{
		"carol dies; her next events are ",
		" from carol and resumes at event",
		"her late checkpoint is refused",
		"bob stops and relinquishes 3 partitions",
		" (relinquished) and resumes at event",
		"480 events: 0 never handled",
	} {
		require.Contains(t, out.String(), line)
	}
}

func TestInMemory(t *testing.T) { requireFailover(t, settings{}) }

func TestOnAzurite(t *testing.T) {
	server := azurite.Shared(t)
	defer azurite.CloseShared()
	requireFailover(t, settings{connectionString: server.ConnectionString(), container: azurite.NewContainerName(t)})
}

func TestWrongFlagsAreErrors(t *testing.T) {
	for _, c := range []struct {
		settings settings
		contains string
	}{
		{settings{connectionString: "AccountName", container: "checkpoints"}, "connection string"},
		{settings{accountURL: "account", container: "checkpoints"}, "https://"},
		{settings{azurite: true, connectionString: "AccountName"}, "cannot be combined"},
		{settings{azurite: true, accountURL: "https://account"}, "cannot be combined"},
		{settings{connectionString: "AccountName", accountURL: "https://account"}, "cannot be combined"},
	} {
		require.ErrorContains(t, c.settings.run(t.Context(), &bytes.Buffer{}), c.contains)
	}
}
