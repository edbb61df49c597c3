package browser

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

//go:embed package.json package-lock.json
var locked embed.FS

// installed returns the folder with the locked npm packages.
func installed(ctx context.Context) (string, error) {
	return nodepkg.Install(ctx, "checkpointctl-browser", locked)
}

// chromium returns the path of a Chromium or Chrome: one on PATH, else that of the locked npm package, which is for
// Linux on amd64. An empty path leaves it to chromedp, which knows where other systems have it.
func chromium(ctx context.Context) (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chromium-headless-shell", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", nil
	}
	dir, err := installed(ctx)
	if err != nil {
		return "", fmt.Errorf("no Chromium or Chrome is on PATH: %w", err)
	}
	return unpacked(ctx, dir)
}

// unpackScript lets the package unpack its browser into the folder for temporary files.
const unpackScript = `import(process.argv[1]).then((module) => module.default.executablePath());`

// unpacked returns the path of the npm package's browser, which the first call unpacks. The folder appears by a rename,
// so no other process sees half of it.
func unpacked(ctx context.Context, dir string) (string, error) {
	target := filepath.Join(dir, "unpacked")
	path := filepath.Join(target, "chromium")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	temp, err := os.MkdirTemp(dir, "unpacking-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	module := filepath.Join(dir, "node_modules", "@sparticuz", "chromium", "build", "index.js")
	cmd := exec.CommandContext(ctx, "node", "-e", unpackScript, module)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack the npm package's Chromium: %w: %s", err, strings.TrimSpace(string(output)))
	}
	if err := os.Rename(temp, target); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(path); statErr != nil { // nobody else was faster
			return "", err
		}
	}
	return path, nil
}
