package agent

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// hide keeps this process's memory and environment, with the keys in it, from
// the app, which is the same user's.
func hide() error {
	const notDumpable = 0
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, notDumpable, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Constants of waitid(2) that the standard library keeps to itself.
const (
	waitAll    = 0 // P_ALL
	waitPID    = 1 // P_PID
	waitExited = 4 // WEXITED
)

// waitid returns the pid of a child that ended, without reaping it, and what
// became of it (a CLD_ constant); 0 for none.
func waitid(kind, id, options int) (pid, code int, err error) {
	var info struct { // siginfo_t, 128 bytes
		signo, errno, code int32
		_                  [(unsafe.Sizeof(uintptr(0)) - 4) / 4]int32 // alignment of a union with a pointer
		pid                int32
		_                  [108]byte
	}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, uintptr(kind), uintptr(id),
			uintptr(unsafe.Pointer(&info)), uintptr(options|waitExited|syscall.WNOWAIT), 0, 0)
		switch errno {
		case 0:
			return int(info.pid), int(info.code), nil
		case syscall.EINTR:
		default:
			return 0, 0, errno
		}
	}
}

// reapGroup waits for a child and kills what is left of its group. It does so
// before it reaps the child: until then nobody else can get the group's number.
func reapGroup(child *os.Process) (*os.ProcessState, error) {
	_, _, _ = waitid(waitPID, child.Pid, 0)
	_ = syscall.Kill(-child.Pid, syscall.SIGKILL)
	return child.Wait()
}

// reapOrphans reaps, as a container's first process must, the processes that
// lost their parent. The agent's own children are left to those who wait for them.
func (s *starter) reapOrphans(ctx context.Context) {
	if os.Getpid() != 1 {
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	again := time.NewTicker(30 * time.Second) // signals merge
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
		case <-again.C:
		}
		s.reap()
	}
}

func (s *starter) reap() {
	for tries := 0; tries < 100; {
		pid, _, err := waitid(waitAll, 0, syscall.WNOHANG)
		if err != nil || pid == 0 {
			return
		}
		s.children.mu.Lock()
		own := s.children.pids[pid]
		if !own {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		s.children.mu.Unlock()
		if own { // about to be reaped; until then it hides the others
			tries++
			time.Sleep(5 * time.Millisecond)
		}
	}
}
