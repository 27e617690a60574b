package local

import "time"

// SetPace has instances come and go as soon as that.
func (d *Driver) SetPace(out, in time.Duration) {
	d.scaler.mu.Lock()
	defer d.scaler.mu.Unlock()
	d.scaler.pace = pace{out, in}
}
