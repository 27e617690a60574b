//go:build !linux

package agent

import "time"

// usage is not known: only Linux has it in files.
func usage(int) (resident int64, cpu time.Duration) { return 0, 0 }
