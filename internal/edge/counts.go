package edge

import (
	"sync/atomic"
	"time"
)

// counts are what is counted of one tenant's requests.
type counts struct {
	requests [6]atomic.Uint64 // by class of status code: [2] has the 2xx
	refused  [refusalKinds]atomic.Uint64
	inFlight atomic.Int64
	waiting  atomic.Int64                       // of them, those without an answer so far
	took     [len(tookBounds) + 1]atomic.Uint64 // by upper bound; the last has none
	tookSum  atomic.Int64                       // ns
}

// tookBounds are the bounds of the histogram of how long requests take.
var tookBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// count counts a request that is over.
func (c *counts) count(status int, took time.Duration) {
	c.requests[min(status/100, 5)].Add(1)
	i := 0
	for i < len(tookBounds) && took > tookBounds[i] {
		i++
	}
	c.took[i].Add(1)
	c.tookSum.Add(int64(took))
}

// histogram returns how many requests took at most each bound, in seconds, and
// all of them: their number, and their time in seconds.
func (c *counts) histogram() (buckets map[float64]uint64, n uint64, sum float64) {
	buckets = make(map[float64]uint64, len(tookBounds))
	for i, bound := range tookBounds {
		n += c.took[i].Load()
		buckets[bound.Seconds()] = n
	}
	return buckets, n + c.took[len(tookBounds)].Load(), time.Duration(c.tookSum.Load()).Seconds()
}
