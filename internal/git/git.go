package git

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Config says what to mirror, and where to.
type Config struct {
	URL    string // of the repository, or its path on this machine
	Branch string // to follow; or
	Ref    string // instead of Branch: a branch, a tag, refs/heads/…, refs/tags/… or a commit's full name
	Dir    string // the mirror's own directory, made when missing

	// Interval is the time between polls of Watch; zero means 15 s for a URL,
	// jittered, and 2 s for a path, where it backs up the file system's events.
	Interval time.Duration

	MaxDownload int64 // bytes that one fetch from a server may bring; zero means any number
	// MaxObtained is MaxDownload for what is obtained, zero for the same: whoever
	// may open a pull request has it fetched.
	MaxObtained int64

	// For HTTPS: a token, or what gives one for each exchange, as for those that
	// expire. It must not block long after its context ended.
	Token       string
	TokenSource func(context.Context) (string, error)

	SSHKey     string // path of a private key; empty means the SSH agent
	KnownHosts string // path; empty means the user's own and the system's

	Logger *slog.Logger // nil means slog.Default()
}

// source is where a mirror is fetched from.
type source interface {
	// fetch brings the commit that is wanted and all it needs into dst, and
	// returns it. last is what was fetched before, or zero.
	fetch(ctx context.Context, dst *bare, last plumbing.Hash) (plumbing.Hash, error)
	// obtain brings the targets into dst, where some commits are complete. It
	// returns those that are complete now and notes why others cannot be; the
	// error is for what concerns all that are left.
	obtain(ctx context.Context, dst *bare, complete []plumbing.Hash, targets []target,
		failed map[plumbing.Hash]error) ([]plumbing.Hash, error)
	close()
}

// Mirror is a bare mirror of one branch, tag or commit. Its methods may be called concurrently.
type Mirror struct {
	cfg   Config
	want  wanted
	path  string // of a local source; "" for a URL
	log   *slog.Logger
	trees *treeCache
	wake  broadcast

	background sync.WaitGroup
	closing    context.Context //nolint:containedctx // ends the background's work
	close      context.CancelFunc

	warned memory[ignoredEntry]  // of what is ignored
	plain  memory[plumbing.Hash] // trees and files in which nothing is

	damaged atomic.Bool // seen by a reader; the next fetch rebuilds

	fetching sync.Mutex // held by Fetch; guards source
	source   source

	mu   sync.RWMutex // guards the following
	bare *bare        // nil before the first fetch
	head plumbing.Hash
}

// Open returns the mirror in cfg.Dir without contacting the source: what was
// fetched before can be read at once. A missing or damaged mirror is built by
// the first Fetch.
func Open(ctx context.Context, cfg Config) (*Mirror, error) {
	if err := cancelled(ctx); err != nil {
		return nil, err
	}
	want, err := wants(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.URL == "" || cfg.Dir == "" {
		return nil, fault.Errorf(fault.Invalid, "a mirror needs a repository and a directory")
	}
	m := &Mirror{cfg: cfg, want: want, log: cfg.Logger, trees: newTreeCache()}
	m.closing, m.close = context.WithCancel(context.WithoutCancel(ctx))
	if m.log == nil {
		m.log = slog.Default()
	}
	if err := m.setSource(); err != nil {
		return nil, err
	}
	b, head, err := openBare(cfg.Dir)
	switch {
	case err == nil:
		m.bare, m.head = b, head
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, ErrDamaged):
		m.damaged.Store(true)
	default:
		return nil, err
	}
	return m, nil
}

func (m *Mirror) setSource() error {
	if path, ok := localPath(m.cfg.URL); ok {
		abs, err := filepath.Abs(path)
		if err != nil {
			return fault.Errorf(fault.Invalid, "repository %s: %w", path, err)
		}
		m.path = abs
		m.source = &local{path: abs, want: m.want, trees: m.trees}
		return nil
	}
	r, err := newRemote(m.cfg, m.want, m.trees)
	if err != nil {
		return err
	}
	m.source = r
	return nil
}

