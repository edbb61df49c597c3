package main

import (
	"context"
	"os"
	"strings"
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

func TestRunReturnsWhatIsMissing(t *testing.T) {
	for _, name := range []string{"EVENTHUB_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING", "CHECKPOINT_CONTAINER"} {
		t.Setenv(name, "")
	}
	require.Error(t, run(t.Context()))
}

// Both READMEs begin with this program.
func TestREADMEsShowTheProgram(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(source), "package main\n")
	require.True(t, found)
	for _, name := range []string{"../../README.md", "../../../README.md"} {
		readme, err := os.ReadFile(name)
		require.NoError(t, err)
		_, snippet, _ := strings.Cut(string(readme), "```go\n")
		require.True(t, strings.HasPrefix(snippet, "package main\n"+program+"```\n"), "%s does not begin with the program", name)
	}
}
