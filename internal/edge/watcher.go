package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// rescanEvery is how often the directory is listed in case a notification got
	// lost.
	rescanEvery = 10 * time.Second
	// A directory that other hosts write to notifies of nothing. It is looked at
	// so often; a file replaced in it by rename changes the directory's own
	// stamp, so that one look tells whether there is anything to list.
	lookEvery = time.Second
	// relistEvery is how often it is listed all the same: on a metered file
	// system that costs by the file.
	relistEvery = 5 * time.Minute
	// settledAfter is the age at which a stamp tells of every change: younger ones
	// may stand for two changes within the clock's granularity.
	settledAfter = 2 * time.Second
)

// watcher keeps the table true to the directory of routes.
type watcher struct {
	dir      string
	table    *table
	resolver *resolver
	log      *slog.Logger

	notify *fsnotify.Watcher    // nil: the directory is written to by other hosts
	inode  os.FileInfo          // of the directory being watched
	seen   map[string]fileState // by tenant: each file that was read, also the malformed

	stamp  dirStamp  // of the directory when it was last listed
	listed time.Time // with everything in it read; zero: it is to be listed again

	errors atomic.Uint64 // files refused
}

// fileState tells whether a file was replaced.
type fileState struct {
	modified time.Time
	size     int64
	info     os.FileInfo
}

func (s fileState) is(i os.FileInfo) bool {
	return s.info != nil && s.modified.Equal(i.ModTime()) && s.size == i.Size() && os.SameFile(s.info, i)
}

// newWatcher reads all routes. The directory is made if it is missing, unless
// others write it: then that is waited for.
func newWatcher(dir string, remote bool, t *table, r *resolver, log *slog.Logger) (*watcher, error) {
	w := &watcher{dir: dir, table: t, resolver: r, log: log, seen: map[string]fileState{}}
	if remote {
		w.look()
		return w, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	w.scan() // watches first, so that nothing is missed in between
	return w, nil
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// run follows the directory until ctx ends.
func (w *watcher) run(ctx context.Context) {
	if w.notify == nil {
		w.poll(ctx)
		return
	}
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rescan.C:
			w.scan()
		case err := <-w.notify.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("watch routes", "error", err)
			}
			w.scan()
		case ev, ok := <-w.notify.Events:
			if !ok {
				return
			}
			w.follow(ev)
		}
	}
}

// poll looks at a directory of other hosts until ctx ends.
func (w *watcher) poll(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look lists the directory if it changed since it was last listed, or could
// have. The stamp is taken first: what changes during the listing shows at the
// next look.
func (w *watcher) look() {
	stamp, err := freshStamp(w.dir)
	if err != nil {
		w.log.Warn("routes cannot be looked at, all stay as they are", "dir", w.dir, "error", err)
		w.listed = time.Time{}
		return
	}
	now := time.Now()
	if stamp == w.stamp && now.Sub(w.listed) < relistEvery && w.listed.Sub(stamp.changed()) > settledAfter {
		return
	}
	w.stamp, w.listed = stamp, time.Time{}
	before := w.errors.Load()
	if w.scan() && w.errors.Load() == before {
		w.listed = now
	}
}

// follow reads the file of an event, and those of the events that wait already.
func (w *watcher) follow(ev fsnotify.Event) {
	names := map[string]bool{}
	for more := true; more; {
		if tenant, ok := tenantFile(filepath.Base(ev.Name)); ok {
			names[tenant] = true
		}
		select {
		case ev = <-w.notify.Events:
		default:
			more = false
		}
	}
	c := change{}
	for tenant := range names {
		w.read(tenant, c)
	}
	w.commit(c)
}

func (w *watcher) commit(c change) {
	if len(c) > 0 {
		w.resolver.resolve(w.table.apply(c))
	}
}

// scan compares the whole directory with what was read, and reports whether it
// could. One that cannot be listed changes nothing.
func (w *watcher) scan() bool {
	if err := w.watch(); err != nil {
		w.log.Warn("routes are not watched, all stay as they are", "dir", w.dir, "error", err)
		return false
	}
	files, err := os.ReadDir(w.dir)
	if err != nil {
		w.log.Warn("routes cannot be listed, all stay as they are", "dir", w.dir, "error", err)
		return false
	}
	c, present := change{}, make(map[string]bool, len(files))
	for _, f := range files {
		tenant, ok := tenantFile(f.Name())
		if !ok {
			continue
		}
		present[tenant] = true
		if info, err := f.Info(); err == nil && w.seen[tenant].is(info) {
			continue
		}
		w.read(tenant, c)
	}
	if w.notify == nil && len(present) == 0 && len(w.seen) > 1 {
		w.log.Warn("the routes are all gone at once, all stay as they are", "dir", w.dir)
		return false
	}
	for tenant := range w.seen {
		if !present[tenant] {
			w.read(tenant, c) // looked for once more: it may have come back
		}
	}
	w.commit(c)
	w.table.loaded.Store(true)
	return true
}

// watch makes sure that the directory now at the path is the one watched.
func (w *watcher) watch() error {
	info, err := os.Stat(w.dir)
	if err != nil {
		return err
	}
	if w.inode != nil && os.SameFile(w.inode, info) || w.notify == nil {
		w.inode = info
		return nil
	}
	_ = w.notify.Remove(w.dir) // of a directory that was replaced; else there is none
	if err := w.notify.Add(w.dir); err != nil {
		return err
	}
	w.inode = info
	return nil
}

// read adds what a tenant's file says to c. A file that cannot be read or is
// malformed leaves the tenant as it is.
func (w *watcher) read(tenant string, c change) {
	path := filepath.Join(w.dir, tenant+".json")
	b, info, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if w.inode != nil && w.present() {
			delete(w.seen, tenant)
			c[tenant] = nil
		}
		return
	}
	if err != nil {
		w.errors.Add(1)
		w.log.Warn("route not read, the former one stays", "tenant", tenant, "error", err)
		return
	}
	w.seen[tenant] = fileState{info.ModTime(), info.Size(), info}
	r, err := parseRoute(tenant, b)
	if err != nil {
		w.errors.Add(1)
		w.log.Warn("route refused, the former one stays", "tenant", tenant, "file", path, "error", err)
		return
	}
	c[tenant] = r
}

// present reports whether the directory itself is there: a file missing with
// its whole directory is no reason to drop a tenant.
func (w *watcher) present() bool {
	info, err := os.Stat(w.dir)
	return err == nil && info.IsDir()
}

// readFile reads a regular file of bounded size.
func readFile(path string) ([]byte, os.FileInfo, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRouteFile+1))
	return b, info, err
}

// tenantFile returns the tenant whose route has that file name. Other names,
// such as those of files being written, are none of ours.
func tenantFile(name string) (string, bool) {
	tenant, ok := strings.CutSuffix(name, ".json")
	return tenant, ok && tenantPattern.MatchString(tenant)
}
