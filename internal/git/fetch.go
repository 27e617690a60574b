package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Fetch brings the newest commit of what is followed, with everything it needs,
// into the mirror and returns its full name. A commit that is followed by its own
// name and was fetched before is there without asking the source.
// fault.NotFound: there is no such repository, branch, tag or commit;
// fault.Invalid: credentials or format are wrong, or a tag names no commit;
// fault.Transient: not reachable now. After an error the mirror is as before.
func (m *Mirror) Fetch(ctx context.Context) (string, error) {
	m.fetching.Lock()
	defer m.fetching.Unlock()
	unlock, err := lockFile(ctx, m.cfg.Dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	var head plumbing.Hash
	err = m.direct(func() error {
		head, err = m.fetch(ctx)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", m.want.name, err)
	}
	return head.String(), nil
}

// direct does something with the source, again if it turns out that it cannot
// be read directly.
func (m *Mirror) direct(do func() error) error {
	err := do()
	if !errors.Is(err, errIndirect) {
		return err
	}
	if err := m.fallBack(err); err != nil {
		return err
	}
	return do()
}

// fallBack replaces direct reading of a local repository by git-upload-pack.
func (m *Mirror) fallBack(why error) error {
	m.log.Info("reading the repository through git-upload-pack", "repository", m.path, "reason", why.Error())
	cfg := m.cfg
	cfg.URL = "file://" + m.path
	r, err := newRemote(cfg, m.want, m.trees)
	if err != nil {
		return err
	}
	m.source.close()
	m.source = r
	return nil
}

func (m *Mirror) fetch(ctx context.Context) (plumbing.Hash, error) {
	b, last := m.bare, m.head          // written under fetching only
	if b == nil && !m.damaged.Load() { // unless another process made it since
		if _, err := m.reopen(); errors.Is(err, ErrDamaged) {
			m.damaged.Store(true)
		}
		b, last = m.bare, m.head
	}
	if b == nil || m.damaged.Load() {
		return m.rebuild(ctx)
	}
	removeQuarantines(b.dir)
	b.db.sync()
	head, err := m.source.fetch(ctx, b, last)
	if errors.Is(err, ErrDamaged) {
		return m.rebuild(ctx)
	}
	if err != nil || head == last {
		return head, err
	}
	if err := b.setHead(head); err != nil {
		return plumbing.ZeroHash, err
	}
	m.mu.Lock()
	m.head = head
	m.mu.Unlock()
	m.compactSoon(b)
	return head, nil
}

// rebuild makes a new mirror beside the old one, if any, and swaps them.
func (m *Mirror) rebuild(ctx context.Context) (plumbing.Hash, error) {
	if _, err := os.Stat(m.cfg.Dir); err == nil {
		m.log.Warn("rebuilding the damaged mirror", "dir", m.cfg.Dir, "repository", m.Repository())
	}
	unlock, err := lockFile(ctx, m.cfg.Dir+".compact.lock") // else it might fill the new one with objects of the old
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer unlock()
	b, err := createBare(m.cfg.Dir + ".new")
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("create mirror: %w", err)
	}
	defer b.db.Close()
	head, err := m.source.fetch(ctx, b, plumbing.ZeroHash)
	if err == nil {
		err = b.setHead(head)
	}
	if err != nil {
		_ = os.RemoveAll(b.dir)
		return plumbing.ZeroHash, err
	}
	swapped, err := lockFile(ctx, m.swapLock()) // no merge writes into both
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer swapped()
	old := m.cfg.Dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return plumbing.ZeroHash, err
	}
	if err := os.Rename(m.cfg.Dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return plumbing.ZeroHash, err
	}
	if err := os.Rename(b.dir, m.cfg.Dir); err != nil {
		return plumbing.ZeroHash, err
	}
	m.damaged.Store(false)
	if head, err = m.reopen(); err != nil {
		return plumbing.ZeroHash, err
	}
	return head, os.RemoveAll(old)
}

// reopen takes the mirror on disk into use. Readers of the one it replaces go
// on: a closed store opens its directory, which is the new one, again.
func (m *Mirror) reopen() (plumbing.Hash, error) {
	b, head, err := openBare(m.cfg.Dir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	m.mu.Lock()
	old := m.bare
	m.bare, m.head = b, head
	m.mu.Unlock()
	if old != nil {
		old.db.Close()
	}
	return head, nil
}

func (m *Mirror) swapLock() string { return m.cfg.Dir + ".swap.lock" }

// removeQuarantines removes what killed fetches left; the lock is held, so
// none is in use.
func removeQuarantines(dir string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return // the fetch that follows says what is wrong
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), quarantinePrefix) {
			_ = os.RemoveAll(filepath.Join(dir, n.Name()))
		}
	}
}

// lockFile takes an exclusive lock between processes, which ends with this
// process at the latest. The file stays.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	return flock(ctx, path, syscall.LOCK_EX)
}

// shareLock takes a lock that excludes only lockFile.
func shareLock(ctx context.Context, path string) (unlock func(), err error) {
	return flock(ctx, path, syscall.LOCK_SH)
}

func flock(ctx context.Context, path string, how int) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fault.Errorf(fault.Conflict, "another process is using %s: %w", path, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
