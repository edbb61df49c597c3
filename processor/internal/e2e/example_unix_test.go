//go:build unix

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExample runs examples/processor: it prints every event, ends cleanly on
// Ctrl-C, and goes on after the last event that it printed.
func TestExample(t *testing.T) {
	if onService() {
		t.Skip("the example would print the older events of the hub at " + hubVariable)
	}
	t.Parallel()
	w := newWorld(t, 1, 10)
	program := filepath.Join(t.TempDir(), "processor")
	out, err := exec.Command("go", "build", "-o", program, "../../examples/processor").CombinedOutput()
	require.NoError(t, err, string(out))

	read := func(events int) {
		cmd := exec.Command(program, "-container", w.container,
			"-eventhub-connection-string", w.hub.connection, "-storage-connection-string", w.storage)
		stderr, err := os.CreateTemp(t.TempDir(), "stderr")
		require.NoError(t, err)
		defer func() { _ = stderr.Close() }()
		cmd.Stderr = stderr
		said := func() string {
			text, _ := os.ReadFile(stderr.Name())
			return string(text)
		}
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(stdout)
		for range events {
			require.True(t, lines.Scan(), said())
			require.True(t, strings.HasPrefix(lines.Text(), "partition "), lines.Text())
		}
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		require.False(t, lines.Scan(), "nothing is printed twice: %s", lines.Text())
		require.NoError(t, cmd.Wait(), said())
		require.Empty(t, w.owners(), "relinquished")
	}
	read(10)
	w.hub.append("0", 5)
	read(5)
	require.Equal(t, w.hub.last("0"), w.checkpoints()["0"])
}
