package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// It runs for longer in internal/e2e.
func TestRunEndsWhenItIsStopped(t *testing.T) {
	t.Setenv("EVENTHUB_CONNECTION_STRING", "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;EntityPath=hub;UseDevelopmentEmulator=true")
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true")
	t.Setenv("CHECKPOINT_CONTAINER", "checkpoints")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, run(ctx))
}

func TestRunNamesWhatIsMissing(t *testing.T) {
	for _, name := range []string{"EVENTHUB_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING", "CHECKPOINT_CONTAINER"} {
		t.Setenv(name, "")
	}
	require.ErrorContains(t, run(t.Context()), "EVENTHUB_CONNECTION_STRING")
	t.Setenv("EVENTHUB_CONNECTION_STRING", "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=any;SharedAccessKey=any;EntityPath=hub")
	require.ErrorContains(t, run(t.Context()), "AZURE_STORAGE_CONNECTION_STRING")
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true")
	require.ErrorContains(t, run(t.Context()), "CHECKPOINT_CONTAINER")
}
