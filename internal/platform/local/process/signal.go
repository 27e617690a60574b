package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// pollExit is awaitExit where the kernel has nothing to wait on.
func pollExit(ctx context.Context, pid int, start uint64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, s, alive := look(pid); !alive || s != start {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// signal sends sig to the process of that pid and start time, and to no other.
func signal(pid int, start uint64, sig syscall.Signal) error {
	p, err := os.FindProcess(pid) // on Linux a handle that cannot come to mean another process
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if _, s, alive := look(pid); !alive || s != start {
		return os.ErrProcessDone
	}
	return p.Signal(sig)
}

// killGroup ends the process and what else is in its group. The leader is
// looked at first: while it is there, not even as a zombie reaped, the group's
// number is its own.
func killGroup(pid int, start uint64) {
	if _, s, alive := look(pid); !alive || s != start {
		return
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	_ = signal(pid, start, syscall.SIGKILL)
}

// end asks the process to end, and makes it after the grace.
func end(ctx context.Context, pid int, start uint64, sig syscall.Signal, grace time.Duration) error {
	err := signal(pid, start, sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	awaitExit(patient, pid, start)
	if _, s, alive := look(pid); !alive || s != start {
		return nil
	}
	if err := ctx.Err(); err != nil { // the caller gave up; the grace is not over
		return err
	}
	killGroup(pid, start)
	last, cancelLast := context.WithTimeout(ctx, 10*time.Second)
	defer cancelLast()
	awaitExit(last, pid, start)
	if _, s, alive := look(pid); alive && s == start {
		return fmt.Errorf("process %d did not end though it was killed", pid)
	}
	return nil
}

// Kill ends the process of the given pid at once, if it still is one of
// those that want accepts.
func Kill(pid int, want func(pid int) bool) {
	_, start, alive := look(pid)
	if alive && want(pid) {
		_ = signal(pid, start, syscall.SIGKILL)
	}
}
