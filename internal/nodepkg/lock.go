package nodepkg

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

const (
	lockPoll = 50 * time.Millisecond
	// staleAfter is longer than an install may take, so that a lock of that age has no living holder.
	staleAfter = installTimeout + 2*time.Minute
)

// pollLock calls try until it holds the lock, fails, or ctx ends.
func pollLock(ctx context.Context, try func() (unlock func(), ok bool, err error)) (func(), error) {
	for {
		unlock, ok, err := try()
		if err != nil || ok {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// lockByCreating holds the lock as long as the file at path exists, where the system has no flock.
// A file older than staleAfter was left by a process that died, and is removed. Should two processes remove it at once
// then both may install, which costs time and nothing else: the rename decides.
func lockByCreating(ctx context.Context, path string) (func(), error) {
	return pollLock(ctx, func() (func(), bool, error) {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_ = file.Close()
			return func() { _ = os.Remove(path) }, true, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, false, err
		}
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(path)
		}
		return nil, false, nil
	})
}
