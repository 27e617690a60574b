package process

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc. Source: proc(5); the kernel has
// reported hundredths of a second to user space on every port since 2.6.
const clockTick = 10 * time.Millisecond

// CPU returns the processor time that each of the processes and those below it
// have used since they began. What has ended is not in it.
func CPU(pids []int) map[int]time.Duration {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	type one struct {
		parent int
		used   time.Duration
	}
	all := make(map[int]one, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, used, ok := usage(pid); ok {
			all[pid] = one{parent, used}
		}
	}
	used := make(map[int]time.Duration, len(pids))
	for _, pid := range pids {
		if _, there := all[pid]; there {
			used[pid] = 0
		}
	}
	for pid, p := range all {
		for up := pid; up > 1; up = all[up].parent {
			if _, asked := used[up]; asked {
				used[up] += p.used
				break
			}
		}
	}
	return used
}

// usage returns a process's parent and the processor time it used.
func usage(pid int) (parent int, used time.Duration, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name, in brackets, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, false
	}
	parent, err1 := strconv.Atoi(string(fields[1]))
	user, err2 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err3 := strconv.ParseInt(string(fields[12]), 10, 64)
	return parent, time.Duration(user+system) * clockTick, err1 == nil && err2 == nil && err3 == nil
}
