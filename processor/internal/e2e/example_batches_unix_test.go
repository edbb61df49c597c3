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

// TestExampleInBatches runs examples/batches, the program of the READMEs: it begins
// at the end, prints every event from then on, also those that came while it was
// not running, and checkpoints the last one when it is interrupted.
func TestExampleInBatches(t *testing.T) {
	if onService() {
		t.Skip("the example needs a consumer group of its own at " + hubVariable)
	}
	t.Parallel()
	w := newWorld(t, 1, 10)
	program := filepath.Join(t.TempDir(), "batches")
	out, err := exec.Command("go", "build", "-o", program, "../../examples/batches").CombinedOutput()
	require.NoError(t, err, string(out))
	start := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "EVENTHUB_CONNECTION_STRING="+w.hub.connection,
			"AZURE_STORAGE_CONNECTION_STRING="+w.storage, "CHECKPOINT_CONTAINER="+w.container)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, bufio.NewScanner(stdout)
	}
	prints := func(cmd *exec.Cmd, lines *bufio.Scanner, events int) {
		for range events {
			require.True(t, lines.Scan())
			require.True(t, strings.HasPrefix(lines.Text(), "0: "), lines.Text())
		}
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		require.False(t, lines.Scan(), "nothing is printed twice: %s", lines.Text())
		require.NoError(t, cmd.Wait())
		require.Empty(t, w.owners(), "relinquished")
		require.Equal(t, w.hub.last("0"), w.checkpoints()["0"])
	}
	cmd, lines := start()
	eventually(t, "the position that it begins at", func() bool { return len(w.checkpoints()) == 1 })
	w.hub.append("0", 5)
	prints(cmd, lines, 5)
	w.hub.append("0", 7)
	cmd, lines = start()
	prints(cmd, lines, 7)
}
