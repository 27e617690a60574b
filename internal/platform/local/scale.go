package local

import (
	"math"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	// targetWaiting is how many requests without an answer an instance is to have:
	// more, and the tenant gets another one, also where its apps wait for
	// something else than the processor.
	targetWaiting = 10
	// looseness is how far below its target the load must be before an instance
	// goes, so that the rest stay below theirs.
	looseness = 0.9
	// memory is the time by which what was measured fades to about a third.
	memory = 2 * time.Second
)

// pace is how long a tenant must need more instances, or fewer, until it has
// them: more come fast, fewer slowly.
type pace struct{ out, in time.Duration }

func defaultPace() pace { return pace{out: 2 * time.Second, in: 30 * time.Second} }

// load is what one tenant's instances are up to.
type load struct {
	waiting float64 // requests without an answer, of all instances
	cores   float64 // processors kept busy, by all instances
}

// gauge is one tenant's load over time, and what it says of the number of
// instances.
type gauge struct {
	mean  load
	at    time.Time
	more  time.Time // since when it needs more instances; zero: it does not
	fewer time.Time // since when it needs fewer
}

// observe takes a measurement and returns how many of count instances there are
// to be: between the least and the most, more at once, fewer one by one.
func (g *gauge) observe(now time.Time, l load, c tenant.Compute, count int, p pace) int {
	weight := 1.0
	if !g.at.IsZero() {
		weight = 1 - math.Exp(-float64(now.Sub(g.at))/float64(memory))
	}
	g.at = now
	g.mean.waiting += weight * (l.waiting - g.mean.waiting)
	g.mean.cores += weight * (l.cores - g.mean.cores)

	least := max(1, c.Scale.Min)
	most := max(least, c.Scale.Max)
	need := min(max(g.mean.instances(c, 1), least), most)
	switch {
	case need > count:
		g.fewer = time.Time{}
		if g.more.IsZero() {
			g.more = now
		}
		if now.Sub(g.more) >= p.out {
			g.more = time.Time{}
			return need
		}
	case min(max(g.mean.instances(c, looseness), least), most) < count:
		g.more = time.Time{}
		if g.fewer.IsZero() {
			g.fewer = now
		}
		if now.Sub(g.fewer) >= p.in {
			g.fewer = time.Time{}
			return count - 1
		}
	default:
		g.more, g.fewer = time.Time{}, time.Time{}
	}
	return min(max(count, least), most)
}

// instances returns how many instances the load keeps at a part of their target.
func (l load) instances(c tenant.Compute, part float64) int {
	n := l.waiting / (targetWaiting * part)
	if target := c.Scale.TargetCPU; target > 0 && c.CPU > 0 {
		of := float64(c.CPU) / 1024 * float64(target) / 100 // processors an instance is to keep busy
		n = max(n, l.cores/(of*part))
	}
	return int(math.Ceil(n - 0.01)) // what is over by a hair is not over
}
