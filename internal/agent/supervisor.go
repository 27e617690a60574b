package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	// maxRetiring bounds the replaced apps that wait for long streams to end:
	// the one that waits longest is cut short.
	maxRetiring = 4
	// heldCrashes is how many crashes, and failed starts after them, requests wait
	// through.
	heldCrashes = 3
	// lastWait is how much longer than an app may take to stop the agent waits for
	// what it began: a volume may hang for ever.
	lastWait = 2 * time.Second
)

// supervisor decides what runs. All of it belongs to the goroutine of run.
type supervisor struct {
	cfg      Config
	vol      *release.Volume
	launcher *launcher
	router   *router
	traffic  *traffic
	board    *board
	ring     <-chan struct{}
	log      *slog.Logger

	latest   release.Pointer
	serving  *app
	good     *app // the last one that served: what a crash, or a request, brings back
	asleep   bool // nothing serves because nothing was asked for
	idle     *time.Timer
	newer    *attempt
	again    *attempt
	timer    *time.Timer // until again is started
	backoff  backoff
	results  chan result
	retiring []*retirement
	wg       sync.WaitGroup
}

// attempt is a start in progress.
type attempt struct {
	pointer release.Pointer
	cancel  context.CancelFunc
	instead bool // of the app that served, which had to go first
}

type result struct {
	attempt *attempt
	app     *app
	err     error
}

// retirement is a replaced app on its way out.
type retirement struct {
	cut  func()
	done chan struct{}
}

// run works until ctx ends; then stop ends what still runs.
func (s *supervisor) run(ctx context.Context) {
	s.results = make(chan result)
	s.timer = time.NewTimer(time.Hour)
	s.timer.Stop()
	s.idle = time.NewTimer(time.Hour)
	s.idle.Stop()
	found := make(chan release.Pointer)
	w := &watcher{vol: s.vol, poll: time.Duration(s.cfg.Poll), ring: s.ring, found: found, log: s.log}
	go w.run(ctx)
	for {
		var exited <-chan struct{}
		if s.serving != nil {
			exited = s.serving.proc.exited
		}
		select {
		case <-ctx.Done():
			if s.serving == nil { // nothing comes back any more: who waits is told so
				s.router.point(target{phase: Failing})
			}
			return
		case p := <-found:
			s.consider(ctx, p)
		case r := <-s.results:
			s.settle(ctx, r)
		case <-exited:
			s.crashed()
		case <-s.timer.C:
			s.restart(ctx)
		case <-s.idle.C:
			s.maybeSleep()
		case <-s.router.wake:
			s.awake(ctx)
		}
	}
}

// stop ends every app. Nothing is in flight any more, or no longer waited for.
func (s *supervisor) stop() {
	s.timer.Stop()
	s.idle.Stop()
	s.abandon(&s.newer)
	s.abandon(&s.again)
	s.router.point(target{phase: Failing})
	for _, r := range s.retiring {
		r.cut()
	}
	if s.serving != nil {
		s.retire(s.serving).cut()
	}
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Duration(s.cfg.StopGrace) + lastWait):
		s.log.Warn("the volume hangs: not waiting for what was begun")
	}
}

// consider takes a new pointer up: adopts it if what it names runs already,
// else starts that.
func (s *supervisor) consider(ctx context.Context, p release.Pointer) {
	s.log.Info("new pointer", "seq", p.Seq, "release", short(p.SHA256), "commit", p.Commit)
	s.latest = p
	s.abandon(&s.newer)
	if have := s.present(); have != nil && have.digest == p.SHA256 {
		if file, err := s.cfg.settings(); err == nil && file.digest == have.settings {
			have.pointer = p
			s.board.update(func(r *Report) {
				r.Seq, r.Commit = p.Seq, p.Commit
			})
			return
		}
	}
	if s.serving == nil && s.good == nil {
		// Whatever was tried again so far is out of date.
		s.abandon(&s.again)
		s.timer.Stop()
		s.backoff.reset()
		s.router.point(target{phase: Starting})
		s.board.update(func(r *Report) { r.Phase = Starting })
	}
	s.newer = s.begin(ctx, p, nil, nil)
}

// present returns the app that serves, or would if there was a request.
func (s *supervisor) present() *app {
	if s.asleep {
		return s.good
	}
	return s.serving
}

// begin starts an app beside the loop. b is what to start if not what the
// volume has for p; first, if not nil, is what must be gone before.
func (s *supervisor) begin(ctx context.Context, p release.Pointer, b *build, first *retirement) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	at := &attempt{pointer: p, cancel: cancel, instead: first != nil}
	s.wg.Go(func() {
		defer cancel()
		if first != nil {
			<-first.done // it has a deadline
		}
		a, err := s.launcher.launch(ctx, p, b)
		select {
		case s.results <- result{attempt: at, app: a, err: err}:
		case <-ctx.Done():
			if a != nil {
				a.retire(0, time.Duration(s.cfg.StopGrace), nil)
			}
		}
	})
	return at
}

func (s *supervisor) abandon(at **attempt) {
	if *at != nil {
		(*at).cancel()
		*at = nil
	}
}

