package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/stretchr/testify/require"
)

// TestInMemory is what the program does without flags. With them, internal/e2e runs it.
func TestInMemory(t *testing.T) {
	var logged bytes.Buffer // read when the program has ended
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	logAzure(logger)
	defer azlog.SetListener(nil)
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error)
	go func() { ended <- settings{}.run(ctx, writer, logger) }()
	var lines []string
	for scanner := bufio.NewScanner(reader); len(lines) < 3 && scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	slices.Sort(lines)
	require.Equal(t, []string{
		"partition 0, sequence number 0: apple",
		"partition 0, sequence number 1: pear",
		"partition 1, sequence number 0: plum",
	}, lines)
	stop()
	require.NoError(t, <-ended)
	require.Contains(t, logged.String(), "partition claimed")
}

func TestWrongFlagsAreErrors(t *testing.T) {
	hub := "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k;EntityPath=hub"
	for _, c := range []struct {
		settings settings
		contains string
	}{
		{settings{eventHubConnection: "Endpoint"}, "connection string"},
		{settings{eventHubConnection: hub, container: "checkpoints"}, "connection string"},
		{settings{namespace: "ns.servicebus.windows.net", eventHub: "hub", storage: "account", container: "checkpoints"}, "https://"},
	} {
		require.ErrorContains(t, c.settings.run(t.Context(), io.Discard, slog.Default()), c.contains)
	}
}
