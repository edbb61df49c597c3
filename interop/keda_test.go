package interop_test

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

const installGo = "install Go 1.26 or later"

// prepareKEDA builds the driver of KEDA's reader, in its own module, or what changed of it.
func prepareKEDA(ctx context.Context) (nodepkg.Command, error) {
	goTool, err := onPath("go", installGo)
	if err != nil {
		return nodepkg.Command{}, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return nodepkg.Command{}, err
	}
	program := executable(filepath.Join(cache, "interop-keda"))
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if err := run(ctx, "go build", "keda", nil, goTool, "build", "-buildvcs=false", "-o", program, "."); err != nil {
		return nodepkg.Command{}, fmt.Errorf("%w: %s", err, installGo)
	}
	return nodepkg.Command{Program: program}, nil
}
