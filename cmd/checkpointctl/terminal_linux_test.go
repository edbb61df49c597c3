package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// terminal is a pseudo-terminal to which a program writes.
type terminal struct {
	*os.File
	written *lines
	read    chan struct{} // closed when everything was read
}

func openTerminal(t testing.TB) *terminal {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { control.Close() })
	fd := int(control.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { program.Close() })
	p := &terminal{program, &lines{}, make(chan struct{})}
	go func() {
		defer close(p.read)
		io.Copy(p.written, control)
	}()
	return p
}

// end returns what was written. No program may have the terminal any more.
func (p *terminal) end() string {
	p.Close()
	<-p.read
	return p.written.String()
}

// onTerminal runs the command with both outputs on a terminal, again if it takes a
// second or longer: then it may show what it waits for.
func (w *world) onTerminal(args ...string) string {
	w.t.Helper()
	for {
		p := openTerminal(w.t)
		cmd := w.command(w.binary, args...)
		cmd.Stdout, cmd.Stderr = p.File, p.File
		began := time.Now()
		require.NoError(w.t, cmd.Run())
		if took := time.Since(began); took < time.Second {
			return p.end()
		}
	}
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
	quick := w.onTerminal("status")
	require.Contains(t, quick, "CHECKPOINTED")
	require.NotContains(t, quick, "reading the container")

	require.NoError(t, w.hub.Hang(emulator.Management))
	p := openTerminal(t)
	cmd := w.command(w.binary, "status", "--lag", "-o", "csv")
	cmd.Stderr = p.File
	out := &lines{}
	cmd.Stdout = out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(p.written.String(), "asking the event hub") }, time.Minute, 10*time.Millisecond)
	require.NoError(t, w.hub.Resume(emulator.Management))
	require.NoError(t, cmd.Wait())
	require.NotContains(t, out.String(), "\x1b")
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	require.NotEmpty(t, p.end())
}
