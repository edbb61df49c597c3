package nodepkg

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
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

//go:embed watchdog.js
var watchdog []byte

// Command says what [Start] runs.
type Command struct {
	// Program is a Node program that can be executed; empty means node itself.
	Program string
	// Args follow the program. For node the first is the script.
	Args []string
	// Dir is the working directory; empty means that of the caller.
	Dir string
	// Env is added to the environment of this process.
	Env []string
	// OnLine, if set, is called for each line of standard output, in order, on one goroutine that ends with the process.
	OnLine func(line string)
}

// Process is a running Node process. It is ended with the Go process that started it, even if that is killed.
// Its methods may be called at once by any number of goroutines.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	done   chan struct{}
	stdout lines
	stderr lines

	mu   sync.Mutex
	tail []string
	err  error
}

// Start starts a Node process with the watchdog in it and returns at once: that the process runs does not mean that it
// serves. The error says that the program is not there or cannot be executed.
// The caller must call Stop.
func Start(command Command) (*Process, error) {
	program := command.Program
	if program == "" {
		program = "node"
	}
	preload, err := writeWatchdog()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	cmd := exec.Command(program, command.Args...)
	cmd.Dir = command.Dir
	cmd.Env = append(append(os.Environ(), command.Env...), "NODE_OPTIONS="+nodeOptions(os.Getenv("NODE_OPTIONS"), preload))
	cmd.WaitDelay = stopGrace // a grandchild that keeps the output open cannot hold up Stop
	p := &Process{cmd: cmd, done: make(chan struct{})}
	p.stdout = lines{onLine: func(line string) {
		p.remember(line)
		if command.OnLine != nil {
			command.OnLine(line)
		}
	}}
	p.stderr = lines{onLine: p.remember}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	go p.wait()
	return p, nil
}

// wait ends with the process.
func (p *Process) wait() {
	err := p.cmd.Wait()
	p.stdout.flush()
	p.stderr.flush()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.done)
}

// Stop ends the process and waits until it is gone: it closes its standard input, and kills it if it does not end on
// that. A second call, or a process that ended by itself, is not an error.
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

// Write writes to the standard input of the process.
func (p *Process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err describes in one line how the process ended, with the last lines of its output. It is nil while the process runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	reason := "exit status 0"
	if err != nil {
		reason = err.Error()
	}
	text := fmt.Sprintf("%s ended: %s", filepath.Base(p.cmd.Path), reason)
	if tail := p.Tail(); tail != "" {
		text += ": " + tail
	}
	return errors.New(text)
}

// Tail returns the last lines of the output of the process in one line.
func (p *Process) Tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "; ")
}

func (p *Process) remember(line string) {
	line = strings.TrimSpace(line)
	if line == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tail = append(p.tail, line); len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
}

// lines is a writer that hands on whole lines.
type lines struct {
	onLine  func(string)
	pending []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.pending = append(l.pending, b...)
	for {
		advance, line, _ := bufio.ScanLines(l.pending, false)
		if advance == 0 {
			return len(b), nil
		}
		text := string(line)
		l.pending = l.pending[advance:]
		l.onLine(text)
	}
}

func (l *lines) flush() {
	if len(l.pending) > 0 {
		l.onLine(string(l.pending))
		l.pending = nil
	}
}

// nodeOptions adds the preload to what the environment already says. Node splits the value at spaces, except in
// double quotes, where a backslash escapes.
func nodeOptions(existing, preload string) string {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(preload) + `"`
	return strings.TrimSpace(existing + " --require " + quoted)
}

// writeWatchdog puts the watchdog script in the cache, under a name made of its content.
func writeWatchdog() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(watchdog)
	path := filepath.Join(cache, fmt.Sprintf("watchdog-%x.js", sum[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	temp, err := os.CreateTemp(cache, "watchdog-tmp-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // a no-op after the rename
	_, err = temp.Write(watchdog)
	if err := errors.Join(err, temp.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		if _, statErr := os.Stat(path); statErr != nil {
			return "", err
		}
	}
	return path, nil
}
