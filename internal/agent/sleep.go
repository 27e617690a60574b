package agent

import (
	"context"
	"time"
)

// maybeSleep stops the app if there was no request for long enough, or looks
// again when that may be so.
func (s *supervisor) maybeSleep() {
	after := time.Duration(s.cfg.IdleAfter)
	switch idle := s.traffic.idle(time.Now()); {
	case s.serving == nil: // the one that comes next sets the timer
	case idle < after:
		s.idle.Reset(after - idle)
	default:
		s.sleep()
	}
}

// sleep stops the app that serves. The target changes first, so a request either
// is counted as the app's, and waited for, or meets the target that wakes it.
func (s *supervisor) sleep() {
	a := s.serving
	s.serving, s.asleep = nil, true
	s.board.serves(0)
	s.router.point(target{phase: Asleep, hold: true})
	s.board.update(func(r *Report) { r.Phase = Asleep })
	s.log.Info("app sleeps", "release", short(a.digest))
	s.retire(a)
}

// awake starts the app that sleeps, for a request waits for it: once, however
// many wait. The local copy of its binary was kept.
func (s *supervisor) awake(ctx context.Context) {
	if !s.asleep || s.again != nil {
		return
	}
	s.board.update(func(r *Report) { r.Wakes++ })
	s.again = s.begin(ctx, s.good.pointer, &s.good.build, nil)
}
