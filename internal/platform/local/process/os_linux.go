package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// look returns a process's parent and kernel start time (in clock ticks since
// boot), and whether it is there and not a zombie. One whose first thread ended
// is shown as a zombie while the others still have its ports and files: it is
// alive until the last is gone.
func look(pid int) (parent int, start uint64, alive bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The command's name, in parentheses, may hold anything.
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, 0, false
	}
	fields := strings.Fields(string(b[end+1:])) // from field 3, the state, on
	if len(fields) < 20 {
		return 0, 0, false
	}
	parent, _ = strconv.Atoi(fields[1])
	start, err = strconv.ParseUint(fields[19], 10, 64)
	ended := fields[0] == "X" || fields[0] == "Z" && (fields[17] == "0" || fields[17] == "1") // the number of threads
	return parent, start, err == nil && !ended
}

// boot names the time since the machine started.
func boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// marked returns the processes whose environment has an entry that starts with
// prefix, and that entry. Processes of other users are seen by root only.
func marked(prefix string) (map[int]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	found := make(map[int]string)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if v := environEntry(environ(pid), prefix); v != "" {
			if _, _, alive := look(pid); alive {
				found[pid] = v
			}
		}
	}
	return found, nil
}

// environ returns a process's environment. A program that is just being loaded
// has let go of its caller's files, such as a lock, but shows no environment yet:
// it is looked at again. (The kernel's own threads have no program, and others
// may really have no environment.)
func environ(pid int) []byte {
	dir := "/proc/" + strconv.Itoa(pid)
	for left := 20; ; left-- {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || len(env) > 0 || left <= 0 {
			return env
		}
		if _, err := os.Readlink(dir + "/exe"); err != nil {
			return nil
		}
		if line, err := os.ReadFile(dir + "/cmdline"); err != nil || len(line) > 0 {
			left = 1 // its arguments are there, and the environment comes next
		}
		time.Sleep(time.Millisecond)
	}
}

func environEntry(env []byte, prefix string) string {
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.HasPrefix(entry, []byte(prefix)) {
			return string(entry)
		}
	}
	return ""
}

// awaitExit returns when the process has ended, or ctx. A pidfd in the
// runtime's poller costs no thread.
func awaitExit(ctx context.Context, pid int, start uint64) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		pollExit(ctx, pid, start)
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if _, s, alive := look(pid); !alive || s != start { // the pid was another's already
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
	}
	if err != nil {
		pollExit(ctx, pid, start)
	}
}

// UserProcesses returns the processes that run as the given user.
func UserProcesses(uid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if !RunsAs(pid, uid) {
			continue
		}
		if _, _, alive := look(pid); alive {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// RunsAs reports whether a process runs as the given user: its real user id,
// which a program that makes itself undumpable cannot hide.
func RunsAs(pid, uid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			fields := strings.Fields(ids)
			return len(fields) > 0 && fields[0] == strconv.Itoa(uid)
		}
	}
	return false
}

// Listener returns the process that listens on a TCP port, and its command
// line, if both can be found.
func Listener(port string) (pid int, command string) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0, ""
	}
	sockets := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(table)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line) // sl local_address rem_address st … inode; 0A is LISTEN
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well-formed
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || !sockets[target] {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		return pid, strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	}
	return 0, ""
}

// Within returns the processes whose working directory is dir.
func Within(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink("/proc/" + e.Name() + "/cwd"); err == nil && cwd == dir {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
