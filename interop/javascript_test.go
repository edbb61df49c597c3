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
	dir, err := nodepkg.Install(ctx, "interop", os.DirFS("js"))
	return nodepkg.Command{Args: []string{filepath.Join(dir, "driver.js")}}, err
}
