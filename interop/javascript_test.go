package interop_test

import (
	"context"
	"os"
	"path/filepath"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

// prepareJavaScript installs the locked npm package.
func prepareJavaScript(ctx context.Context) (nodepkg.Command, error) {
	if _, err := onPath("node", "install Node.js 20 or later"); err != nil {
		return nodepkg.Command{}, err
	}
	dir, err := nodepkg.Package{Name: "interop", Files: os.DirFS("js")}.Install(ctx)
	if err != nil {
		return nodepkg.Command{}, err
	}
	script, err := filepath.Abs(filepath.Join("js", "driver.js"))
	return nodepkg.Command{
		Args: []string{script},
		Env:  []string{"NODE_PATH=" + filepath.Join(dir, "node_modules")},
	}, err
}
