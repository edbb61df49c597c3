package browser

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
)

// TestUPlotIsLocked compares the copy of uPlot that the page loads with the npm package that the lock file names.
func TestUPlotIsLocked(t *testing.T) {
	if testing.Short() {
		t.Skip("needs npm: left out by -short")
	}
	dir, err := installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for copied, original := range map[string]string{
		"uPlot.iife.min.js": "dist/uPlot.iife.min.js",
		"uPlot.min.css":     "dist/uPlot.min.css",
		"uPlot.LICENSE.txt": "LICENSE",
	} {
		have, err := os.ReadFile(filepath.Join("..", "page", copied))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, "node_modules", "uplot", filepath.FromSlash(original)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s has the SHA-256 %x, and the package's %s %x", copied, sha256.Sum256(have), original, sha256.Sum256(want))
		}
	}
}
