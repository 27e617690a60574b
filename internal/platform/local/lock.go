package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// lockFile takes the lock that a Driver holds for its life. The kernel frees it
// when the holder ends, however it ends; a child that the holder was just about
// to start may keep it for a moment longer.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := takeLock(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for messages alone
	}
	return f, nil
}

func takeLock(ctx context.Context, f *os.File) error {
	for deadline := time.Now().Add(5 * time.Second); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		content := make([]byte, 20)
		n, _ := f.ReadAt(content, 0)
		holder := strings.TrimSpace(string(content[:n]))
		pid, _ := strconv.Atoi(holder)
		dead := pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
		if !dead || time.Now().After(deadline) {
			return fault.Errorf(fault.Conflict, "another gitopsd (process %s) uses the data directory: %w", holder, err).
				WithHint("stop it, or choose another directory with --data")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
