package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const killSignal = syscall.SIGKILL

// Numbers of the kernel's that the standard library keeps to itself.
const (
	setNoNewPrivs = 38 // PR_SET_NO_NEW_PRIVS
	limitNproc    = 6  // RLIMIT_NPROC; of mips and sparc another
	waitStopped   = 2  // WSTOPPED
	codeTrapped   = 4  // CLD_TRAPPED
)

// noNewPrivileges has this thread, and all it starts, gain none by what they
// execute: a set-uid program is an ordinary one to them.
func noNewPrivileges() error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("%w: no new privileges: %w", errLimits, errno)
	}
	return nil
}

// launchLimited starts a process that stops before its first instruction, has it
// limited, and lets it go. It must be called from the thread that lives as long
// as the agent, which is the one that traces.
func launchLimited(path string, attr *os.ProcAttr, limits Limits) (*os.Process, error) {
	traced := *attr.Sys
	traced.Ptrace = true
	stopping := *attr
	stopping.Sys = &traced
	child, err := os.StartProcess(path, []string{path}, &stopping)
	switch {
	case errors.Is(err, syscall.EPERM): // no tracing here: it runs some instructions unlimited
		if child, err = os.StartProcess(path, []string{path}, attr); err != nil {
			return nil, err
		}
		err = limits.impose(child.Pid)
	case err != nil:
		return nil, err
	default:
		if err = awaitStop(child.Pid); err == nil {
			err = limits.impose(child.Pid)
		}
		if err == nil {
			err = syscall.PtraceDetach(child.Pid)
		}
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) { // one that is gone is its watcher's
		_ = child.Kill()
		_, _ = child.Wait()
		return nil, err
	}
	return child, nil
}

// awaitStop waits until a traced child has stopped at its start; ESRCH if it
// died on the way. Neither is taken from whoever waits for the child's end.
func awaitStop(pid int) error {
	_, code, err := waitid(waitPID, pid, waitStopped)
	if err == nil && code != codeTrapped {
		err = syscall.ESRCH
	}
	return err
}

// impose puts a process under the limits.
func (l Limits) impose(pid int) error {
	for _, group := range l.Groups {
		// One write, without O_CREATE: a group is there or not.
		f, err := os.OpenFile(filepath.Join(group, "cgroup.procs"), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(strconv.Itoa(pid))
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errLimits, err)
		}
	}
	limits := map[int]uint64{syscall.RLIMIT_CORE: 0}
	if len(l.Groups) == 0 {
		if l.Memory > 0 {
			limits[syscall.RLIMIT_DATA] = uint64(l.Memory)
		}
		if l.Processes > 0 {
			limits[limitNproc] = uint64(l.Processes)
		}
	}
	for resource, value := range limits {
		limit := syscall.Rlimit{Cur: value, Max: value}
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource), uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("%w: limit %d: %w", errLimits, resource, errno)
		}
	}
	setBadness(pid, badnessStarting)
	return nil
}

// setBadness is a help where the kernel lets it be one.
func setBadness(pid, badness int) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(strconv.Itoa(badness))
}

func oomFiles(groups []string) (files oomWatch) {
	for _, group := range groups {
		for _, name := range []string{"memory.events", "memory.oom_control"} { // version 2, version 1
			path := filepath.Join(group, name)
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("oom_kill ")) {
				files = append(files, path)
			}
		}
	}
	return files
}

func oomKills(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
