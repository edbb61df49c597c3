package nodepkg

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestProcessAnswersAndStops(t *testing.T) {
	needNode(t)
	freshCache(t)
	got := make(chan string, 10)
	const script = `process.stdin.on('data', d => console.log('got ' + d.toString().trim())); console.log('ready')`
	p, err := Start(Command{Args: []string{"-e", script}, OnLine: func(line string) { got <- line }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if line := <-got; line != "ready" {
		t.Fatalf("first line %q", line)
	}
	if err := p.Err(); err != nil {
		t.Errorf("a running process has the error %v", err)
	}
	if _, err := fmt.Fprintln(p, "hello"); err != nil {
		t.Fatal(err)
	}
	if line := <-got; line != "got hello" {
		t.Errorf("second line %q", line)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done() // Stop would kill a process that takes long to end
	p.Stop()
	p.Stop()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: the watchdog did not end the process", code)
	}
}

func TestProcessErrHasTheLastLines(t *testing.T) {
	needNode(t)
	freshCache(t)
	p, err := Start(Command{Args: []string{"-e", `console.error('one\ntwo'); process.exitCode = 3; process.stdin.unref()`}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	<-p.Done()
	if got, want := p.Err().Error(), "node ended: exit status 3: one; two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartWithoutProgram(t *testing.T) {
	freshCache(t)
	t.Setenv("PATH", t.TempDir())
	if p, err := Start(Command{}); err == nil {
		p.Stop()
		t.Error("started without node on PATH")
	} else if !strings.HasPrefix(err.Error(), "start node: ") {
		t.Errorf("error %q", err)
	}
}

// TestProcessEndsWithItsParent kills a Go process that started a Node process, and waits for the latter's end, which
// ends its connection.
func TestProcessEndsWithItsParent(t *testing.T) {
	if address := os.Getenv(parentVariable); address != "" {
		beParent(t, address)
		return
	}
	needNode(t)
	freshCache(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	parent := exec.Command(os.Args[0], "-test.run=^TestProcessEndsWithItsParent$")
	parent.Env = append(os.Environ(), parentVariable+"="+listener.Addr().String())
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
	if _, err := io.Copy(io.Discard, conn); err != nil { // returns when the Node process is gone
		t.Error(err)
	}
}

const parentVariable = "NODEPKG_TEST_PARENT"

// beParent starts a Node process that connects to address, and waits to be killed.
func beParent(t *testing.T, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Command{Args: []string{"-e", `require('net').connect(` + port + `, '127.0.0.1')`}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}
