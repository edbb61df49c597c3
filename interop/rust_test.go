package interop_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"

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
	if err := run(ctx, "cargo build", "rust", cargo, "build", "--locked", "--quiet", "--target-dir", target); err != nil {
		return nodepkg.Command{}, fmt.Errorf("%w: %s", err, installRust)
	}
	return nodepkg.Command{Program: executable(filepath.Join(target, "debug", "checkpointstore-interop"))}, nil
}

// executable is the name of a program's file.
func executable(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".exe"
	}
	return path
}
