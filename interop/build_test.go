package interop_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

// prepareJavaScript installs the locked npm package.
func prepareJavaScript(ctx context.Context) (nodepkg.Command, error) {
	if _, err := onPath("node", "install Node.js 20 or later"); err != nil {
		return nodepkg.Command{}, err
	}
	dir, err := nodepkg.Install(ctx, "interop", os.DirFS("js"))
	return nodepkg.Command{Args: []string{filepath.Join(dir, "driver.js")}}, err
}

const installGo = "install Go 1.26 or later"

// prepareKEDA builds the driver of KEDA's reader, which is a module of its own.
func prepareKEDA(ctx context.Context) (nodepkg.Command, error) {
	return build(ctx, "go", installGo, "keda", "interop-keda", func(tool, output string) (env, args []string, program string) {
		program = executable(output)
		return nil, []string{"build", "-buildvcs=false", "-o", program, "."}, program
	})
}

// build builds a driver into the cache folder, with a tool on PATH.
func build(ctx context.Context, tool, install, dir, name string, how func(tool, output string) (env, args []string, program string)) (nodepkg.Command, error) {
	path, err := onPath(tool, install)
	if err != nil {
		return nodepkg.Command{}, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return nodepkg.Command{}, err
	}
	env, args, program := how(path, filepath.Join(cache, name))
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if err := run(ctx, tool+" build", dir, env, path, args...); err != nil {
		return nodepkg.Command{}, fmt.Errorf("%w: %s", err, install)
	}
	return nodepkg.Command{Program: program}, nil
}

const installRust = "install Rust 1.88 or later, a C compiler and, on Linux, pkg-config and the headers of OpenSSL"

// prepareRust builds the driver with the locked crates.
func prepareRust(ctx context.Context) (nodepkg.Command, error) {
	return build(ctx, "cargo", installRust, "rust", "interop-rust", func(cargo, target string) (env, args []string, program string) {
		program = executable(filepath.Join(target, "debug", "checkpointstore-interop"))
		return rustupHome(cargo), []string{"build", "--locked", "--quiet", "--target-dir", target}, program
	})
}

// rustupHome tells rustup's cargo where its toolchains are, if they are not in the user's home folder but beside the cargo, as
// when another user installed it.
func rustupHome(cargo string) []string {
	if home, err := os.UserHomeDir(); os.Getenv("RUSTUP_HOME") != "" || err == nil && hasToolchains(filepath.Join(home, ".rustup")) {
		return nil
	}
	beside := filepath.Join(filepath.Dir(cargo), "..", "..", ".rustup")
	if !hasToolchains(beside) {
		return nil
	}
	return []string{"RUSTUP_HOME=" + beside}
}

func hasToolchains(rustup string) bool {
	toolchains, err := os.ReadDir(filepath.Join(rustup, "toolchains"))
	return err == nil && len(toolchains) > 0
}

func TestToolchainsOfAnotherUserAreFound(t *testing.T) {
	installer, user := t.TempDir(), t.TempDir()
	t.Setenv("HOME", user)
	t.Setenv("USERPROFILE", user)
	t.Setenv("RUSTUP_HOME", "")
	cargo := filepath.Join(installer, ".cargo", "bin", "cargo")
	require.Empty(t, rustupHome(cargo), "there are none")
	require.NoError(t, os.MkdirAll(filepath.Join(installer, ".rustup", "toolchains", "stable"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(user, ".rustup", "toolchains"), 0o700))
	require.Equal(t, []string{"RUSTUP_HOME=" + filepath.Join(installer, ".rustup")}, rustupHome(cargo))
	t.Setenv("RUSTUP_HOME", "elsewhere")
	require.Empty(t, rustupHome(cargo), "the user says where")
	t.Setenv("RUSTUP_HOME", "")
	require.NoError(t, os.Mkdir(filepath.Join(user, ".rustup", "toolchains", "stable"), 0o700))
	require.Empty(t, rustupHome(cargo), "the user has some")
}

// executable returns the file name of a program.
func executable(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".exe"
	}
	return path
}
