package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

const (
	// rereadEvery is after how many looks at the pointer's stamp it is read all
	// the same.
	rereadEvery = 30
	// slowness is how many times rarer the looks are while the doorbell works.
	slowness = 5
	// After a ring that brought nothing new, what it announced may take a moment
	// to be seen here: the looks are close together for a while.
	quickPoll = 100 * time.Millisecond
	quickTime = 3 * time.Second
)

// watcher looks at the volume's pointer, beside the supervisor: a volume that
// hangs must hold up nothing but news. All of it belongs to the goroutine of run.
type watcher struct {
	vol   *release.Volume
	poll  time.Duration
	ring  <-chan struct{}
	found chan<- release.Pointer
	log   *slog.Logger

	stamp    release.Stamp // of the pointer when it was read last
	looks    int           // since then
	unread   string        // the last error of reading it, to log each once
	seq      uint64        // of the newest pointer
	doorbell bool          // it announced the newest one
	quick    time.Time     // until when the looks are close together
}

func (w *watcher) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	rung, first := false, true
	for {
		p, isNew := w.look(rung || first)
		switch {
		case isNew:
			w.doorbell = rung || w.quickly() // what is there at first was not announced
			w.quick = time.Time{}
			select {
			case w.found <- p:
			case <-ctx.Done():
				return
			}
		case rung:
			w.quick = time.Now().Add(quickTime)
		}
		timer.Reset(w.pause())
		first = false
		select {
		case <-ctx.Done():
			return
		case <-w.ring:
			rung = true
		case <-timer.C:
			rung = false
		}
	}
}

func (w *watcher) quickly() bool { return time.Now().Before(w.quick) }

// pause is the time to the next look. The jitter parts agents that were started
// together.
func (w *watcher) pause() time.Duration {
	pause := w.poll
	switch {
	case w.quickly():
		return min(quickPoll, pause)
	case w.doorbell:
		pause *= slowness
	}
	return pause - rand.N(pause/10+1)
}

// look returns the pointer if it is a newer one. It is read if its stamp changed,
// or if it must be. A volume that cannot be read changes nothing.
func (w *watcher) look(read bool) (release.Pointer, bool) {
	stamp, err := w.vol.Stamp()
	if w.looks++; err == nil && stamp == w.stamp && !read && w.looks < rereadEvery {
		return release.Pointer{}, false
	}
	w.looks = 0
	p, ok, err := w.vol.Current()
	if err != nil {
		if w.unread != err.Error() {
			w.unread = err.Error()
			w.log.Warn("cannot read the pointer", "error", err)
		}
		w.stamp = release.Stamp{}
		return release.Pointer{}, false
	}
	// Taken before the pointer was read: a change in between shows next time.
	w.stamp, w.unread = stamp, ""
	if !ok || p.Seq <= w.seq {
		return release.Pointer{}, false
	}
	w.seq = p.Seq
	return p, true
}