// localPath tells a path from a URL and from SSH's host:path.
func localPath(url string) (string, bool) {
	if path, ok := strings.CutPrefix(url, "file://"); ok {
		return path, true
	}
	if strings.Contains(url, "://") {
		return "", false
	}
	if host, _, ok := strings.Cut(url, ":"); ok && !strings.Contains(host, "/") {
		if _, err := os.Stat(url); err != nil {
			return "", false
		}
	}
	return url, true
}

// validBranch applies the rules of git check-ref-format that matter for paths;
// they are the same for tags.
func validBranch(name string) bool {
	if name == "@" || strings.HasPrefix(name, "-") || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || !fs.ValidPath(name) || name == "." {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
}

// Close releases what the mirror holds open. Reads and fetches must have ended.
func (m *Mirror) Close() error {
	m.close()
	m.background.Wait()
	m.fetching.Lock()
	defer m.fetching.Unlock()
	m.source.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bare != nil {
		m.bare.db.Close()
	}
	return nil
}

// Head returns the newest commit fetched, also by an earlier process, or "".
func (m *Mirror) Head() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.bare == nil {
		return ""
	}
	return m.head.String()
}

// Repository returns the source's name for messages, without credentials.
func (m *Mirror) Repository() string {
	if m.path != "" {
		return m.path
	}
	return redactURL(m.cfg.URL)
}

// current returns the mirror as it is now, which a rebuild may replace.
func (m *Mirror) current() (*bare, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.bare == nil {
		return nil, fault.Errorf(fault.Transient, "repository %s was not fetched yet", m.Repository())
	}
	return m.bare, nil
}

// noted remembers damage that a reader met, for the next fetch, and passes the
// error on.
func (m *Mirror) noted(err error) error {
	if errors.Is(err, ErrDamaged) {
		m.damaged.Store(true)
	}
	return err
}

// tree reads a tree that something in the mirror refers to.
func (m *Mirror) tree(h plumbing.Hash) (tree, error) {
	b, err := m.current()
	if err != nil {
		return nil, err
	}
	t, err := readTree(b.db, m.trees, h)
	return t, m.noted(absentIsDamage(err))
}

// blob reads a file's content that a tree in the mirror refers to.
func (m *Mirror) blob(h plumbing.Hash) ([]byte, error) {
	b, err := m.current()
	if err != nil {
		return nil, err
	}
	typ, content, err := b.db.read(h)
	if err != nil {
		return nil, m.noted(absentIsDamage(err))
	}
	if typ != plumbing.BlobObject {
		return nil, malformed("object %s is a %s where a file is named", h, typ)
	}
	return content, nil
}

// commit reads a commit that the caller names; one that the mirror does not
// have is fault.NotFound.
func (m *Mirror) commit(sha string) (*commitInfo, error) {
	if !plumbing.IsHash(sha) {
		return nil, fault.Errorf(fault.Invalid, "%q is not the full name of a commit", sha)
	}
	h := plumbing.NewHash(sha)
	c, err := m.commitAt(h)
	if errors.Is(err, errAbsent) {
		return nil, fault.Errorf(fault.NotFound, "commit %s is not in the mirror of %s", sha, m.Repository()).
			WithHint("it may be on another branch, or gone from a rewritten history")
	}
	return c, err
}

// commitAt reads a commit; errAbsent says that the mirror does not have it.
func (m *Mirror) commitAt(h plumbing.Hash) (*commitInfo, error) {
	b, err := m.current()
	if err != nil {
		return nil, err
	}
	typ, content, err := b.db.read(h)
	if err != nil {
		return nil, m.noted(err)
	}
	if typ != plumbing.CommitObject {
		return nil, fault.Errorf(fault.NotFound, "%s is a %s, not a commit", h, typ)
	}
	return parseCommit(h, content)
}
