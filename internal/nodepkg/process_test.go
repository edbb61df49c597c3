package nodepkg

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// node is the command of a script with one argument.
func node(t *testing.T, script, argument string) Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "main.js")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return Command{Args: []string{path, argument}}
}

func TestProcessAnswersAndStops(t *testing.T) {
	needNode(t)
	got := make(chan string, 10)
	command := node(t, `console.log('hello ' + process.argv[2] + process.env.MORE);
		require('readline').createInterface({ input: process.stdin }).on('line', l => console.log('got ' + l))`, "--you")
	command.Env = []string{"MORE=!"}
	command.OnLine = func(line string) { got <- line }
	p, err := Start(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if _, err := fmt.Fprintln(p, "early"); err != nil { // before the script can have read anything
		t.Fatal(err)
	}
	for _, want := range []string{"hello --you!", "got early"} {
		if line := <-got; line != want {
			t.Fatalf("line %q, want %q", line, want)
		}
	}
	if err := p.Err(); err != nil {
		t.Errorf("a running process has the error %v", err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done() // Stop would kill a process that takes long to end
	p.Stop()
	p.Stop()
	if got, want := p.Err().Error(), "node ended: exit status 0: hello --you!; got early"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartWaitsUntilReady(t *testing.T) {
	needNode(t)
	command := node(t, `console.log('soon'); console.log('am ready now')`, "")
	var lines []string
	command.Ready, command.OnLine = "ready", func(line string) { lines = append(lines, line) }
	p, err := Start(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if want := []string{"soon", "am ready now"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}

	failing := node(t, `console.error('one\ntwo'); process.exitCode = 3; process.stdin.unref()`, "")
	failing.Ready = "ready"
	_, err = Start(t.Context(), failing)
	if want := "node ended: exit status 3: one; two"; err == nil || err.Error() != want {
		t.Errorf("a program that fails: %v, want %s", err, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	slow := node(t, `console.log('slow')`, "")
	slow.Ready, slow.OnLine = "ready", func(string) { cancel() }
	_, err = Start(ctx, slow)
	if want := "node is not ready: context canceled: slow"; err == nil || err.Error() != want {
		t.Errorf("a program that is slow: %v, want %s", err, want)
	}
}

func TestStartWithoutProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for program, want := range map[string]string{
		"":       "node is not on PATH: install Node.js 20 or later",
		"absent": `start absent: exec: "absent": executable file not found in `,
	} {
		_, err := Start(t.Context(), Command{Program: program})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", program, err, want)
		}
	}
}

const parentVariable = "NODEPKG_TEST_PARENT"

// TestProcessEndsWithItsParent kills a Go process that started a Node process, and waits for the latter's end, which
// ends its connection.
func TestProcessEndsWithItsParent(t *testing.T) {
	if address := os.Getenv(parentVariable); address != "" {
		beParent(t, address)
		return
	}
	needNode(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	parent := exec.Command(os.Args[0], "-test.run=^TestProcessEndsWithItsParent$")
	temp := t.TempDir() // which the parent cannot remove
	parent.Env = append(os.Environ(), parentVariable+"="+listener.Addr().String(), "TMPDIR="+temp, "TMP="+temp)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil { // returns when the Node process is gone
		t.Error(err)
	}
}

// beParent starts a Node process that connects to address, and waits to be killed.
func beParent(t *testing.T, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), node(t, `require('net').connect(process.argv[2], '127.0.0.1')`, port))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}
