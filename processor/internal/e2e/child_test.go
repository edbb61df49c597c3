package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// childVariable holds the config of an owner that this binary is to be, instead
// of running tests.
const childVariable = "CHECKPOINTSTORE_E2E_OWNER"

// child runs one owner until its standard input ends, and writes what it does to
// its standard output, one line each.
func child(text string) int {
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := c.run(ctx, &lines{}, nil, logger(c.Name)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// lines is a recorder that writes.
type lines struct{ mu sync.Mutex }

func (l *lines) write(kind, partition string, sequence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Println(kind, partition, sequence)
}

func (l *lines) handled(_, partition string, n int64)      { l.write("handled", partition, n) }
func (l *lines) checkpointed(_, partition string, n int64) { l.write("checkpointed", partition, n) }
func (l *lines) stale(_, partition string, n int64)        { l.write("stale", partition, n) }

// process is an owner in a process of its own.
type process struct {
	*exec.Cmd
	name  string
	stdin io.Closer
	ended chan struct{} // when all that it wrote was read
}

// spawn starts an owner in a process of its own. It ends with the test, and with
// this process even if that is killed.
func (w *world) spawn(c config) *process {
	t := w.t
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	p := &process{Cmd: exec.Command(os.Args[0]), name: c.Name, ended: make(chan struct{})}
	p.Env = append(os.Environ(), childVariable+"="+string(text))
	p.Stderr = os.Stderr
	p.stdin, err = p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		defer close(p.ended)
		w.read(c.Name, out)
	}()
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (w *world) read(owner string, out io.Reader) {
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		var kind, partition string
		var n int64
		if _, err := fmt.Sscan(scanner.Text(), &kind, &partition, &n); err != nil {
			continue // the last line of one that was killed
		}
		switch kind {
		case "handled":
			w.ledger.handled(owner, partition, n)
		case "checkpointed":
			w.ledger.checkpointed(owner, partition, n)
		case "stale":
			w.ledger.stale(owner, partition, n)
		}
	}
}

// kill ends the owner at once. A second call does nothing.
func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.Process.Kill()
	<-p.ended
	_ = p.Wait()
}
