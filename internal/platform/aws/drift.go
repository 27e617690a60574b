package aws

import "time"

// DriftConfig says what is done about infrastructure that others have changed.
type DriftConfig struct {
	Every time.Duration // between two looks at a tenant; default 24 h
	Heal  bool          // set right, not only reported
}

func (c DriftConfig) complete() DriftConfig {
	if c.Every <= 0 {
		c.Every = 24 * time.Hour
	}
	return c
}

// drift is what a look at a tenant's stack found.
type drift struct {
	At      time.Time      `json:"at"`
	Changes map[string]int `json:"changes,omitempty"` // by kind of change
	Healed  bool           `json:"healed,omitempty"`
}
