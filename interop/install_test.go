package interop_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// installTimeout bounds the first installation or build.
	installTimeout = 25 * time.Minute
	installed      = ".complete"
)

// install returns a folder in the user's cache that fill has filled, now or earlier, for the same content. The folder is filled
// under another name and then renamed, so it is never half full; of several processes, the first rename wins.
func install(ctx context.Context, name, content string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(content))
	dir := filepath.Join(cache, fmt.Sprintf("%s-%x", name, sum[:8]))
	if isInstalled(dir) {
		return dir, nil
	}
	temp, err := os.MkdirTemp(cache, filepath.Base(dir)+".tmp-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a no-op after the rename
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if err := fill(ctx, temp); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(temp, installed), nil, 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !isInstalled(dir) {
		return "", err
	}
	return dir, nil
}

func isInstalled(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, installed))
	return err == nil
}

// cacheFolder returns the folder for all that the tests install.
func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "checkpointstore-test")
	return cache, os.MkdirAll(cache, 0o700)
}

// run runs a program in a folder (empty: the current one) with additions to the environment. Its error is one line that starts
// with name.
func run(ctx context.Context, name, dir string, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLine(output))
	}
	return nil
}

func lastLine(output []byte) string {
	text := strings.TrimSpace(string(output))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
