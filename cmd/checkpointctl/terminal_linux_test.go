package main

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// openTerminal returns both ends of a pseudo-terminal: a program writes to the first,
// and the second collects it.
func openTerminal(t testing.TB) (*os.File, *lines) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { control.Close() })
	fd := int(control.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { terminal.Close() })
	written := &lines{}
	go io.Copy(written, control)
	return terminal, written
}

// onTerminal runs the command with both outputs on a terminal.
func (w *world) onTerminal(args ...string) string {
	w.t.Helper()
	terminal, written := openTerminal(w.t)
	cmd := w.command(w.binary, args...)
	cmd.Stdout, cmd.Stderr = terminal, terminal
	require.NoError(w.t, cmd.Run())
	written.await(w.t, 2)
	return written.String()
}

// TestColours: states have colours on a terminal, unless NO_COLOR is set.
func TestColours(t *testing.T) {
	w := newWorld(t)
	w.env["TERM"] = "xterm"
	w.claim("consumer-1", "0")
	require.Contains(t, w.onTerminal("status"), "\x1b[32mlive\x1b[0m")
	require.NotContains(t, w.onTerminal("status", "-o", "csv"), "\x1b")
	w.env["NO_COLOR"] = "1"
	require.NotContains(t, w.onTerminal("status"), "\x1b")
}

// TestProgress: what takes longer than a second is told on a terminal.
func TestProgress(t *testing.T) {
	w := newWorld(t)
	w.env["TERM"] = "xterm"
	w.startHub(1, 10, 0)
	w.checkpoint("0", 5)
	require.NotContains(t, w.onTerminal("status"), "reading the container")

	require.NoError(t, w.hub.Hang(emulator.Management))
	terminal, written := openTerminal(t)
	cmd := w.command(w.binary, "status", "--lag", "-o", "csv")
	cmd.Stderr = terminal
	out := &lines{}
	cmd.Stdout = out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(written.String()) > 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, w.hub.Resume(emulator.Management))
	require.NoError(t, cmd.Wait())
	require.Contains(t, written.String(), "asking the event hub")
	require.NotContains(t, out.String(), "\x1b")
	out.await(t, 2)
}
