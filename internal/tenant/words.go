package tenant

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FormatDuration writes a duration as tenant files do: 7d, 15m, 1h30m.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0"
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// String says what the instances are, in a line.
func (c Compute) String() string {
	instances := "1 instance"
	if c.Scale.Min != 1 {
		instances = fmt.Sprintf("%d instances", c.Scale.Min)
	}
	s := fmt.Sprintf("cpu %d, memory %d MiB, %s", c.CPU, c.Memory, instances)
	if c.Scale.Max > c.Scale.Min {
		s += fmt.Sprintf(", up to %d", c.Scale.Max)
	}
	if c.IdleAfter > 0 {
		s += ", stops when idle for " + FormatDuration(c.IdleAfter)
	}
	return s
}

// String says what becomes of the data when the file is deleted.
func (d Deletion) String() string {
	switch {
	case d.Protect:
		return "protected"
	case d.Grace > 0:
		return "data is kept for " + FormatDuration(d.Grace)
	}
	return "data goes at once"
}
