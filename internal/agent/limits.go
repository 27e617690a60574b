package agent

import (
	"errors"
	"fmt"
	"strings"
)

// Limits bound an app. Zero values bound nothing.
//
// Groups are control groups that an app is put into before its first
// instruction: the kernel then bounds all of its processes together. What made
// them set their limits; the app cannot change those. Without groups:
//
//   - Memory becomes RLIMIT_DATA, a bound on what each process maps to write to.
//     RLIMIT_AS would count the address space that a Go program merely reserves,
//     which is many times what it uses, and RLIMIT_RSS binds nothing.
//   - Processes becomes RLIMIT_NPROC, which the kernel counts by user: it is for
//     those whose user runs nothing else.
//
// There is no limit of this kind on the share of a processor.
type Limits struct {
	Memory    int64    `json:"memory,omitempty"`    // bytes
	Processes int      `json:"processes,omitempty"` // threads count
	Groups    []string `json:"groups,omitempty"`    // directories of control groups
}

// badness is how ready the kernel is to kill a process when memory is short, from
// 0 to 1000: an app before its agent, and one that was not seen healthy first.
const (
	badnessServing  = 500
	badnessStarting = 900
)

// oomWatch counts what the kernel killed for want of memory, in files of control
// groups that have a line "oom_kill N".
type oomWatch []string

// watchOOM finds the files of the groups; of a container, those of its own group.
func watchOOM(groups []string, container bool) oomWatch {
	if container && len(groups) == 0 {
		groups = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"}
	}
	return oomFiles(groups)
}

func (w oomWatch) count() (n uint64) {
	for _, path := range w {
		n += oomKills(path)
	}
	return n
}

// outOfMemory reports whether it was want of memory that ended the process, as
// the kernel did it, or as a Go program says it when it gets no more.
func (a *app) outOfMemory() bool {
	if a.proc.lost != nil {
		return false
	}
	if signal, ok := a.proc.signaled(); ok {
		return signal == killSignal && !a.proc.killed.Load() && a.oom.count() > a.oomKills
	}
	cause := a.out.crash()
	return strings.HasPrefix(cause, "fatal error: ") &&
		(strings.Contains(cause, "out of memory") || strings.Contains(cause, "cannot allocate memory"))
}

// ending says how the app's process ended, for people. What the app itself said
// is not in it: not everybody who sees the one may see the other.
func (a *app) ending(when string) string {
	how := a.proc.outcome()
	if a.outOfMemory() {
		how = "was killed: out of memory"
		if a.memory > 0 {
			how += fmt.Sprintf(" (limit %d MiB)", a.memory>>20)
		}
	}
	return "app " + how + " " + when
}

// errLimits is an app that could not be put under its limits.
var errLimits = errors.New("cannot limit the app")
