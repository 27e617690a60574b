package aws

import "time"

// Timing is how often and how long the driver looks. Zero values are what suits AWS.
type Timing struct {
	Poll  time.Duration // between two looks at what is changing; default 5 s
	Start time.Duration // that tasks may take to run; default 10 min
	Logs  time.Duration // between two looks at a log that is followed; default 2 s
	Watch time.Duration // between two rounds of Supervise; default 5 min
}

func (t Timing) complete() Timing {
	for _, f := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&t.Poll, 5 * time.Second}, {&t.Start, 10 * time.Minute}, {&t.Logs, 2 * time.Second}, {&t.Watch, 5 * time.Minute},
	} {
		if *f.value <= 0 {
			*f.value = f.fallback
		}
	}
	return t
}
