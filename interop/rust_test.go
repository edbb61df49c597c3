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

const installRust = "install Rust 1.88 or later, a C compiler and, on Linux, pkg-config and the headers of OpenSSL"

// prepareRust builds the locked crate and its driver, or what changed of them.
func prepareRust(ctx context.Context) (nodepkg.Command, error) {
	cargo, err := onPath("cargo", installRust)
	if err != nil {
		return nodepkg.Command{}, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return nodepkg.Command{}, err
	}
	target := filepath.Join(cache, "interop-rust")
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if err := run(ctx, "cargo build", "rust", rustupHome(cargo), cargo, "build", "--locked", "--quiet", "--target-dir", target); err != nil {
		return nodepkg.Command{}, fmt.Errorf("%w: %s", err, installRust)
	}
	return nodepkg.Command{Program: executable(filepath.Join(target, "debug", "checkpointstore-interop"))}, nil
}

// rustupHome tells a cargo of rustup's where its toolchains are, if they are not in the home folder of today's user but
// beside the cargo, in that of whoever installed it.
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

// executable is the name of a program's file.
func executable(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".exe"
	}
	return path
}
