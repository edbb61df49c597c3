//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package nodepkg

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// lock waits until this process holds the lock at path. The system ends the lock with the process.
func lock(ctx context.Context, path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	unlock, err := pollLock(ctx, func() (func(), bool, error) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return nil, false, nil
		}
		return func() { _ = file.Close() }, err == nil, err
	})
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return unlock, nil
}
