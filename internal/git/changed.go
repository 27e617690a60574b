package git

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// modeTreeOrLink are the types whose content is in this repository.
const modeTreeOrLink = fs.ModeDir | fs.ModeSymlink

// Kind says how a file changed.
type Kind string

// The kinds of change. A changed mode or type is Modified, as in git diff-tree;
// a file that became a directory is Deleted, and the files in it are Added.
const (
	Added    Kind = "added"
	Modified Kind = "modified"
	Deleted  Kind = "deleted"
)

// Change is one changed file; symbolic links and submodules count as files.
type Change struct {
	Path string // slash-separated, from the repository's root
	Kind Kind
}

// Changed returns the files at or below the given paths that differ between
// two commits, ordered by path. "" or "." means everything; no paths, nothing;
// a slash at the end of a path says nothing more.
// Only trees that differ are read, and none outside the paths.
func (m *Mirror) Changed(ctx context.Context, from, to string, paths []string) ([]Change, error) {
	scope, err := newScope(paths)
	if err != nil || scope == nil {
		return nil, err
	}
	var roots [2]plumbing.Hash
	for i, sha := range []string{from, to} {
		c, err := m.commit(sha)
		if err != nil {
			return nil, err
		}
		roots[i] = c.tree
	}
	w := &differ{ctx: ctx, m: m}
	if err := w.trees(roots[0], roots[1], "", scope, 0); err != nil {
		return nil, fmt.Errorf("compare %.12s with %.12s: %w", from, to, err)
	}
	slices.SortFunc(w.changes, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return w.changes, nil
}

// scope is a set of paths as a tree: all means everything from here on.
type scope struct {
	all  bool
	next map[string]*scope
}

func newScope(paths []string) (*scope, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	root := &scope{}
	for _, p := range paths {
		clean := path.Clean(p)
		if !fs.ValidPath(clean) {
			return nil, fault.Errorf(fault.Invalid, "path %q leads out of the repository", p)
		}
		if clean == "." {
			root.all = true
			continue
		}
		at := root
		for name := range strings.SplitSeq(clean, "/") {
			if at.next == nil {
				at.next = map[string]*scope{}
			}
			if at.next[name] == nil {
				at.next[name] = &scope{}
			}
			at = at.next[name]
		}
		at.all = true
	}
	return root, nil
}

// enter returns what of the scope lies below the name, or nil.
func (s *scope) enter(name string) *scope {
	if s.all {
		return s
	}
	return s.next[name]
}

type differ struct {
	ctx     context.Context //nolint:containedctx // lives for one call
	m       *Mirror
	changes []Change
}

// trees compares two trees; the zero hash stands for one that does not exist.
func (d *differ) trees(from, to plumbing.Hash, at string, in *scope, depth int) error {
	if from == to {
		return nil
	}
	if err := cancelled(d.ctx); err != nil {
		return err
	}
	if depth > maxTreeDepth {
		return fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	var pair [2]tree
	for i, h := range []plumbing.Hash{from, to} {
		if h.IsZero() {
			continue
		}
		t, err := d.m.tree(h)
		if err != nil {
			return err
		}
		pair[i] = t
	}
	var failed error
	mergeTrees(pair[0], pair[1], func(o, n *entry) bool {
		failed = d.entry(o, n, at, in, depth)
		return failed == nil
	})
	return failed
}

func (d *differ) entry(o, n *entry, at string, in *scope, depth int) error {
	e := cmp.Or(n, o)
	below := in.enter(e.name)
	if below == nil {
		return nil
	}
	full := e.name
	if at != "" {
		full = at + "/" + e.name
	}
	if e.isTree() {
		var from, to plumbing.Hash
		if o != nil {
			from = o.hash
		}
		if n != nil {
			to = n.hash
		}
		return d.trees(from, to, full, below, depth+1)
	}
	if !below.all {
		return nil // a file where the path wants a directory
	}
	kind := Modified
	switch {
	case o == nil:
		kind = Added
	case n == nil:
		kind = Deleted
	}
	d.changes = append(d.changes, Change{Path: full, Kind: kind})
	return nil
}

// mergeTrees walks two trees in git's order side by side and calls visit for
// each entry that differs, with nil for the side that lacks it, until visit
// returns false. A name that is a tree on one side only differs twice.
func mergeTrees(from, to tree, visit func(o, n *entry) bool) {
	i, j := 0, 0
	for i < len(from) || j < len(to) {
		var c int
		switch {
		case i == len(from):
			c = 1
		case j == len(to):
			c = -1
		default:
			if from[i].hash == to[j].hash && from[i].mode == to[j].mode && from[i].name == to[j].name {
				i, j = i+1, j+1
				continue
			}
			c = compareEntries(&from[i], &to[j])
		}
		var o, n *entry
		if c <= 0 {
			o = &from[i]
			i++
		}
		if c >= 0 {
			n = &to[j]
			j++
		}
		if !visit(o, n) {
			return
		}
	}
}
