package interop_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

const installPython = "install Python 3.10 or later with venv and pip"

// preparePython makes a virtual environment with the pinned packages, for the driver of one of the two.
func preparePython(flavour string) func(context.Context) (nodepkg.Command, error) {
	return func(ctx context.Context) (nodepkg.Command, error) {
		interpreter, identity, err := findPython(ctx)
		if err != nil {
			return nodepkg.Command{}, err
		}
		requirements := filepath.Join("python", "requirements.txt")
		pinned, err := os.ReadFile(requirements)
		if err != nil {
			return nodepkg.Command{}, err
		}
		dir, err := install(ctx, "interop-python", identity+"\n"+string(pinned), func(ctx context.Context, dir string) error {
			if err := run(ctx, "python3 -m venv", "", nil, interpreter, "-m", "venv", dir); err != nil {
				return fmt.Errorf("%w: %s", err, installPython)
			}
			// Run pip as a module: the paths in its script would be wrong after the rename.
			if err := run(ctx, "pip install", "", nil, pythonIn(dir), "-I", "-m", "pip", "install", "--quiet", "--no-input",
				"--disable-pip-version-check", "--requirement", requirements); err != nil {
				return fmt.Errorf("%w: check that pip can reach its index", err)
			}
			return nil
		})
		return nodepkg.Command{Program: pythonIn(dir), Args: []string{"-I", filepath.Join("python", "driver.py"), flavour}}, err
	}
}

// findPython returns the interpreter on PATH and its identity.
func findPython(ctx context.Context) (path, identity string, err error) {
	path, err = onPath("python3", installPython)
	if err != nil {
		return "", "", err
	}
	const probe = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10), sys.version; print(sys.base_prefix, sys.version)"
	output, err := exec.CommandContext(ctx, path, "-I", "-c", probe).CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("python3 on PATH is not usable (%s): %s", lastLine(output), installPython)
	}
	return path, string(output), nil
}

// pythonIn returns the interpreter of a virtual environment.
func pythonIn(dir string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(dir, "Scripts", "python.exe")
	}
	return filepath.Join(dir, "bin", "python")
}
