package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	hubSecret     = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=hubsecret;EntityPath=hub"
	storageSecret = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c3RvcmFnZXNlY3JldA==;EndpointSuffix=core.windows.net"
)

func environment(name string) string {
	return map[string]string{
		"EVENTHUB_CONNECTION_STRING": hubSecret, "AZURE_STORAGE_CONNECTION_STRING": storageSecret,
		"EVENTHUB_CONSUMER_GROUP": "group", "CHECKPOINT_CONTAINER": "container",
	}[name]
}

func none(string) string { return "" }

func TestUsageShowsNoSecretOfTheEnvironment(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"-nonsense"}, {"argument"}} {
		var stdout, stderr bytes.Buffer
		start(t.Context(), args, environment, &stdout, &stderr)
		require.NotEmpty(t, stderr.String())
		require.NotContains(t, stdout.String()+stderr.String(), "secret")
		require.NotContains(t, stdout.String()+stderr.String(), "Key=")
	}
}

func TestExitCodes(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name   string
		args   []string
		getenv func(string) string
		code   int
	}{
		{"help", []string{"-h"}, none, 0},
		{"stopped", nil, environment, 0},
		{"unknown flag", []string{"-nonsense"}, environment, 2},
		{"extra argument", []string{"hub"}, environment, 2},
		{"no event hub", []string{"-storage", "https://a.blob.core.windows.net"}, none, 2},
		{"no event hub's name", []string{"-namespace", "ns", "-storage", "https://a.blob.core.windows.net"}, none, 2},
		{"no storage", []string{"-eventhub-connection-string", hubSecret}, none, 2},
		{"broken connection string", []string{"-eventhub-connection-string", "Endpoint"}, environment, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, start(stopped, c.args, c.getenv, &stdout, &stderr), stderr.String())
		})
	}
}

func TestEveryVariableThatUsageNamesIsRead(t *testing.T) {
	asked := make(map[string]bool)
	var stderr bytes.Buffer
	_, err := parse(nil, func(name string) string { asked[name] = true; return "" }, &stderr)
	require.Error(t, err)
	stderr.Reset()
	_, err = parse([]string{"-h"}, none, &stderr)
	require.ErrorIs(t, err, errHelp)
	require.Len(t, asked, 7)
	for name := range asked {
		require.Contains(t, stderr.String(), "($"+name+")")
	}
}

func TestFlagsBeatTheEnvironment(t *testing.T) {
	var stderr bytes.Buffer
	s, err := parse([]string{"-namespace", "ns", "-eventhub", "hub", "-storage", "https://a.blob.core.windows.net", "-group", "mine"}, environment, &stderr)
	require.NoError(t, err, stderr.String())
	require.Equal(t, settings{namespace: "ns", eventHub: "hub", group: "mine", storage: "https://a.blob.core.windows.net", container: "container"}, s)
}

func TestItStartsAtEarliest(t *testing.T) {
	var stderr bytes.Buffer
	s, err := parse(nil, environment, &stderr)
	require.NoError(t, err, stderr.String())
	require.Equal(t, settings{eventHubConnection: hubSecret, storageConnection: storageSecret, group: "group", container: "container"}, s)
}
