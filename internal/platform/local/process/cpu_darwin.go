package process

import "time"

// CPU returns the processor time that processes and those below them have used:
// here nothing says.
func CPU([]int) map[int]time.Duration { return nil }
