package interop_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

const (
	// pythonVariable names the environment variable that, as "off", leaves the Python stores out.
	pythonVariable = "CHECKPOINTSTORE_INTEROP_PYTHON"

	installPython  = "install Python 3.10 or later with venv and pip, or set " + pythonVariable + "=off"
	installTimeout = 8 * time.Minute
	venvMarker     = ".complete"
)

// needPython skips the test if the Python stores are left out. That they are missing fails a test later, in open.
func needPython(t *testing.T) {
	t.Helper()
	if os.Getenv(pythonVariable) == "off" {
		t.Skip("the Python stores are left out: " + pythonVariable + "=off")
	}
}

// startPython makes the virtual environment, the first time, and starts the driver of one of the two packages in it.
// What nodepkg does for a Node process serves here as well: the driver ends when its standard input does.
func startPython(ctx context.Context, flavour string, command nodepkg.Command) (*nodepkg.Process, error) {
	dir, err := pythonEnvironment(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the Python store: %w", err)
	}
	script, err := filepath.Abs(filepath.Join("python", "driver.py"))
	if err != nil {
		return nil, err
	}
	command.Program = pythonIn(dir)
	command.Args = []string{"-I", script, flavour}
	return nodepkg.Start(command)
}

// pythonEnvironment returns a virtual environment with the pinned packages, in the user's cache. It is built beside its
// place and renamed, so that nobody sees half of one; if several processes build it at once, the first rename stays.
func pythonEnvironment(ctx context.Context) (string, error) {
	requirements, err := filepath.Abs(filepath.Join("python", "requirements.txt"))
	if err != nil {
		return "", err
	}
	pinned, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	interpreter, identity, err := findPython(ctx)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "checkpointstore-test")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(identity + "\n" + string(pinned)))
	dir := filepath.Join(cache, fmt.Sprintf("interop-python-%x", sum[:8]))
	if isComplete(dir) {
		return dir, nil
	}
	temp, err := os.MkdirTemp(cache, filepath.Base(dir)+".tmp-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a no-op after the rename
	if err := run(ctx, "python3 -m venv", interpreter, "-m", "venv", temp); err != nil {
		return "", fmt.Errorf("%w: %s", err, installPython)
	}
	// Without scripts: the paths in them would be wrong after the rename. Python itself finds its own.
	if err := run(ctx, "pip install", pythonIn(temp), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement", requirements); err != nil {
		return "", fmt.Errorf("%w: check that pip can reach its index", err)
	}
	if err := os.WriteFile(filepath.Join(temp, venvMarker), nil, 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !isComplete(dir) {
		return "", err
	}
	return dir, nil
}

// findPython returns the interpreter on PATH, and what tells it from others.
func findPython(ctx context.Context) (path, identity string, err error) {
	path, err = exec.LookPath("python3")
	if err != nil {
		return "", "", errors.New("python3 is not on PATH: " + installPython)
	}
	const probe = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10), sys.version; print(sys.base_prefix, sys.version)"
	output, err := exec.CommandContext(ctx, path, "-I", "-c", probe).CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("python3 on PATH does not do (%s): %s", lastLine(output), installPython)
	}
	return path, string(output), nil
}

// pythonIn is the interpreter of a virtual environment.
func pythonIn(dir string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(dir, "Scripts", "python.exe")
	}
	return filepath.Join(dir, "bin", "python")
}

// run runs a program whose failure is told in one line, under a name.
func run(ctx context.Context, name, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLine(output))
	}
	return nil
}

func lastLine(output []byte) string {
	text := strings.TrimSpace(string(output))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func isComplete(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, venvMarker))
	return err == nil
}

func TestWithoutPythonOneLineSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := startPython(t.Context(), "sync", nodepkg.Command{})
	require.EqualError(t, err, "start the Python store: python3 is not on PATH: "+
		"install Python 3.10 or later with venv and pip, or set CHECKPOINTSTORE_INTEROP_PYTHON=off")
}
