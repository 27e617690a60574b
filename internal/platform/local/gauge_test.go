package local

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestGauge(t *testing.T) {
	t.Parallel()
	compute := tenant.Compute{CPU: 256, Scale: tenant.Scale{Min: 1, Max: 4, TargetCPU: 60}} // 0.15 cores an instance
	p := defaultPace()
	for name, c := range map[string]struct {
		load    load
		count   int
		compute tenant.Compute
		want    int
		after   time.Duration // until it is so; 0: it stays as it is
	}{
		"nothing to do":               {load{}, 1, compute, 1, 0},
		"as much as is meant":         {load{waiting: 10, cores: 0.15}, 1, compute, 1, 0},
		"a hair over":                 {load{cores: 0.151}, 1, compute, 1, 0},
		"requests wait":               {load{waiting: 25}, 1, compute, 3, p.out},
		"busy":                        {load{cores: 0.4}, 1, compute, 3, p.out},
		"more than there may be":      {load{waiting: 500, cores: 9}, 1, compute, 4, p.out},
		"less, one goes":              {load{waiting: 5}, 4, compute, 3, p.in},
		"less, but not by much":       {load{waiting: 19}, 2, compute, 2, 0},
		"idle, at the least":          {load{}, 1, compute, 1, 0},
		"no scale":                    {load{waiting: 500}, 1, tenant.Compute{}, 1, 0},
		"no target of the processor":  {load{cores: 9}, 1, tenant.Compute{CPU: 256, Scale: tenant.Scale{Min: 1, Max: 4}}, 1, 0},
		"the busier of both measures": {load{waiting: 15, cores: 0.4}, 1, compute, 3, p.out},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var g gauge
			at := time.Unix(1000, 0)
			for elapsed := time.Duration(0); elapsed < 2*p.in; elapsed += lookEvery {
				got := g.observe(at.Add(elapsed), c.load, c.compute, c.count, p)
				if got == c.count {
					continue
				}
				if c.after == 0 || got != c.want || elapsed < c.after {
					t.Fatalf("after %v: %d instances, want %d after %v", elapsed, got, c.want, c.after)
				}
				if elapsed > c.after+time.Second {
					t.Errorf("it took %v, want %v", elapsed, c.after)
				}
				return
			}
			if c.after != 0 {
				t.Errorf("it stays at %d, want %d", c.count, c.want)
			}
		})
	}
}

// A load that comes and goes from one look to the next changes nothing.
func TestGaugeIsSteady(t *testing.T) {
	t.Parallel()
	compute := tenant.Compute{CPU: 256, Scale: tenant.Scale{Min: 1, Max: 4, TargetCPU: 60}}
	var g gauge
	at := time.Unix(1000, 0)
	for i := range 400 {
		l := load{waiting: float64(i%2) * 18} // 9 on average
		if n := g.observe(at.Add(time.Duration(i)*lookEvery), l, compute, 1, defaultPace()); n != 1 {
			t.Fatalf("look %d: %d instances", i, n)
		}
	}
}

// Whatever the load, and however many there are, there are to be no fewer than the
// least and no more than the most.
func TestGaugeStaysWithin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 5).Draw(t, "min")
		c := tenant.Compute{CPU: rapid.IntRange(0, 4096).Draw(t, "cpu"), Scale: tenant.Scale{
			Min: least, Max: least + rapid.IntRange(-1, 5).Draw(t, "more"), TargetCPU: rapid.IntRange(0, 100).Draw(t, "target"),
		}}
		var g gauge
		at, count := time.Unix(1000, 0), rapid.IntRange(1, 12).Draw(t, "count")
		for range 20 {
			at = at.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond)
			l := load{waiting: rapid.Float64Range(0, 1e4).Draw(t, "waiting"), cores: rapid.Float64Range(0, 64).Draw(t, "cores")}
			count = g.observe(at, l, c, count, defaultPace())
			if low, high := max(1, least), max(1, least, c.Scale.Max); count < low || count > high {
				t.Fatalf("%d instances of %d to %d", count, low, high)
			}
		}
	})
}
