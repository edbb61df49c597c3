package nodepkg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	tailLines = 12
	stopGrace = 5 * time.Second
)

// endWithStdin is what node runs: the script, after it has seen to its end. The process that started it holds the other
// end of standard input and never closes it while it lives, so its end means that this process was stopped or that its
// parent is gone.
const endWithStdin = `const exit = () => process.exit(0);
process.stdin.on('end', exit).on('close', exit).on('error', exit).resume();
require(process.argv[1]);`

// Command says what [Start] runs.
type Command struct {
	// Program is the executable; empty means node. Another program must end by itself when its standard input ends.
	Program string
	// Args are the program's arguments. For node the first is the absolute path of a script, a CommonJS module.
	Args []string
	// Env is added to the environment of this process.
	Env []string
	// Ready is a part of the line of standard output that says that the program is ready. Start waits for it unless it
	// is empty.
	Ready string
	// OnLine, if set, is called for each line of standard output, in order, on one goroutine that ends with the program.
	OnLine func(line string)
}

// Process is a running program. It ends with the process that started it, even if that is killed.
// Its methods may be called at once by any number of goroutines.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ready chan struct{} // closed when the program is ready
	done  chan struct{} // closed when it has ended

	mu   sync.Mutex
	tail []string // last lines of its output
}

// Start starts a program and waits until it is ready, if the command says how to tell. The caller must call Stop.
//
// The error says that there is no such program, or that it ended or ctx ended before it was ready; the program is then
// gone. ctx does not bound the life of the program.
func Start(ctx context.Context, command Command) (*Process, error) {
	p, err := start(command)
	if err != nil || command.Ready == "" {
		return p, err
	}
	select {
	case <-p.ready:
		return p, nil
	case <-p.done:
		return nil, p.Err()
	case <-ctx.Done():
		p.Stop()
		return nil, fmt.Errorf("%s is not ready: %w: %s", p.name(), ctx.Err(), p.Tail())
	}
}

func start(command Command) (*Process, error) {
	program, args := command.Program, command.Args
	if program == "" {
		program, args = "node", append([]string{"-e", endWithStdin}, args...)
		if _, err := exec.LookPath(program); err != nil {
			return nil, errors.New("node is not on PATH: " + installNode)
		}
	}
	p := &Process{cmd: exec.Command(program, args...), ready: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), command.Env...)
	p.cmd.WaitDelay = stopGrace // a grandchild that keeps the output open cannot hold up Stop
	stdout, stdoutWriter := io.Pipe()
	stderr, stderrWriter := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = stdoutWriter, stderrWriter
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.readOutput(stdout, command) })
	readers.Go(func() { eachLine(stderr, p.remember) })
	go func() {
		_ = p.cmd.Wait() // Err reads how it ended from the ProcessState
		_, _ = stdoutWriter.Close(), stderrWriter.Close()
		readers.Wait()
		close(p.done)
	}()
	return p, nil
}

// readOutput reads the lines of standard output and tells when the program is ready.
func (p *Process) readOutput(stdout io.Reader, command Command) {
	ready := false
	eachLine(stdout, func(line string) {
		p.remember(line)
		if command.OnLine != nil {
			command.OnLine(line)
		}
		if !ready && strings.Contains(line, command.Ready) {
			ready = true
			close(p.ready)
		}
	})
}

// eachLine calls do for each line, of any length, without its end.
func eachLine(r io.Reader, do func(line string)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			do(line)
		}
		if err != nil {
			return
		}
	}
}

// Stop ends the program and waits until it is gone: it closes its standard input, and kills it if it does not end on
// that. A second call, or a program that ended by itself, is not an error.
func (p *Process) Stop() {
	_ = p.stdin.Close()
	select {
	case <-p.done:
		return
	case <-time.After(stopGrace):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Write writes to the standard input of the program.
func (p *Process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says in one line how the program ended, with the last lines of its output. It is nil while the program runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %s: %s", p.name(), p.cmd.ProcessState, p.Tail())
	default:
		return nil
	}
}

// Tail returns the last lines of the program's output as one line.
func (p *Process) Tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "; ")
}

func (p *Process) remember(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tail = append(p.tail, strings.TrimSpace(line)); len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }
