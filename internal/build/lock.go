package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// acquire takes a lock file, which the kernel frees when the process ends. Its
// modification time says when it was last used.
func acquire(ctx context.Context, name string) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		f, err := tryLock(name)
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", filepath.Base(name), ctx.Err())
		case <-time.After(wait):
		}
	}
}

// tryLock returns nil if another holds the lock.
func tryLock(name string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, f.Close()
	}
	if err == nil {
		now := time.Now()
		err = os.Chtimes(name, now, now)
	}
	// The file may have been cleaned away between opening and locking it.
	if err == nil && !same(f, name) {
		return nil, f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.Close()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func same(f *os.File, name string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(name)
	return err == nil && os.SameFile(have, now)
}
