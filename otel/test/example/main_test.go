//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/emulator"
)

func TestMain(m *testing.M) { blobtest.Main(m) }

// program is the example while it runs.
type program struct {
	t       *testing.T
	command *exec.Cmd
	stdout  bytes.Buffer // read when it has ended
	address string
	logs    chan struct{} // closed when the log has ended

	mu  sync.Mutex
	log strings.Builder
}

// start starts the program and waits until it serves.
func start(t *testing.T, connection, storage, container string) *program {
	binary := filepath.Join(t.TempDir(), "example")
	output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(output))
	p := &program{t: t, command: exec.Command(binary, "-v", "-listen", "127.0.0.1:0"), logs: make(chan struct{})}
	p.command.Env = append(os.Environ(), "EVENTHUB_CONNECTION_STRING="+connection, "AZURE_STORAGE_CONNECTION_STRING="+storage,
		"CHECKPOINT_CONTAINER="+container, "OTEL_SERVICE_NAME=tested")
	p.command.Stdout = &p.stdout
	stderr, err := p.command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.command.Start())
	t.Cleanup(func() { _ = p.command.Process.Kill() })
	serves := make(chan string, 1)
	go func() {
		defer close(p.logs)
		defer close(serves)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.log, lines.Text())
			p.mu.Unlock()
			if _, address, found := strings.Cut(lines.Text(), `msg="serving /metrics, /healthz and /readyz" address=`); found {
				serves <- address
			}
		}
	}()
	p.address = <-serves
	require.NotEmpty(t, p.address, "the program has ended: %s", p.logged())
	return p
}

func (p *program) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// get returns the response of one of the program's endpoints.
func (p *program) get(path string) (status int, body string) {
	response, err := http.Get("http://" + p.address + path)
	require.NoError(p.t, err, p.logged())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, string(text)
}

// await waits until what is asked for is so.
func (p *program) await(what string, so func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			_, metrics := p.get("/metrics")
			require.FailNow(p.t, "waited for "+what, "%s\n%s", p.logged(), metrics)
		}
	}
}

// sum returns the sum of the series of a metric that have the label, "" for all.
func (p *program) sum(metric, label string) float64 {
	_, text := p.get("/metrics")
	sum := 0.0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		name, labels, labelled := strings.Cut(name, "{")
		if labelled && name == metric && strings.Contains(labels, label) {
			n, err := strconv.ParseFloat(value, 64)
			require.NoError(p.t, err, line)
			sum += n
		}
	}
	return sum
}

// spans are what the program has printed.
func (p *program) spans() map[string]int {
	names := make(map[string]int)
	for decoder := json.NewDecoder(bytes.NewReader(p.stdout.Bytes())); ; {
		var span struct {
			Name     string
			Resource []struct {
				Key   string
				Value struct{ Value any }
			}
		}
		err := decoder.Decode(&span)
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(p.t, err)
		names[span.Name]++
		resource := make(map[string]any)
		for _, a := range span.Resource {
			resource[a.Key] = a.Value.Value
		}
		require.Equal(p.t, "tested", resource["service.name"])
		require.NotEmpty(p.t, resource["service.instance.id"])
	}
}

// TestExample runs the program on Azurite and an event hub of 20 events: it shows in
// its metrics that it handled them, is ready, and when it is stopped it exports the spans
// of its last checkpoints.
func TestExample(t *testing.T) {
	hub := emulator.Start(t, emulator.Options{Partitions: 2, Events: 10})
	container := azurite.NewContainerName(t)
	store := blobtest.NewAzuriteStoreIn(t, container)
	p := start(t, hub.ConnectionString(), azurite.Shared(t).ConnectionString(), container)

	p.await("20 handled events", func() bool {
		return strings.Count(p.logged(), "msg=event ") == 20 &&
			p.sum("messaging_client_consumed_messages_total", `messaging_destination_name="hub"`) == 20 &&
			p.sum("messaging_process_duration_seconds_count", `messaging_operation_name="process"`) >= 2 &&
			p.sum("checkpointstore_pending_events", "") == 0
	})
	require.Equal(t, 2.0, p.sum("checkpointstore_claims_total", `outcome="won"`))
	require.Equal(t, 2.0, p.sum("checkpointstore_partition_owned", ""))
	require.GreaterOrEqual(t, p.sum("checkpointstore_storage_requests_total", `operation="PutBlob"`), 2.0)
	require.Equal(t, 1.0, p.sum("target_info", `service_name="tested"`))

	p.await("readiness", func() bool { status, _ := p.get("/readyz"); return status == http.StatusOK })
	status, body := p.get("/healthz")
	require.Equal(t, http.StatusOK, status, body)

	require.NoError(t, p.command.Process.Signal(syscall.SIGTERM))
	<-p.logs
	require.NoError(t, p.command.Wait(), p.logged())
	spans := p.spans()
	require.GreaterOrEqual(t, spans["list hub"], 1)
	require.GreaterOrEqual(t, spans["claim hub"], 2, "the claim and the release")
	require.GreaterOrEqual(t, spans["process hub"], 2)
	require.GreaterOrEqual(t, spans["checkpoint hub"], 2, "those of the end")
	stored, err := store.ListCheckpoints(t.Context(), hub.Namespace(), hub.Hub(), "$Default", nil)
	require.NoError(t, err)
	require.Len(t, stored, 2)

	log := p.logged()
	for _, says := range []string{`msg="partition claimed" partition=1`, `msg=stopped`, `event=azeh.Conn`, `Succesfully created link`} {
		require.Contains(t, log, says)
	}
	require.NotContains(t, log+p.stdout.String(), azurite.AccountKey)
}

func TestRunNamesWhatIsMissing(t *testing.T) {
	for _, name := range []string{"EVENTHUB_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING", "CHECKPOINT_CONTAINER"} {
		t.Setenv(name, "")
	}
	require.ErrorContains(t, run(t.Context(), "127.0.0.1:0", nil), "EVENTHUB_CONNECTION_STRING")
}
