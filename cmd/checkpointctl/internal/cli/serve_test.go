package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/live"
	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// page is a run of serve or demo.
type page struct {
	*testing.T
	url    string
	stderr *bytes.Buffer // to be read after the end
	end    func() int    // interrupts it and returns its exit status
}

// run runs the command in this process, and waits until it prints its URL.
func run(t *testing.T, environment map[string]string, args ...string) *page {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := &page{T: t, stderr: new(bytes.Buffer)}
	status := make(chan int, 1)
	go func() {
		defer w.Close()
		status <- Main(ctx, args, strings.NewReader(""), w, p.stderr, func(name string) (string, bool) {
			value, found := environment[name]
			return value, found
		})
	}()
	ended := false
	p.end = func() int {
		ended = true
		cancel()
		return <-status
	}
	t.Cleanup(func() {
		if !ended {
			p.end()
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		require.Fail(t, "no URL", "status %d: %s", <-status, p.stderr)
	}
	p.url = strings.TrimSpace(line)
	require.Regexp(t, `^http://[^ ]+:[0-9]+/$`, p.url)
	return p
}

// get returns the body of an answer, which must be 200, as soon as the first round is
// over.
func (p *page) get(path string) []byte {
	p.Helper()
	for {
		r, err := http.Get(p.url + path)
		require.NoError(p, err)
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		require.NoError(p, err)
		if r.StatusCode == http.StatusServiceUnavailable && p.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		require.Equal(p, http.StatusOK, r.StatusCode, "%s: %s", path, body)
		return body
	}
}

type groupsAnswer struct {
	Demo     bool         `json:"demo"`
	Interval float64      `json:"interval"`
	Groups   []live.Group `json:"groups"`
}

func (p *page) groups() (g groupsAnswer) {
	p.Helper()
	require.NoError(p, json.Unmarshal(p.get("api/v1/groups"), &g))
	return g
}

func TestServe(t *testing.T) {
	server := azurite.Shared(t)
	name := azurite.NewContainerName(t)
	ctx := t.Context()
	client, err := container.NewClientFromConnectionString(server.ConnectionString(), name, nil)
	require.NoError(t, err)
	_, err = client.Create(ctx, nil)
	require.NoError(t, err)
	store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(server.ConnectionString(), name, nil)
	require.NoError(t, err)
	defer store.Close()
	const namespace = "ns.servicebus.windows.net"
	const hostile = `"><script>alert(1)</script>`
	for _, group := range []string{"$Default", "other"} {
		won, err := store.ClaimOwnership(ctx, []checkpointstore.Ownership{{
			FullyQualifiedNamespace: namespace, EventHubName: "hub", ConsumerGroup: group, PartitionID: "0", OwnerID: hostile,
		}}, nil)
		require.NoError(t, err)
		require.Len(t, won, 1)
		number := int64(7)
		require.NoError(t, store.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
			FullyQualifiedNamespace: namespace, EventHubName: "hub", ConsumerGroup: group, PartitionID: "0", SequenceNumber: &number,
		}, nil))
	}
	environment := map[string]string{"AZURE_STORAGE_CONNECTION_STRING": server.ConnectionString(), "CHECKPOINT_CONTAINER": name}

	p := run(t, environment, "serve", "--listen", "127.0.0.1:0")
	g := p.groups()
	require.False(t, g.Demo)
	require.Equal(t, 10.0, g.Interval)
	require.Len(t, g.Groups, 2)
	require.Equal(t, "$default", g.Groups[0].Group)
	require.Equal(t, 1, g.Groups[0].Owners)
	require.Nil(t, g.Groups[0].Lag)
	detail := p.get("api/v1/groups/" + g.Groups[0].ID)
	require.NotContains(t, string(detail), "<script>")
	var group struct {
		Partitions []report.Partition `json:"partitions"`
	}
	require.NoError(t, json.Unmarshal(detail, &group))
	require.Equal(t, hostile, *group.Partitions[0].OwnerID)
	require.EqualValues(t, 7, *group.Partitions[0].SequenceNumber)
	require.Equal(t, "ok\n", string(p.get("healthz")))
	require.Contains(t, string(p.get("metrics")), `messaging_consumer_group_name="other"`)
	require.Zero(t, p.end())
	require.Equal(t, "Lag is not shown: set EVENTHUB_CONNECTION_STRING, or give --lag.\n", p.stderr.String())

	p = run(t, environment, "serve", "--listen", "127.0.0.1:0", "--lag=false", "--group", "OTHER", "--interval", "PT30S")
	g = p.groups()
	require.Equal(t, 30.0, g.Interval)
	require.Len(t, g.Groups, 1)
	require.Equal(t, "other", g.Groups[0].Group)
	require.Zero(t, p.end())
	require.Empty(t, p.stderr.String())
}

