package git

import (
	"container/heap"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Commit is one commit, as people read it.
type Commit struct {
	SHA     string
	Subject string // first line of the message
	Author  string // name <mail>
	When    time.Time
	Parents []string
}

// marks of a commit in the walk of IsAncestor.
const (
	below = 1 << iota // reachable from the ancestor in question
	above             // reachable from the descendant
)

// IsAncestor reports whether ancestor is reachable from descendant; a commit
// is its own ancestor. It is false when the mirror does not know ancestor, as
// after a rewritten history; an error wrapping ErrDamaged when it cannot tell.
//
// The walk goes from both, newest first, and ends where everything reachable
// from descendant is reachable from ancestor, too: for close commits and for
// histories that fork late it is short, whatever the clocks said it is right.
func (m *Mirror) IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	to, err := m.commit(descendant)
	if err != nil {
		return false, err
	}
	from, err := m.commit(ancestor)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if from.hash == to.hash {
		return true, nil
	}
	w, err := m.newWalk()
	if err != nil {
		return false, err
	}
	w.add(from, below)
	w.add(to, above)
	return w.meets(ctx, from.hash)
}

// meets reports whether a commit that is marked below is reached from one that is
// marked above.
func (w *walk) meets(ctx context.Context, h plumbing.Hash) (bool, error) {
	for w.open > 0 {
		if err := cancelled(ctx); err != nil {
			return false, err
		}
		c, marks := w.pop()
		if c.hash == h && marks&above != 0 {
			return true, nil
		}
		for _, p := range w.parents(c) {
			if p == h && marks&above != 0 {
				return true, nil
			}
			if err := w.reach(p, marks); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// walk visits commits newest first, and again when their marks grow.
type walk struct {
	read    func(plumbing.Hash) (*commitInfo, error)
	shallow map[plumbing.Hash]bool
	marks   map[plumbing.Hash]int
	queue   commitQueue
	queued  map[plumbing.Hash]bool
	isOpen  func(marks int) bool // nil: above and not below
	open    int                  // queued commits whose marks are
}

func (w *walk) opens(marks int) bool {
	if w.isOpen == nil {
		return marks == above
	}
	return marks != 0 && w.isOpen(marks)
}

func (m *Mirror) newWalk() (*walk, error) {
	b, err := m.current()
	if err != nil {
		return nil, err
	}
	shallow, err := b.shallow()
	if err != nil {
		return nil, fmt.Errorf("read mirror: %w", err)
	}
	read := func(h plumbing.Hash) (*commitInfo, error) {
		c, err := m.commitAt(h)
		return c, m.noted(absentIsDamage(err))
	}
	return &walk{read: read, shallow: shallow, marks: map[plumbing.Hash]int{}, queued: map[plumbing.Hash]bool{}}, nil
}

func (w *walk) parents(c *commitInfo) []plumbing.Hash {
	if w.shallow[c.hash] {
		return nil
	}
	return c.parents
}

func (w *walk) add(c *commitInfo, marks int) {
	old := w.marks[c.hash]
	now := old | marks
	if now == old {
		return
	}
	w.marks[c.hash] = now
	if w.queued[c.hash] {
		if w.opens(old) {
			w.open--
		}
	} else {
		w.queued[c.hash] = true
		heap.Push(&w.queue, c)
	}
	if w.opens(now) {
		w.open++
	}
}

func (w *walk) reach(h plumbing.Hash, marks int) error {
	if w.marks[h]|marks == w.marks[h] {
		return nil
	}
	c, err := w.read(h)
	if err != nil {
		return err
	}
	w.add(c, marks)
	return nil
}

func (w *walk) pop() (*commitInfo, int) {
	c := heap.Pop(&w.queue).(*commitInfo)
	delete(w.queued, c.hash)
	if w.opens(w.marks[c.hash]) {
		w.open--
	}
	return c, w.marks[c.hash]
}

// commitQueue is a heap, newest commit first.
type commitQueue []*commitInfo

func (q commitQueue) Len() int           { return len(q) }
func (q commitQueue) Less(i, j int) bool { return q[i].when > q[j].when }
func (q commitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *commitQueue) Push(x any)        { *q = append(*q, x.(*commitInfo)) }
func (q *commitQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// Commits returns the commits on the first-parent line of to that are not
// reachable from from, newest first, at most limit. An empty from, or one the
// mirror does not know, cuts nothing off.
func (m *Mirror) Commits(ctx context.Context, from, to string, limit int) ([]Commit, error) {
	b, err := m.current()
	if err != nil {
		return nil, err
	}
	shallow, err := b.shallow()
	if err != nil {
		return nil, fmt.Errorf("read mirror: %w", err)
	}
	var line []Commit
	for next := to; len(line) < limit && next != from; {
		if err := cancelled(ctx); err != nil {
			return nil, err
		}
		c, err := m.Commit(next)
		if fault.Is(err, fault.NotFound) && len(line) > 0 {
			err = m.noted(damaged("commit %s names a parent that is missing", line[len(line)-1].SHA))
		}
		if err != nil {
			return nil, err
		}
		line = append(line, c)
		if len(c.Parents) == 0 || shallow[plumbing.NewHash(c.SHA)] {
			return m.cutOff(ctx, from, line)
		}
		next = c.Parents[0]
		if next == from {
			return line, nil
		}
	}
	return m.cutOff(ctx, from, line)
}

// cutOff drops the end of a first-parent line that is reachable from from:
// behind the first such commit all are, so the search is binary.
func (m *Mirror) cutOff(ctx context.Context, from string, line []Commit) ([]Commit, error) {
	if from == "" || len(line) == 0 {
		return line, nil
	}
	if _, err := m.commit(from); fault.Is(err, fault.NotFound) {
		return line, nil
	} else if err != nil {
		return nil, err
	}
	var failed error
	n := sort.Search(len(line), func(i int) bool {
		if failed != nil {
			return true
		}
		old, err := m.IsAncestor(ctx, line[i].SHA, from)
		failed = err
		return old
	})
	return line[:n], failed
}

// Commit returns one commit, named in full.
func (m *Mirror) Commit(sha string) (Commit, error) {
	if _, err := m.commit(sha); err != nil {
		return Commit{}, err
	}
	b, err := m.current()
	if err != nil {
		return Commit{}, err
	}
	h := plumbing.NewHash(sha)
	typ, content, err := b.db.read(h)
	if err != nil {
		return Commit{}, m.noted(absentIsDamage(err))
	}
	o := &plumbing.MemoryObject{}
	o.SetType(typ)
	_, _ = o.Write(content) // to memory
	var c object.Commit
	if err := c.Decode(o); err != nil {
		return Commit{}, malformed("commit %s: %w", sha, err)
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	out := Commit{
		SHA: h.String(), Subject: strings.ToValidUTF8(strings.TrimSpace(subject), "\uFFFD"),
		Author: strings.ToValidUTF8(c.Author.String(), "\uFFFD"), When: c.Committer.When,
	}
	for _, p := range c.ParentHashes {
		out.Parents = append(out.Parents, p.String())
	}
	return out, nil
}

// minAbbreviation is how many digits name a commit at least, as in git.
const minAbbreviation = 4

// Resolve returns the full name of a commit from its first digits (at least
// 4), or of the newest one fetched from "HEAD" or the branch's name.
// Digits that several commits begin with are fault.Invalid.
func (m *Mirror) Resolve(ctx context.Context, rev string) (string, error) {
	if rev == "HEAD" || rev == m.cfg.Branch {
		if _, err := m.current(); err != nil {
			return "", err
		}
		return m.Head(), nil
	}
	rev = strings.ToLower(rev)
	if plumbing.IsHash(rev) {
		_, err := m.commit(rev)
		return rev, err
	}
	even := rev + strings.Repeat("0", len(rev)%2)
	prefix, err := hex.DecodeString(even)
	if err != nil || len(rev) < minAbbreviation || len(rev) > 40 {
		return "", fault.Errorf(fault.Invalid, "%q does not name a commit", rev).
			WithHint("give at least %d digits of its hash", minAbbreviation)
	}
	b, err := m.current()
	if err != nil {
		return "", err
	}
	hashes, err := b.db.withPrefix(prefix[:len(rev)/2])
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", rev, err)
	}
	var found []string
	for _, h := range hashes {
		if err := cancelled(ctx); err != nil {
			return "", err
		}
		if !strings.HasPrefix(h.String(), rev) {
			continue
		}
		if _, err := m.commitAt(h); err == nil {
			found = append(found, h.String())
		} else if errors.Is(err, ErrDamaged) {
			return "", err
		}
	}
	switch len(found) {
	case 0:
		return "", fault.Errorf(fault.NotFound, "no commit begins with %s", rev)
	case 1:
		return found[0], nil
	default:
		return "", fault.Errorf(fault.Invalid, "%s is ambiguous: %s", rev, strings.Join(sorted(found), ", ")).
			WithHint("give more digits")
	}
}

// withPrefix returns the objects whose names begin with the bytes.
func (s *store) withPrefix(prefix []byte) ([]plumbing.Hash, error) {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []plumbing.Hash
	for _, l := range s.layers {
		hashes, err := l.HashesWithPrefix(prefix)
		if err != nil {
			return nil, err
		}
		all = append(all, hashes...)
	}
	return all, nil
}
