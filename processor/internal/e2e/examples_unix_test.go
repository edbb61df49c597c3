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

// TestExamples runs examples/processor and examples/batches, the programs of the
// READMEs: they print every event, end cleanly on Ctrl-C with a checkpoint of the
// last event, and go on after it when they start again. The first begins at the
// partition's beginning, the second at its end.
func TestExamples(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string // of each line
		older  bool   // whether events from before the first start are printed
		args   func(w *world) []string
		env    func(w *world) []string
	}{
		"processor": {prefix: "partition ", older: true, args: func(w *world) []string {
			return []string{"-container", w.container, "-eventhub-connection-string", w.hub.connection, "-storage-connection-string", w.storage}
		}},
		"batches": {prefix: "0: ", env: func(w *world) []string {
			return []string{"EVENTHUB_CONNECTION_STRING=" + w.hub.connection, "AZURE_STORAGE_CONNECTION_STRING=" + w.storage, "CHECKPOINT_CONTAINER=" + w.container}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if onService() {
				t.Skip("the examples need a hub and a consumer group of their own at " + hubVariable)
			}
			t.Parallel()
			w := newWorld(t, 1, 10)
			program := filepath.Join(t.TempDir(), name)
			out, err := exec.Command("go", "build", "-o", program, "../../examples/"+name).CombinedOutput()
			require.NoError(t, err, string(out))
			start := func() (*exec.Cmd, *bufio.Scanner) {
				cmd := exec.Command(program)
				if c.args != nil {
					cmd.Args = append(cmd.Args, c.args(w)...)
				}
				cmd.Env = os.Environ()
				if c.env != nil {
					cmd.Env = append(cmd.Env, c.env(w)...)
				}
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
					require.True(t, strings.HasPrefix(lines.Text(), c.prefix), lines.Text())
				}
				require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
				require.False(t, lines.Scan(), "nothing is printed twice: %s", lines.Text())
				require.NoError(t, cmd.Wait())
				require.Empty(t, w.owners(), "relinquished")
				require.Equal(t, w.hub.last("0"), w.checkpoints()["0"])
			}
			cmd, lines := start()
			if c.older {
				prints(cmd, lines, 10)
			} else {
				eventually(t, "the position that it begins at", func() bool { return len(w.checkpoints()) == 1 })
				w.hub.append("0", 5)
				prints(cmd, lines, 5)
			}
			w.hub.append("0", 7)
			cmd, lines = start()
			prints(cmd, lines, 7)
		})
	}
}
