package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dead reports whether who took a lock is proven to be gone. It is asked while
// our own lease of the stack is held.
type Dead func(context.Context, LockOwner) (bool, error)

// DeadHere proves the death of processes of this host by asking the kernel, and
// of no others: elsewhere asks somebody who knows those, and may be nil.
func DeadHere(elsewhere Dead) Dead {
	return func(ctx context.Context, o LockOwner) (bool, error) {
		host, err := os.Hostname()
		if err != nil {
			return false, err
		}
		if o.Host != host {
			if elsewhere == nil {
				return false, nil
			}
			return elsewhere(ctx, o)
		}
		if o.PID <= 0 {
			return false, nil
		}
		if errors.Is(syscall.Kill(o.PID, 0), syscall.ESRCH) {
			return true, nil
		}
		// The number may be another's by now: a container that is started again has the
		// same host's name, and the same few numbers.
		started, ok := startOf(o.PID)
		return ok && started.After(o.At.Add(clockSkew)), nil
	}
}

// clockSkew is how much two readings of this host's clock may differ.
const clockSkew = 5 * time.Second

// startOf returns when a process of this host was started, where the kernel tells.
// Source: proc(5), /proc/pid/stat and /proc/stat.
func startOf(pid int) (time.Time, bool) {
	const ticks = 100 // a second, on every architecture that Go runs on
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, false
	}
	system, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, false
	}
	_, rest, _ := bytes.Cut(system, []byte("\nbtime "))
	boot, _, _ := bytes.Cut(rest, []byte("\n"))
	booted, err := strconv.ParseInt(string(boot), 10, 64)
	// The program's name, in parentheses, may have spaces in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const start = 19 // the 22nd of all
	if err != nil || len(fields) <= start {
		return time.Time{}, false
	}
	began, err := strconv.ParseInt(fields[start], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(booted, 0).Add(time.Duration(began) * time.Second / ticks), true
}
