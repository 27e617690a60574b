package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// obtainedPrefix begins the names of the mirror's own refs: each is at a
	// commit that was obtained, and says that it is complete.
	obtainedPrefix = "refs/obtained/"
	// maxObtained bounds those refs. A commit whose ref was dropped stays; whether
	// it is complete is only not known any more.
	maxObtained = 4096
	// maxObtainedHaves is how many obtained commits, the last ones, an exchange
	// and a walk build upon.
	maxObtainedHaves = 64
)

// Wanted names a commit to obtain.
type Wanted struct {
	Ref string // of the source, such as "refs/pull/7/head"; "" to ask for the commit by its name alone
	SHA string // its full name
}

// target is one that is valid, and not complete yet.
type target struct {
	ref  string
	hash plumbing.Hash
}

// Obtain brings one commit that need not be on what is followed, with its whole
// history and all files, into the mirror. If it is there it costs no exchange
// with the source. It is found at the ref, at what the ref leads to by now, or,
// where the server serves that, by its name.
//
// Head does not move. What was obtained stays until the mirror is rebuilt; then
// it is gone, as if it had never been there, and can be obtained again.
//
// fault.NotFound: the ref does not lead to it, and the source does not give it by
// its name; fault.Invalid: it is malformed, or larger than may be downloaded;
// fault.Transient: not reachable now, or nothing was fetched yet.
func (m *Mirror) Obtain(ctx context.Context, ref, sha string) error {
	failed, err := m.ObtainAll(ctx, []Wanted{{Ref: ref, SHA: sha}})
	if err != nil {
		return err
	}
	return failed[sha]
}

// ObtainAll is Obtain for many commits, in one exchange if all is well. It
// returns, by SHA, why single ones cannot be had; err is for what concerns all.
// After an error some may have been obtained.
func (m *Mirror) ObtainAll(ctx context.Context, wanted []Wanted) (failed map[string]error, err error) {
	failed = map[string]error{}
	targets, err := targetsOf(wanted)
	if err != nil {
		return failed, err
	}
	b, err := m.current()
	if err == nil && len(b.incomplete(ctx, targets, plumbing.NewHash(m.Head()))) == 0 {
		return failed, nil
	}
	m.fetching.Lock()
	defer m.fetching.Unlock()
	unlock, err := lockFile(ctx, m.cfg.Dir+".lock")
	if err != nil {
		return failed, err
	}
	defer unlock()
	reasons := map[plumbing.Hash]error{}
	err = m.direct(func() error { return m.obtain(ctx, targets, reasons) })
	for _, w := range wanted {
		if why := reasons[plumbing.NewHash(w.SHA)]; why != nil {
			failed[w.SHA] = fmt.Errorf("obtain commit %.12s: %w", w.SHA, why)
		}
	}
	if err != nil {
		return failed, fmt.Errorf("obtain commits: %w", err)
	}
	return failed, nil
}

func targetsOf(wanted []Wanted) ([]target, error) {
	var targets []target
	seen := map[plumbing.Hash]bool{}
	for _, w := range wanted {
		if !plumbing.IsHash(w.SHA) {
			return nil, fault.Errorf(fault.Invalid, "%q is not the full name of a commit", w.SHA)
		}
		if w.Ref != "" && (!strings.HasPrefix(w.Ref, "refs/") || !validBranch(w.Ref)) {
			return nil, fault.Errorf(fault.Invalid, "%q is not the full name of a ref", w.Ref)
		}
		t := target{ref: w.Ref, hash: plumbing.NewHash(w.SHA)}
		if !seen[t.hash] {
			seen[t.hash] = true
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// obtain runs with both locks of fetching.
func (m *Mirror) obtain(ctx context.Context, targets []target, failed map[plumbing.Hash]error) error {
	if m.bare == nil { // another process may have made it since
		if _, err := m.reopen(); err != nil {
			_, err = m.current()
			return err
		}
	}
	b := m.bare
	if m.damaged.Load() {
		return damaged("mirror %s", b.dir)
	}
	removeQuarantines(b.dir)
	b.db.sync()
	left := b.incomplete(ctx, targets, m.head)
	if len(left) == 0 {
		return nil
	}
	got, err := m.source.obtain(ctx, b, b.complete(m.head), left, failed)
	if len(got) > 0 {
		err = errors.Join(err, b.addObtained(got))
	}
	m.compactSoon(b)
	return m.noted(err)
}

// complete returns commits that are, for walks and servers to build upon.
func (m *bare) complete(head plumbing.Hash) []plumbing.Hash {
	all := m.obtained()
	list := []plumbing.Hash{head}
	for _, h := range all[max(0, len(all)-maxObtainedHaves):] {
		if m.db.has(h) {
			list = append(list, h)
		}
	}
	return list
}

// incomplete returns the targets that are not known to be complete: neither
// obtained before nor reached from head or one that was.
func (m *bare) incomplete(ctx context.Context, targets []target, head plumbing.Hash) []target {
	known := map[plumbing.Hash]bool{}
	for _, h := range m.obtained() {
		known[h] = true
	}
	shallow, err := m.shallow()
	if err != nil {
		return targets // the source is asked, and then the error is met again
	}
	var complete []plumbing.Hash
	c := &copier{src: m.db, dst: m.db, shallow: shallow}
	var left []target
	for _, t := range targets {
		if !m.db.has(t.hash) {
			left = append(left, t)
			continue
		}
		if known[t.hash] || t.hash == head {
			continue
		}
		if complete == nil {
			complete = m.complete(head)
		}
		if !c.reached(ctx, t.hash, complete) {
			left = append(left, t)
		}
	}
	return left
}

// reached reports whether complete commits reach h. If it lacks something it
// is not, or cannot be known to be.
func (c *copier) reached(ctx context.Context, h plumbing.Hash, complete []plumbing.Hash) bool {
	w := c.newWalk()
	if w.reach(h, below) != nil {
		return false
	}
	for _, from := range complete {
		if from == h {
			return true
		}
		if w.reach(from, above) != nil {
			return false
		}
	}
	met, err := w.meets(ctx, h)
	return err == nil && met
}

// obtained returns the commits of the mirror's own refs, the oldest first.
func (m *bare) obtained() []plumbing.Hash {
	b, err := os.ReadFile(filepath.Join(m.dir, "packed-refs"))
	if err != nil {
		return nil // none, or not to be known: then they are obtained again
	}
	var list []plumbing.Hash
	for line := range bytes.Lines(b) {
		name, ref, ok := bytes.Cut(line, []byte{' '})
		if ok && bytes.HasPrefix(ref, []byte(obtainedPrefix)) && plumbing.IsHash(string(name)) {
			list = append(list, plumbing.NewHash(string(name)))
		}
	}
	return list
}

// addObtained remembers commits as complete. One file has all of them, in git's
// own format, so that git, too, knows what belongs to the mirror.
func (m *bare) addObtained(hashes []plumbing.Hash) error {
	list := slices.DeleteFunc(m.obtained(), func(h plumbing.Hash) bool { return slices.Contains(hashes, h) })
	list = append(list, hashes...)
	var b strings.Builder
	for _, h := range list[max(0, len(list)-maxObtained):] {
		b.WriteString(h.String() + " " + obtainedPrefix + h.String() + "\n")
	}
	return writeWhole(filepath.Join(m.dir, "packed-refs"), strings.NewReader(b.String()), 0o644)
}
