package process

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// The kernel's process states that count as ended (sys/proc.h: SZOMB).
const zombie = 5

// look returns a process's parent and start time (in microseconds since the
// epoch), and whether it is there and not a zombie.
func look(pid int) (parent int, start uint64, alive bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return 0, 0, false
	}
	t := p.Proc.P_starttime
	return int(p.Eproc.Ppid), uint64(t.Sec)*1e6 + uint64(t.Usec), p.Proc.P_stat != zombie
}

// boot names the time since the machine started.
func boot() string {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(t.Sec, 10)
}

// marked returns the processes whose environment has an entry that starts with
// prefix, and that entry. Processes of other users are seen by root only.
func marked(prefix string) (map[int]string, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	found := make(map[int]string)
	for _, p := range all {
		pid := int(p.Proc.P_pid)
		env, err := unix.SysctlRaw("kern.procargs2", pid) // arguments, then environment
		if err != nil || p.Proc.P_stat == zombie {
			continue
		}
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			if bytes.HasPrefix(entry, []byte(prefix)) {
				found[pid] = string(entry)
				break
			}
		}
	}
	return found, nil
}

func awaitExit(ctx context.Context, pid int, start uint64) { pollExit(ctx, pid, start) }

// UserProcesses returns the processes that run as the given user.
func UserProcesses(uid int) ([]int, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, p := range all {
		if int(p.Eproc.Ucred.Uid) == uid && p.Proc.P_stat != zombie {
			pids = append(pids, int(p.Proc.P_pid))
		}
	}
	return pids, nil
}

// RunsAs reports whether a process runs as the given user.
func RunsAs(pid, uid int) bool {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	return err == nil && int(p.Proc.P_pid) == pid && int(p.Eproc.Ucred.Uid) == uid
}

// Listener would return the process that listens on a TCP port; this system
// does not tell.
func Listener(string) (pid int, command string) { return 0, "" }

// Within would return the processes whose working directory is dir; this
// system does not tell.
func Within(string) ([]int, error) {
	return nil, fmt.Errorf("working directories of processes: not known on this system")
}
