package process

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A process that ends within settled of its start did so at once; each such
// end doubles the wait before the next start, from firstWait to lastWait.
const (
	settled   = 10 * time.Second
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// Supervise restarts services that ended without having been stopped, until
// ctx is done. The first restart is immediate. Once ctx is done, or the Runner
// closed, it starts nothing more; when it has returned, another Runner may have
// the directory.
func (r *Runner) Supervise(ctx context.Context) error {
	var restarts sync.WaitGroup
	defer restarts.Wait()
	logs := time.NewTicker(time.Minute)
	defer logs.Stop()
	for {
		if r.ended(ctx) { // select picks at random among what is ready
			return ctx.Err()
		}
		for _, name := range r.takeDead() {
			restarts.Go(func() { r.revive(ctx, name) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.closed:
			return nil
		case <-r.wake:
		case <-logs.C:
			r.boundLogs()
		}
	}
}

// ended reports whether nothing more is to be started.
func (r *Runner) ended(ctx context.Context) bool {
	select {
	case <-r.closed:
		return true
	default:
		return ctx.Err() != nil
	}
}

func (r *Runner) takeDead() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.dead))
	for name := range r.dead {
		names = append(names, name)
	}
	clear(r.dead)
	return names
}

// revive starts the named service unless it runs or was stopped meanwhile.
func (r *Runner) revive(ctx context.Context, name string) {
	e := r.entry(name)
	for {
		wait, needed := r.reviveWait(e, name)
		if !needed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.closed:
			return
		case <-time.After(wait):
		}
		if r.tryRevive(ctx, e, name) {
			return
		}
	}
}

// reviveWait says whether the service is to be started, and after how long.
func (r *Runner) reviveWait(e *entry, name string) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := r.read(name)
	if e.service == nil || rec.alive() {
		return 0, false
	}
	if time.Since(rec.Since) > settled {
		e.failures = 0
	}
	wait := time.Duration(0)
	if e.failures > 0 {
		wait = min(firstWait<<min(e.failures-1, 10), lastWait)
		wait = wait/2 + rand.N(wait/2)
	}
	e.failures++
	return wait, true
}

// tryRevive reports whether there is nothing more to be done.
func (r *Runner) tryRevive(ctx context.Context, e *entry, name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := r.read(name)
	if e.service == nil || rec.alive() || r.ended(ctx) {
		return true
	}
	r.log.Warn("process ended, starting it again", "process", name, "pid", rec.PID, "try", e.failures)
	if err := r.halt(ctx, rec, e.service.grace()); err != nil {
		r.log.Error("process not started again", "process", name, "error", err)
		return false
	}
	if e.service.Restarted == nil && !rec.Ports.free() {
		r.log.Error("process not started again: somebody took its port", "process", name, "ports", rec.Ports)
		return false
	}
	status, err := r.start(e.service, rec)
	if err != nil {
		r.log.Error("process not started again", "process", name, "error", err)
		return false
	}
	if e.service.Restarted != nil {
		go e.service.Restarted(status.Ports) // it may ask for what this entry's lock guards
	}
	return true
}

func (r *Runner) boundLogs() {
	names, err := r.Names("")
	if err != nil {
		r.log.Warn("logs not bounded", "error", err)
		return
	}
	for _, name := range names {
		if err := boundLog(r.LogFile(name)); err != nil {
			r.log.Warn("log not bounded", "process", name, "error", err)
		}
	}
}