// settle takes the result of an attempt.
func (s *supervisor) settle(ctx context.Context, r result) {
	newer, again := r.attempt == s.newer, r.attempt == s.again
	switch {
	case newer:
		s.newer = nil
	case again:
		s.again = nil
	default: // given up in the meantime
		if r.app != nil {
			s.retire(r.app)
		}
		return
	}
	if r.err == nil {
		s.swap(r.app, again)
		return
	}
	if ctx.Err() != nil {
		return
	}
	if newer && s.serving != nil && s.serving.fixed && errors.Is(r.err, errPortTaken) {
		s.replace(ctx, r.attempt.pointer)
		return
	}
	s.log.Error("release did not get healthy", "seq", r.attempt.pointer.Seq,
		"release", short(r.attempt.pointer.SHA256), "error", r.err)
	if again {
		s.asleep = false // it was woken, and did not get up
	}
	s.failed(r, newer || s.good == nil)
	if s.serving == nil && s.again == nil && (again || s.good == nil || r.attempt.instead) {
		pause := s.backoff.next(time.Now())
		s.router.point(target{phase: Failing, hold: s.good != nil && s.backoff.recent() <= heldCrashes})
		s.restartAfter(pause)
	}
}

// failed reports a failed start; of a pointer unless it was that of an app
// that had served before.
func (s *supervisor) failed(r result, pointer bool) {
	var last []string
	if e := (*startError)(nil); errors.As(r.err, &e) {
		last = e.tail
	}
	s.board.update(func(b *Report) {
		if pointer {
			b.FailedSeq, b.Failed = r.attempt.pointer.Seq, r.attempt.pointer.SHA256
		}
		b.Failure, b.FailureTail = r.err.Error(), last
		if s.present() == nil {
			b.nothingServes()
		}
	})
}

// swap gives the traffic to an app and retires the one that had it.
func (s *supervisor) swap(a *app, again bool) {
	if _, err := s.launcher.binaries.hold(a.digest, a.manifest.Binary); err != nil {
		s.log.Error("cannot keep the binary for a restart", "error", err) // the app itself holds it: not met
	}
	old, before := s.serving, s.good
	s.serving, s.good, s.asleep = a, a, false
	s.router.point(target{app: a, phase: Serving})
	setBadness(a.proc.pid, badnessServing)
	s.board.serves(a.proc.pid)
	s.board.update(func(r *Report) {
		r.Phase, r.Release, r.Seq, r.Commit, r.Since = Serving, a.digest, a.pointer.Seq, a.pointer.Commit, time.Now()
		if r.FailedSeq == a.pointer.Seq {
			r.FailedSeq, r.Failed, r.Failure, r.FailureTail = 0, "", "", nil
		}
	})
	s.log.Info("serving", "seq", a.pointer.Seq, "release", short(a.digest), "commit", a.pointer.Commit)
	if s.cfg.IdleAfter > 0 {
		s.idle.Reset(time.Duration(s.cfg.IdleAfter))
	}
	if before != nil {
		s.launcher.binaries.drop(before.digest)
	}
	if old != nil {
		s.retire(old)
	}
	if !again {
		s.backoff.reset()
		s.abandon(&s.again)
		s.timer.Stop()
	}
}

// replace stops the app that serves and starts another in its place, for both want
// the same port. Requests wait; if the other fails, the first comes back.
func (s *supervisor) replace(ctx context.Context, p release.Pointer) {
	a := s.serving
	s.log.Info("app takes no notice of PORT: it is stopped before the next one is started", "release", short(a.digest))
	s.serving = nil
	s.board.serves(0)
	s.router.point(target{phase: Starting, hold: true})
	s.board.update(func(r *Report) { r.Phase = Starting })
	s.newer = s.begin(ctx, p, nil, s.retireWithin(a, min(s.cfg.Drain, s.cfg.Hold/2)))
}

// retire lets an app finish what it has, beside the loop.
func (s *supervisor) retire(a *app) *retirement { return s.retireWithin(a, s.cfg.Drain) }

// retireWithin is retire with another deadline for the requests.
func (s *supervisor) retireWithin(a *app, drain Duration) *retirement {
	cut := make(chan struct{})
	r := &retirement{cut: sync.OnceFunc(func() { close(cut) }), done: make(chan struct{})}
	s.wg.Go(func() {
		defer close(r.done)
		a.retire(time.Duration(drain), time.Duration(s.cfg.StopGrace), cut)
	})
	kept := s.retiring[:0]
	for _, other := range s.retiring {
		select {
		case <-other.done:
		default:
			kept = append(kept, other)
		}
	}
	s.retiring = append(kept, r)
	if n := len(s.retiring); n > maxRetiring {
		s.retiring[n-1-maxRetiring].cut()
	}
	return r
}

// crashed is the end of the serving app that nobody asked for.
func (s *supervisor) crashed() {
	a := s.serving
	s.serving = nil
	s.board.serves(0)
	pause := s.backoff.next(time.Now())
	why, last := a.ending("while it served"), a.out.snapshot()
	s.router.point(target{phase: Failing, hold: s.backoff.recent() <= heldCrashes})
	s.board.update(func(r *Report) {
		r.nothingServes()
		r.Failure, r.FailureTail = why, last
	})
	s.log.Error("app crashed", "release", short(a.digest), "error", why, "pause", pause)
	s.retire(a)
	s.restartAfter(pause)
}

func (s *supervisor) restartAfter(pause time.Duration) {
	s.timer.Reset(pause)
}

// restart brings back the last app that served, from its local copy: the
// volume may be away. If none ever did, it tries the latest pointer again.
func (s *supervisor) restart(ctx context.Context) {
	if s.serving != nil || s.again != nil {
		return
	}
	if s.good == nil {
		if s.newer == nil {
			s.again = s.begin(ctx, s.latest, nil, nil)
		}
		return
	}
	s.board.update(func(r *Report) { r.Restarts++ })
	s.again = s.begin(ctx, s.good.pointer, &s.good.build, nil)
}

func short(digest string) string { return digest[:min(12, len(digest))] }
