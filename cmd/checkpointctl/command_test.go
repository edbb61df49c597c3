package main

import (
	"debug/elf"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// TestPlansChangeNothing: every command that changes something leaves all blobs as
// they are without --execute, and none of them with it.
func TestPlansChangeNothing(t *testing.T) {
	for name, args := range map[string][]string{
		"set":     {"set", "0", "--sequence-number", "3", "--offset", emulator.Offset(3)},
		"reset":   {"reset", "--to-earliest"},
		"release": {"release", "--expiration", "1ns"},
		"import":  {"import", "export.json"},
		"migrate": {"migrate", "--layout", "python-eph", "-n", "contoso.servicebus.windows.net", "-e", "orders", "-g", "$default", "--expiration", "1ns"},
		"gc":      {"gc", "--missing-partitions", "--expiration", "1ns"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.startHub(2, 10, 0)
			w.claim("consumer-1", "0", "7")
			w.checkpoint("0", 5)
			w.checkpoint("7", 5)
			w.blob("1", `{"partition_id":"1","owner":"","offset":"512","sequence_number":7}`)
			w.service.ahead.Store(int64(time.Hour))
			export := w.run("export")
			require.Zero(t, export.status, export.stderr)
			changed := strings.ReplaceAll(strings.ReplaceAll(export.stdout, `"sequenceNumber": 5`, `"sequenceNumber": 8`), emulator.Offset(5), emulator.Offset(8))
			require.NotEqual(t, export.stdout, changed)
			require.NoError(t, os.WriteFile(filepath.Join(w.folder, "export.json"), []byte(changed), 0o666))

			before := w.records()
			plan := w.run(args...)
			require.Zero(t, plan.status, plan.stderr)
			require.Contains(t, plan.stderr, "Nothing was changed: add --execute")
			require.Equal(t, before, w.records())
			backups, err := filepath.Glob(filepath.Join(w.folder, "checkpointctl-*"))
			require.NoError(t, err)
			require.Empty(t, backups)

			done := w.run(append(args, "--execute")...)
			require.Zero(t, done.status, done.stderr)
			require.NotEqual(t, before, w.records())
		})
	}
}

// TestBackupComesFirst: if the backup cannot be written, nothing is changed.
func TestBackupComesFirst(t *testing.T) {
	w := newWorld(t)
	w.checkpoint("0", 5)
	before := w.records()
	refused := w.run("set", "0", "--sequence-number", "3", "--offset", "256", "--execute", "--backup", filepath.Join("absent", "file"))
	require.Equal(t, 1, refused.status)
	require.Contains(t, refused.stderr, "nothing was changed, because the backup failed")
	require.NotContains(t, refused.stderr, "The checkpoints as they were")
	require.Equal(t, before, w.records())
}

// TestFormatsHaveNoProse: what a program reads from stdout is whole and alone there.
func TestFormatsHaveNoProse(t *testing.T) {
	w := newWorld(t)
	w.checkpoint("0", 5)
	for _, args := range [][]string{{"groups"}, {"status"}, {"get", "0"}, {"set", "0", "--sequence-number", "3", "--offset", "256"}, {"release"}, {"doctor"}} {
		got := w.run(append(args, "-o", "json")...)
		require.Zero(t, got.status, got.stderr)
		var document struct {
			SchemaVersion int
			Kind          string
		}
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &document), got.stdout)
		require.Equal(t, 1, document.SchemaVersion)
		require.NotEmpty(t, document.Kind)
	}
}

// TestStatusRequests: two lists show 1,024 partitions, and one does if the names have
// no capital letters. The service is in memory, so that no list is slow and sent again.
func TestStatusRequests(t *testing.T) {
	service := fakeblob.New()
	for _, id := range partitionIDs(1024) {
		service.Put("contoso.servicebus.windows.net/orders/$default/ownership/"+id, map[string]string{"ownerid": "consumer-1"})
		service.Put("contoso.servicebus.windows.net/orders/$default/checkpoint/"+id, map[string]string{"sequencenumber": "5", "offset": "320"})
	}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	path, err := binary()
	require.NoError(t, err)
	w := &world{t: t, binary: path, folder: t.TempDir(), env: map[string]string{
		"CHECKPOINT_CONTAINER_URL": server.URL + "/c", "AZURE_STORAGE_SAS_TOKEN": "sig=secret",
	}}
	for group, lists := range map[string]int{"$Default": 2, "$default": 1} {
		service.Reset()
		got := w.run("status", "-n", "contoso.servicebus.windows.net", "-e", "orders", "-g", group, "-o", "jsonl")
		require.Zero(t, got.status, got.stderr)
		require.Equal(t, 1024, strings.Count(got.stdout, "\n"))
		require.Equal(t, lists, service.Count(faults.ListBlobs), group)
		require.Equal(t, lists, service.Requests(), group)
	}
}

// TestLookingNeedsReadAndListOnly: a SAS with these rights serves the commands that
// need no hub, and none of them writes.
func TestLookingNeedsReadAndListOnly(t *testing.T) {
	w := newWorld(t)
	w.claim("consumer-1", "0")
	w.checkpoint("0", 5)
	w.useSAS(sas.ContainerPermissions{Read: true, List: true})
	for _, args := range [][]string{{"groups"}, {"status"}, {"get", "0"}, {"export"}, {"release"}, {"set", "0", "--sequence-number", "3", "--offset", "256"}, {"gc", "--unused", "1h"}} {
		got := w.run(args...)
		require.Zero(t, got.status, "%q: %s", args, got.stderr)
	}
}

