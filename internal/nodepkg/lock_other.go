//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package nodepkg

import "context"

// lock waits until this process holds the lock at path.
func lock(ctx context.Context, path string) (func(), error) {
	return lockByCreating(ctx, path)
}
