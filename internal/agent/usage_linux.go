package agent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticks are the units of processor time in /proc, a second (USER_HZ, which is
// the kernel's promise to programs).
const ticks = 100

// usage returns the memory that a process has resident, in bytes, and the
// processor time it used, with that of children it waited for.
func usage(pid int) (resident int64, cpu time.Duration) {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
			resident = pages * int64(os.Getpagesize())
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return resident, 0
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // from the state, field 3, on
	const first, last = 14 - 3, 17 - 3                   // utime, stime, cutime, cstime
	var sum int64
	for n := first; n <= last && n < len(f); n++ {
		v, _ := strconv.ParseInt(string(f[n]), 10, 64)
		sum += v
	}
	return resident, time.Duration(sum) * time.Second / ticks
}
