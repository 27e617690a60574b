package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	// fetchLimit bounds one fetch of an app's repository. The first one of a
	// large repository may outlast a build's patience, which then tries again.
	fetchLimit = 10 * time.Minute
	// fetchPatience is how long a build waits for a fetch: less than any state
	// that builds has, so that it is tried again rather than timed out.
	fetchPatience = 100 * time.Second
	// appDownload is the most that one fetch may bring, in bytes: the disk is
	// every tenant's.
	appDownload = 1 << 30
	// appUnused is how long a mirror that no build asks for is kept.
	appUnused = 30 * 24 * time.Hour
)

// remotes finds the repositories of apps of kind git: one mirror for each URL
// and ref, in a private directory, fetched whenever it is asked for.
//
// A tenant's file names the URL, so it may name only what everybody can read:
// HTTPS without credentials. Over SSH the keys of whoever runs the daemon would
// be offered, so it is refused; so are repositories of this machine, unless the
// operator allows them to every tenant. What is not protected: names are not
// resolved here, so a tenant can make the daemon ask any HTTPS server that it
// reaches, inside its network as well, for <path>/info/refs, and learn whether
// it answers; where that matters, a proxy (HTTPS_PROXY) decides. A redirect
// leads to no file and, beyond that first question, not to plain HTTP.
type remotes struct {
	dir        string
	allowFiles bool
	log        *slog.Logger

	ctx     context.Context //nolint:containedctx // ends the fetches, which are nobody's own
	cancel  context.CancelFunc
	running gosync.WaitGroup

	mu     gosync.Mutex // guards the following
	closed bool
	apps   map[string]*appSource // by directory
}

// appSource is a mirror that builds share.
type appSource struct {
	mirror *git.Mirror
	turn   gosync.Mutex // held by the fetch that runs
	next   *appFetch    // that has not begun; guarded by remotes.mu
}

// appFetch is one fetch, for all who asked before it began.
type appFetch struct {
	done   chan struct{}
	commit string
	err    error
}

// openRemotes keeps mirrors below dir, which is the caller's to make private.
func openRemotes(dir string, allowFiles bool, log *slog.Logger) *remotes {
	r := &remotes{dir: dir, allowFiles: allowFiles, log: log, apps: map[string]*appSource{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.cleanUp(time.Now())
	return r
}

// Close stops the fetches and closes the mirrors. Builds must have ended.
func (r *remotes) Close() error {
	r.mu.Lock()
	r.closed = true
	r.cancel()
	r.mu.Unlock()
	r.running.Wait()
	var errs []error
	for _, a := range r.apps {
		errs = append(errs, a.mirror.Close())
	}
	return errors.Join(errs...)
}

// Find is build.Config.Remote: it fetches and returns the commit that the ref
// names now.
func (r *remotes) Find(ctx context.Context, g tenant.GitSource) (build.Source, string, error) {
	if err := r.check(g.URL); err != nil {
		return nil, "", err
	}
	a, f, err := r.fetch(g)
	if err != nil {
		return nil, "", err
	}
	patience := time.NewTimer(fetchPatience)
	defer patience.Stop()
	select {
	case <-f.done:
		return a.mirror, f.commit, f.err
	case <-ctx.Done():
		return nil, "", fmt.Errorf("fetch: %w", ctx.Err())
	case <-patience.C:
		return nil, "", fault.Errorf(fault.Transient, "the fetch is not done after %s", fetchPatience).
			WithHint("it goes on; a smaller repository, or a faster server, would help")
	}
}

// check refuses what a tenant's file may not name.
func (r *remotes) check(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fault.Errorf(fault.Invalid, "not a usable URL") // the error would quote it
	}
	_, path, _ := strings.Cut(raw, "://")
	switch {
	case strings.HasPrefix(raw, "ssh://"):
		return fault.Errorf(fault.Invalid, "a repository over SSH is refused: there is no key that tenants may use").
			WithHint("use https, with a repository that everybody can read")
	case u.User != nil:
		return fault.Errorf(fault.Invalid, "a URL with credentials in it is refused").
			WithHint("a tenant's file is no place for them; use a repository that everybody can read")
	case strings.HasPrefix(raw, "https://") && u.Hostname() != "":
		return nil
	case !strings.HasPrefix(raw, "file://") || !filepath.IsAbs(path):
		return fault.Errorf(fault.Invalid, "only https://host/repository can be fetched from")
	case !r.allowFiles:
		return fault.Errorf(fault.Invalid, "repositories of this machine are not open to tenants").
			WithHint("use https; or let every tenant's file read every repository here, with --allow-file-sources")
	}
	return nil
}

// fetch returns the fetch that answers whoever asks now: never one that began
// before, since it may have missed what the asker knows of.
func (r *remotes) fetch(g tenant.GitSource) (*appSource, *appFetch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, fault.Errorf(fault.Transient, "the daemon is stopping")
	}
	a, err := r.open(g)
	if err != nil {
		return nil, nil, err
	}
	if a.next != nil {
		return a, a.next, nil
	}
	f := &appFetch{done: make(chan struct{})}
	a.next = f
	r.running.Go(func() {
		defer close(f.done)
		a.turn.Lock()
		defer a.turn.Unlock()
		r.mu.Lock()
		a.next = nil
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(r.ctx, fetchLimit)
		defer cancel()
		f.commit, f.err = a.mirror.Fetch(ctx)
		now := time.Now()
		if err := os.Chtimes(r.path(g), now, now); err != nil && f.err == nil {
			r.log.Warn("an app's mirror may be taken for unused", "error", err)
		}
	})
	return a, f, nil
}

// open returns the mirror of a URL and ref; the caller holds r.mu.
func (r *remotes) open(g tenant.GitSource) (*appSource, error) {
	dir := r.path(g)
	if a := r.apps[dir]; a != nil {
		return a, nil
	}
	// The mirror outlives the build that asks first, so its context is r's.
	m, err := git.Open(r.ctx, git.Config{URL: g.URL, Ref: g.Ref, Dir: dir, MaxDownload: appDownload, Logger: r.log})
	if err != nil {
		return nil, err
	}
	a := &appSource{mirror: m}
	r.apps[dir] = a
	return a, nil
}

func (r *remotes) path(g tenant.GitSource) string {
	sum := sha256.Sum256([]byte(g.URL + "\n" + g.Ref)) // neither has a line break
	return filepath.Join(r.dir, hex.EncodeToString(sum[:16])+".git")
}

// cleanUp removes mirrors that were not asked for in a long time. A build that
// asks again fetches again.
func (r *remotes) cleanUp(now time.Time) {
	locks, err := filepath.Glob(filepath.Join(r.dir, "*.git.lock")) // the first that a fetch makes
	if err != nil {
		return // only for a pattern that is none
	}
	for _, lock := range locks {
		dir := strings.TrimSuffix(lock, ".lock")
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) { // nothing ever came of it
			info, err = os.Stat(lock)
		}
		if err != nil || now.Sub(info.ModTime()) < appUnused {
			continue
		}
		for _, suffix := range []string{"", ".new", ".old", ".compact.lock", ".swap.lock", ".lock"} {
			if err := os.RemoveAll(dir + suffix); err != nil {
				r.log.Warn("clean up an app's mirror", "error", err)
			}
		}
	}
}
