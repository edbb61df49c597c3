// Package nodepkg installs npm packages that a lock file pins, and runs programs that end with the process that
// started them, for tests and examples that need a server written for Node.
package nodepkg

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	cacheFolder    = "checkpointstore-test"
	minNodeMajor   = 20
	installNode    = "install Node.js 20 or later"
	installTimeout = 8 * time.Minute
	lockPoll       = 100 * time.Millisecond
)

// Install returns a folder with a copy of the files, package.json and package-lock.json at their top, and with
// node_modules beside them. The folder's name is made of name and of the content of the files.
//
// The folder lies in the user's cache, or among the temporary files if there is no home folder. The first call runs
// "npm ci", which checks the sums in the lock file; the packages' own install scripts do not run. Later calls find the
// folder, and need neither npm nor a network.
//
// The error is one line: npm or node is not on PATH, node is too old, npm failed, or ctx ended.
//
// Any number of goroutines and processes may call Install at once. A file lock lets one of them install, and the folder
// appears by a rename, so nobody sees half of it.
func Install(ctx context.Context, name string, files fs.FS) (string, error) {
	dir, err := install(ctx, name, files)
	if err != nil {
		return "", fmt.Errorf("install npm package %s: %w", name, err)
	}
	return dir, nil
}

func install(ctx context.Context, name string, files fs.FS) (string, error) {
	sum, err := checksum(files)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name+"-"+sum)
	if exists(dir) {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if err := checkNode(ctx); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", fmt.Errorf("wait for another install: %w", err)
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	temp := dir + ".tmp" // only the holder of the lock uses it
	if err := os.RemoveAll(temp); err != nil {
		return "", err
	}
	if err := os.CopyFS(temp, files); err != nil {
		return "", err
	}
	if err := npmCI(ctx, temp); err != nil {
		return "", errors.Join(err, os.RemoveAll(temp))
	}
	return dir, os.Rename(temp, dir)
}

// checksum returns a short name for the content of the files.
func checksum(files fs.FS) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
		return err
	})
	return fmt.Sprintf("%x", hash.Sum(nil)[:8]), err
}

// cacheDir returns a folder that this user may write to.
func cacheDir() (string, error) {
	if base, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(base, cacheFolder)
		if os.MkdirAll(dir, 0o700) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), cacheFolder+"-"+strconv.Itoa(os.Getuid()))
	return dir, os.MkdirAll(dir, 0o700)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// errLocked says that another process, or another call in this one, holds the lock.
var errLocked = errors.New("locked")

// lock waits until it holds the lock file at path. The system ends the lock with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		file, err := openLocked(path)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// checkNode looks for npm and for a node that is new enough.
func checkNode(ctx context.Context) error {
	for _, tool := range []string{"npm", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on PATH: %s", tool, installNode)
		}
	}
	output, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w: %s", err, installNode)
	}
	var major int
	if _, err := fmt.Sscanf(string(output), "v%d.", &major); err != nil || major < minNodeMajor {
		return fmt.Errorf("node on PATH is %s: %s", strings.TrimSpace(string(output)), installNode)
	}
	return nil
}

func npmCI(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--omit=dev",
		"--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
	cmd.Dir = dir
	cmd.WaitDelay = stopGrace
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("npm ci: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("npm ci: %w: %s: check that npm can reach its registry", err, npmReason(string(output)))
	}
	return nil
}

// npmReason returns the first lines of npm's output as one line.
func npmReason(output string) string {
	const maxLines = 6
	var reasons []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "npm error"))
		if line != "" && len(reasons) < maxLines {
			reasons = append(reasons, line)
		}
	}
	return strings.Join(reasons, "; ")
}