func TestDemo(t *testing.T) {
	p := run(t, nil, "demo", "--listen", "127.0.0.1:0", "--partitions", "8", "--speed", "50", "--interval", "20ms")
	g := p.groups()
	for slices.ContainsFunc(g.Groups, func(g live.Group) bool { return g.Lag == nil }) { // a round does not wait for slow event hubs
		require.NoError(t, t.Context().Err())
		time.Sleep(10 * time.Millisecond)
		g = p.groups()
	}
	require.True(t, g.Demo)
	require.Len(t, g.Groups, 3)
	for _, group := range g.Groups {
		var h struct {
			Times []float64  `json:"times"`
			Lag   []*float64 `json:"lag"`
		}
		require.NoError(t, json.Unmarshal(p.get("api/v1/groups/"+group.ID+"/history"), &h))
		require.GreaterOrEqual(t, len(h.Times), 90, "it has a past")
		require.IsNonDecreasing(t, h.Times)
		require.True(t, slices.ContainsFunc(h.Lag, func(lag *float64) bool { return lag != nil }), "with lag")
	}
	require.Equal(t, "ok\n", string(p.get("healthz")))
	require.Zero(t, p.end())
	require.Empty(t, p.stderr.String())
}

func TestServeFlags(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"serve"}, exitUsage, "no credential"},
		{[]string{"demo", "--partitions", "2000"}, exitUsage, "--partitions must be between 4 and 1024"},
		{[]string{"demo", "--speed", "0"}, exitUsage, "--speed must be"},
		{[]string{"demo", "--partitions", "4", "--listen", "8460"}, exitUsage, "--listen must be an address and a port"},
		{[]string{"demo", "--partitions", "4", "--listen", "127.0.0.1:99999"}, exitFailed, "--listen 127.0.0.1:0 takes a free port"},
		{[]string{"demo", "--interval", "0s"}, exitUsage, "interval"},
	} {
		var stdout, stderr bytes.Buffer
		status := Main(t.Context(), c.args, strings.NewReader(""), &stdout, &stderr, func(string) (string, bool) { return "", false })
		require.Equal(t, c.status, status, "%q: %s", c.args, &stderr)
		require.Contains(t, stderr.String(), c.says, "%q", c.args)
		require.Empty(t, stdout.String())
	}
}

func TestListeningElsewhereIsWarnedOf(t *testing.T) {
	for address, warned := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "127.0.0.2:0": false, "0.0.0.0:0": true, ":0": true} {
		if address == "127.0.0.2:0" && runtime.GOOS == "darwin" {
			continue // has one loopback address alone
		}
		p := run(t, nil, "demo", "--partitions", "4", "--listen", address)
		require.Zero(t, p.end())
		require.Equal(t, warned, strings.Contains(p.stderr.String(), "warning: the page listens on"), address)
	}
}

// The command as it is installed: it prints its URL, answers, and an interrupt ends it
// with status 0, also while a browser listens.
func TestTheCommandEndsOnAnInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted by another one")
	}
	path := filepath.Join(t.TempDir(), "checkpointctl")
	build := exec.Command("go", "build", "-o", path, "github.com/ea947076/checkpointstore/cmd/checkpointctl")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		command := exec.Command(path, "demo", "--listen", "127.0.0.1:0", "--partitions", "4")
		var stderr bytes.Buffer
		command.Stderr = &stderr
		stdout, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		t.Cleanup(func() { _ = command.Process.Kill() }) // if it has not ended
		line, err := bufio.NewReader(stdout).ReadString('\n')
		require.NoError(t, err, "%s", &stderr)
		url := strings.TrimSpace(line)
		require.Regexp(t, regexp.MustCompile(`^http://127\.0\.0\.1:[0-9]+/$`), url)
		r, err := http.Get(url + "api/v1/events")
		require.NoError(t, err)
		events := bufio.NewReader(r.Body)
		first, err := events.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "retry: 1000\n", first)
		require.NoError(t, command.Process.Signal(signal))
		_, err = io.Copy(io.Discard, events)
		require.NoError(t, err, "the stream ends properly")
		r.Body.Close()
		require.NoError(t, command.Wait(), "%s", &stderr)
		require.Empty(t, stderr.String())
	}
}
