package agent

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// maxHeld bounds the requests that wait for a crashed app to come back, or for
// one that sleeps.
const maxHeld = 512

// errNoApp is a request that there is no app for.
var errNoApp = errors.New("no app is serving")

// target is where requests go. It is never changed, only replaced.
type target struct {
	app      *app // nil for none
	hold     bool // without an app: one is expected at once, or to be woken: wait for it
	phase    string
	replaced chan struct{} // closed once another target took its place
}

// router sends each request to the present target.
type router struct {
	now  atomic.Pointer[target]
	held atomic.Int64
	wait time.Duration // for an app that comes back
	rise time.Duration // for one that is woken: it is started from nothing
	wake chan struct{} // told that a request waits for a sleeping app
}

func newRouter(wait, rise time.Duration) *router {
	r := &router{wait: wait, rise: max(wait, rise), wake: make(chan struct{}, 1)}
	r.now.Store(&target{phase: Waiting, replaced: make(chan struct{})})
	return r
}

// point replaces the target. Only the supervisor calls it.
func (r *router) point(t target) {
	t.replaced = make(chan struct{})
	close(r.now.Swap(&t).replaced)
}

// enter returns the present target, with the request counted as its app's.
// Counting comes before the second look: if the target is still the same then,
// whoever replaces it later sees the count.
func (r *router) enter() *target {
	for {
		t := r.now.Load()
		if t.app == nil {
			return t
		}
		t.app.inFlight.Add(1)
		if r.now.Load() == t {
			return t
		}
		t.app.leave()
	}
}

// RoundTrip implements http.RoundTripper. It waits for an app that is expected
// back, and moves a request that no app has seen yet.
func (r *router) RoundTrip(req *http.Request) (*http.Response, error) {
	var deadline <-chan time.Time
	for {
		t := r.enter()
		err := errNoApp
		if t.app != nil {
			var res *http.Response
			if res, err = t.app.up.roundTrip(req, t.app.leave); err == nil {
				return res, nil
			}
			t.app.leave()
			if !errors.Is(err, errRefused) {
				return nil, err
			}
		} else if !t.hold {
			return nil, err
		}
		wait := r.wait
		if t.phase == Asleep {
			wait = r.rise
			select {
			case r.wake <- struct{}{}:
			default: // told already
			}
		}
		if deadline == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			deadline = timer.C
		}
		if !r.await(req.Context(), t, deadline) {
			return nil, err
		}
	}
}

// await reports whether the target was replaced in time.
func (r *router) await(ctx context.Context, t *target, deadline <-chan time.Time) bool {
	defer r.held.Add(-1)
	if r.held.Add(1) > maxHeld {
		return false
	}
	select {
	case <-t.replaced:
		return true
	case <-deadline:
	case <-ctx.Done():
	}
	return false
}