// TestHostileOwners: owner IDs are text of others. Control characters cannot come out
// of metadata; the rest is shown as it is, in one row.
func TestHostileOwners(t *testing.T) {
	w := newWorld(t)
	for i, owner := range []string{strings.Repeat("long", 500), `"quotes", 'ticks' and, commas`, "=HYPERLINK(\"https://example.com\")", "%s%n{{.}}<script>|"} {
		w.claim(owner, string(rune('0'+i)))
	}
	table := w.run("status")
	require.Zero(t, table.status, table.stderr)
	require.Equal(t, 5, strings.Count(table.stdout, "\n"))
	require.Contains(t, table.stdout, strings.Repeat("long", 500))
	require.Contains(t, table.stdout, "%s%n{{.}}<script>|")
	for _, format := range []string{"csv", "jsonl"} {
		rows := w.run("status", "-o", format)
		require.Zero(t, rows.status, rows.stderr)
		require.Equal(t, 4+strings.Count("csv", format), strings.Count(rows.stdout, "\n"))
	}
	var document struct{ Partitions []struct{ OwnerID string } }
	require.NoError(t, json.Unmarshal([]byte(w.run("status", "-o", "json").stdout), &document))
	require.Equal(t, `"quotes", 'ticks' and, commas`, document.Partitions[1].OwnerID)
	plan := w.run("set", "3", "--sequence-number", "1", "--offset", "2")
	require.Contains(t, plan.stderr, `owner "%s%n{{.}}<script>|" is live`)
}

// TestForeignText: a blob's name may be anything.
func TestForeignText(t *testing.T) {
	w := newWorld(t)
	w.blob("Über.servicebus.windows.net/hüb/\u202egroup\u202c/checkpoint/0", "")
	got := w.run("groups")
	require.Zero(t, got.status, got.stderr)
	require.NotContains(t, got.stdout+got.stderr, "\u202e")
}

// TestWatch ends with an interrupt, as what it is for, and with 3 as soon as a lag is
// above the threshold.
func TestWatch(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGINT to send")
	}
	w := newWorld(t)
	w.startHub(1, 100, 0)
	w.checkpoint("0", 99)

	start := func(args ...string) (*exec.Cmd, *lines) {
		cmd := w.command(w.binary, append([]string{"status", "--watch=100ms", "-o", "jsonl"}, args...)...)
		out := &lines{}
		cmd.Stdout = out
		require.NoError(t, cmd.Start())
		tooLong := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		t.Cleanup(func() { tooLong.Stop() })
		return cmd, out
	}
	cmd, out := start()
	out.await(t, 3)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "exit status 0")

	require.NoError(t, w.hub.Hang(emulator.Management)) // the first round does not end
	cmd, _ = start("--lag")
	require.NoError(t, w.hub.Await(t.Context(), emulator.Management, emulator.RequestsHeld, 1))
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "exit status 0")
	require.NoError(t, w.hub.Resume(emulator.Management))

	cmd, out = start("--fail-above", "5")
	out.await(t, 2)
	w.hub.Append(t, "0", 10)
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 3, exit.ExitCode())
}

// TestInterrupt: another command that is interrupted fails.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGINT to send")
	}
	w := newWorld(t)
	w.startHub(1, 100, 0)
	w.checkpoint("0", 9)
	require.NoError(t, w.hub.Hang(emulator.Management))
	cmd := w.command(w.binary, "status", "--lag")
	out := &lines{}
	cmd.Stderr = out
	require.NoError(t, cmd.Start())
	require.NoError(t, w.hub.Await(t.Context(), emulator.Management, emulator.RequestsHeld, 1))
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, out.String(), "interrupted")
}

// TestManAndCompletion: there is a page for each command, and shells complete them.
func TestManAndCompletion(t *testing.T) {
	w := newWorld(t)
	got := w.run("man", "pages")
	require.Zero(t, got.status, got.stderr)
	for _, command := range []string{"", "-groups", "-status", "-get", "-set", "-reset", "-release", "-export", "-import", "-migrate", "-gc", "-doctor"} {
		page, err := os.ReadFile(filepath.Join(w.folder, "pages", "checkpointctl"+command+".1"))
		require.NoError(t, err)
		require.Contains(t, string(page), ".TH")
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := w.run("completion", shell)
		require.Zero(t, got.status, got.stderr)
		require.Contains(t, got.stdout, "checkpointctl")
	}
	require.Contains(t, w.run("__complete", "status", "-o", "").stdout, "jsonl\n")
	require.Contains(t, w.run("__complete", "migrate", "--layout", "").stdout, "python-eph\n")
	require.Contains(t, w.run("__complete", "re").stdout, "release\t")
	require.Contains(t, w.run("--version").stdout, "checkpointctl version ")
}

// TestBinary is one file that needs no library of the system, and has no Arrow in it.
func TestBinary(t *testing.T) {
	path, err := binary()
	require.NoError(t, err)
	file, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("%.1f MB", float64(file.Size())/1e6)
	if runtime.GOOS == "linux" {
		program, err := elf.Open(path)
		require.NoError(t, err)
		defer program.Close()
		libraries, err := program.ImportedLibraries()
		require.NoError(t, err)
		require.Empty(t, libraries)
	}
	dependencies, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	require.Contains(t, string(dependencies), "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container\n")
	require.NotContains(t, strings.ToLower(string(dependencies)), "arrow")
}

// lines is output that can be awaited while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits for so many lines.
func (l *lines) await(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(l.String(), "\n") >= n }, time.Minute, 10*time.Millisecond)
}

func partitionIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}
