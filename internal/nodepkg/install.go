// Package nodepkg installs a locked npm package once into the user's cache and runs Node programs from it, for
// tests and examples that need a server written for Node.
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
	marker         = ".complete"
	tempSuffix     = ".tmp-"
	minNodeMajor   = 20
	installTimeout = 8 * time.Minute
)

// lockedFiles are the files that decide what npm installs.
var lockedFiles = [...]string{"package.json", "package-lock.json"}

// Package is an npm package folder with its lock file.
type Package struct {
	// Name is the first part of the folder name in the cache.
	Name string
	// Files holds package.json and package-lock.json at its top.
	Files fs.FS
	// Hint ends the errors about missing tools: what the reader can do instead of installing them, as in
	// "set AZURITE_BLOB_ENDPOINT". It may be empty.
	Hint string
}

// Install returns the folder that holds the package's node_modules, and runs "npm ci" without scripts the first time.
//
// A folder that is already complete is not an error and nothing is run. The errors are one line: npm or node is not on
// PATH, node is too old, npm failed, or ctx ended.
//
// Install may be called at once by any number of goroutines and processes: a file lock makes one of them install, and
// as the package appears by one rename, none ever sees half of it.
func (p Package) Install(ctx context.Context) (string, error) {
	files, sum, err := p.read()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", fmt.Errorf("install npm package %s: %w", p.Name, err)
	}
	dir := filepath.Join(cache, p.Name+"-"+sum)
	if complete(dir) {
		return dir, nil
	}
	if err := p.checkTools(ctx); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", fmt.Errorf("install npm package %s: wait for another install: %w", p.Name, err)
	}
	defer unlock()
	if complete(dir) {
		return dir, nil
	}
	if err := p.installInto(ctx, dir, files); err != nil {
		return "", err
	}
	return dir, nil
}

// read returns the locked files and a name for their content.
func (p Package) read() (map[string][]byte, string, error) {
	files := make(map[string][]byte, len(lockedFiles))
	hash := sha256.New()
	for _, name := range lockedFiles {
		content, err := fs.ReadFile(p.Files, name)
		if err != nil {
			return nil, "", fmt.Errorf("read npm package %s: %w", p.Name, err)
		}
		files[name] = content
		fmt.Fprintf(hash, "%s %d\n", name, len(content))
		hash.Write(content)
	}
	return files, fmt.Sprintf("%x", hash.Sum(nil)[:8]), nil
}

// installInto builds dir in a sibling folder and renames it. The caller holds the lock.
func (p Package) installInto(ctx context.Context, dir string, files map[string][]byte) error {
	leftovers, err := filepath.Glob(dir + tempSuffix + "*") // of installs that were killed
	if err != nil {
		return fmt.Errorf("install npm package %s: %w", p.Name, err)
	}
	for _, leftover := range append(leftovers, dir) { // dir has no marker, or there would be nothing to install
		if err := os.RemoveAll(leftover); err != nil {
			return fmt.Errorf("install npm package %s: %w", p.Name, err)
		}
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+tempSuffix)
	if err != nil {
		return fmt.Errorf("install npm package %s: %w", p.Name, err)
	}
	defer func() { _ = os.RemoveAll(temp) }() // a no-op after the rename
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(temp, name), content, 0o600); err != nil {
			return fmt.Errorf("install npm package %s: %w", p.Name, err)
		}
	}
	if err := p.runNPM(ctx, temp); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, marker), nil, 0o600); err != nil {
		return fmt.Errorf("install npm package %s: %w", p.Name, err)
	}
	if err := os.Rename(temp, dir); err != nil && !complete(dir) {
		return fmt.Errorf("install npm package %s: %w", p.Name, err)
	}
	return nil
}

func (p Package) runNPM(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts",
		"--no-update-notifier", "--omit=dev", "--loglevel=error")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("install npm package %s: npm ci: %w", p.Name, ctx.Err())
	}
	return fmt.Errorf("install npm package %s: npm ci: %w: %s%s", p.Name, err, npmReason(string(output)), p.orHint(": check that npm can reach its registry"))
}

// checkTools looks for npm and for a node that is new enough.
func (p Package) checkTools(ctx context.Context) error {
	const install = ": install Node.js 20 or later"
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("npm is not on PATH" + p.orHint(install))
	}
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("node is not on PATH" + p.orHint(install))
	}
	output, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w%s", err, p.orHint(install))
	}
	version := strings.TrimSpace(string(output))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNodeMajor {
		return fmt.Errorf("node on PATH is %s%s", version, p.orHint(install))
	}
	return nil
}

// orHint adds the package's hint to an advice.
func (p Package) orHint(advice string) string {
	if p.Hint == "" {
		return advice
	}
	return advice + ", or " + p.Hint
}

// npmReason makes one line of the error that npm prints on several.
func npmReason(output string) string {
	const limit = 300
	var reasons []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		line = strings.TrimSpace(strings.TrimPrefix(line, "npm error"))
		if line == "" || strings.HasPrefix(line, "A complete log") {
			continue
		}
		reasons = append(reasons, line)
	}
	reason := strings.Join(reasons, "; ")
	if len(reason) > limit {
		reason = strings.ToValidUTF8(reason[:limit], "") + "…"
	}
	return reason
}

func complete(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, marker))
	return err == nil
}

// cacheDir returns a folder that this user may write, in the user's cache or else, as without HOME, among the
// temporary files.
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
