package agent

import (
	"math/rand/v2"
	"time"
)

const (
	crashWindow  = 5 * time.Minute // failures longer ago do not count
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute
)

// backoff says when to start again what failed: at once the first time, then
// after a pause that doubles with each failure in the window, with jitter so
// that instances that failed together do not come back together.
type backoff struct{ failures []time.Time }

// next notes a failure and returns the pause before the next start.
func (b *backoff) next(now time.Time) time.Duration {
	kept := b.failures[:0]
	for _, t := range b.failures {
		if now.Sub(t) < crashWindow {
			kept = append(kept, t)
		}
	}
	b.failures = append(kept, now)
	n := len(b.failures)
	if n == 1 {
		return 0
	}
	pause := min(firstBackoff<<min(n-2, 20), maxBackoff)
	return pause/2 + rand.N(pause/2)
}

// recent returns how many failures the last call of next counted.
func (b *backoff) recent() int { return len(b.failures) }

// reset forgets the failures.
func (b *backoff) reset() { b.failures = nil }
