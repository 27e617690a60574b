package git

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Intervals between polls when Config names none.
const (
	remoteInterval = 15 * time.Second
	localInterval  = 2 * time.Second
)

// broadcast wakes every waiting channel; a channel that was not read yet stays
// at one wake-up.
type broadcast struct {
	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

func (b *broadcast) subscribe() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan struct{}]struct{}{}
	}
	ch := make(chan struct{}, 1)
	b.subs[ch] = struct{}{}
	return ch
}

func (b *broadcast) unsubscribe(ch chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, ch)
	close(ch)
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		ring(ch)
	}
}

func ring(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it will wake anyway
	}
}

// Wake makes every channel of Watch ready, as a webhook or a user may wish.
func (m *Mirror) Wake() { m.wake.send() }

// Watch returns a channel that becomes ready when a Fetch may bring something
// new: for a path, when the ref moved (or appeared, or went away); for a
// URL, at each interval; and at each Wake. Wake-ups that were not taken yet are
// one. The channel is closed when ctx ends.
func (m *Mirror) Watch(ctx context.Context) <-chan struct{} {
	ch := m.wake.subscribe()
	go func() {
		defer m.wake.unsubscribe(ch)
		if m.path == "" {
			m.poll(ctx, ch)
			return
		}
		w := &refWatcher{m: m, ch: ch, last: m.Head()}
		w.run(ctx)
	}()
	return ch
}

// poll rings at each interval ± 20 %, so that many daemons do not ask at once.
func (m *Mirror) poll(ctx context.Context, ch chan struct{}) {
	interval := m.cfg.Interval
	if interval <= 0 {
		interval = remoteInterval
	}
	for {
		wait := time.Duration((0.8 + 0.4*rand.Float64()) * float64(interval)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			ring(ch)
		}
	}
}

// refWatcher looks at the wanted ref of a local repository whenever the file system
// says that a ref may have moved, and at each interval in case it did not say.
type refWatcher struct {
	m      *Mirror
	ch     chan struct{}
	last   string // what the branch was when last rung
	events *fsnotify.Watcher
}

func (w *refWatcher) run(ctx context.Context) {
	interval := w.m.cfg.Interval
	if interval <= 0 {
		interval = localInterval
	}
	var events chan fsnotify.Event
	var failures chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.m.log.Warn("no file system events; polling the repository", "repository", w.m.path, "interval", interval, "error", err)
	} else {
		defer func() { _ = watcher.Close() }()
		w.events, events, failures = watcher, watcher.Events, watcher.Errors
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	w.look(true)
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			if w.concerns(e) {
				w.look(e.Has(fsnotify.Create) || e.Has(fsnotify.Remove))
			}
		case err := <-failures:
			w.m.log.Debug("file system events were lost", "repository", w.m.path, "error", err)
			w.look(true)
		case <-tick.C:
			w.look(true)
		}
	}
}

// concerns filters out what happens in git's directory at every command.
func (w *refWatcher) concerns(e fsnotify.Event) bool {
	return !strings.HasSuffix(e.Name, ".lock") && !e.Has(fsnotify.Chmod)
}

// look rings if the branch is not what it was, and with rewatch first follows
// the directories that exist now.
func (w *refWatcher) look(rewatch bool) {
	repo, err := locate(w.m.path)
	if repo != nil && rewatch {
		w.follow(repo)
	}
	var now string
	switch {
	case repo != nil && errors.Is(err, errIndirect):
		now = repo.stamp()
	case err != nil:
		now = err.Error()
	default:
		if h, err := repo.resolve(w.m.want); err != nil {
			now = err.Error()
		} else {
			now = h.String()
		}
	}
	if now != w.last {
		w.last = now
		ring(w.ch)
	}
}

// follow watches the common directory (packed-refs, and refs themselves being
// made anew) and the directories that lead to the wanted refs. Watching one
// again is no error; one that is missing appears in its parent.
func (w *refWatcher) follow(repo *repository) {
	if w.events == nil {
		return
	}
	at := filepath.Join(repo.dir, "refs")
	dirs := []string{repo.dir, filepath.Join(repo.dir, "reftable"), at}
	for _, ref := range w.m.want.refs {
		at := at
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "refs/"), "/") {
			at = filepath.Join(at, part)
			dirs = append(dirs, at)
		}
	}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if err := w.events.Add(dir); err != nil {
			w.m.log.Debug("cannot watch a directory", "dir", dir, "error", err)
		}
	}
}
