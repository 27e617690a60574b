package aws

import "time"

// Timing is how often and how long the driver looks. Zero values are what suits AWS.
type Timing struct {
	Poll time.Duration // between two looks at what is changing; default 5 s
}

func (t Timing) complete() Timing {
	if t.Poll <= 0 {
		t.Poll = 5 * time.Second
	}
	return t
}
