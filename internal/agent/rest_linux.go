package agent

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// leaveText lets go of the pages of this program's own file that are resident:
// most were of use only as it started, or for one kind of request. What is
// needed again comes from the file, by way of the page cache that all agents share.
func leaveText() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // first-last mode offset device inode path
		if len(f) < 6 || f[5] != exe || !strings.HasPrefix(f[1], "r-") || f[1][3] != 'p' {
			continue // also what can be written to: it may have been
		}
		from, to, _ := strings.Cut(f[0], "-")
		first, err := strconv.ParseUint(from, 16, 64)
		last, err1 := strconv.ParseUint(to, 16, 64)
		if err == nil && err1 == nil && first < last {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(first), uintptr(last-first), syscall.MADV_DONTNEED)
		}
	}
}
