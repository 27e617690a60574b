package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Merged is what a merge would give.
type Merged struct {
	SHA  string // of the commit; "" if there are conflicts
	Base string // the common ancestor that was merged from
	// Conflicts are the paths that would have to be merged by hand, sorted; of
	// very many only the first maxConflicts that were met.
	Conflicts []string
}

// mergeAuthor is who made the commits that merges give.
const mergeAuthor = "gitopsd <gitopsd@localhost>"

// Merge returns what merging head into base would give, as a commit that is
// written into the mirror and is on no branch. The same two commits always give
// the same one: its parents are base and head, its time is the later of theirs.
// If base contains head it is base itself; if base is an ancestor of head, it is
// head, as a fast-forward would leave it.
//
// Both commits must have been fetched or obtained. fault.NotFound: the mirror
// does not have one of them; fault.Invalid: they have no common history, or are malformed.
//
// It merges as git merge-tree does, except that
//   - renames are not looked for: a file that one side renamed and the other
//     edited is a conflict, and no directory's rename moves a new file;
//   - of several best common ancestors it takes the one of MergeBase, where git
//     merges them first;
//   - merge drivers and other attributes are not looked at;
//   - a file above 1 MiB that both sides changed is a conflict, as binary ones
//     are, and so is one that takes too long to compare;
//   - where two versions have no line in common but such as repeat more than 64
//     times, what differs may be put elsewhere than by git.
//
// A submodule that both sides set to different commits is a conflict, as for git
// without the submodule's history.
func (m *Mirror) Merge(ctx context.Context, base, head string) (Merged, error) {
	unlock, err := shareLock(ctx, m.swapLock()) // all is read from, and written to, one mirror
	if err != nil {
		return Merged{}, err
	}
	defer unlock()
	b, err := m.current()
	if err != nil {
		return Merged{}, err
	}
	b.db.sync()
	ours, err := m.commit(base)
	if err != nil {
		return Merged{}, err
	}
	theirs, err := m.commit(head)
	if err != nil {
		return Merged{}, err
	}
	out, err := m.merge(ctx, b, ours, theirs)
	if err != nil {
		return Merged{}, fmt.Errorf("merge %.12s into %.12s: %w", head, base, err)
	}
	m.compactSoon(b)
	return out, nil
}

func (m *Mirror) merge(ctx context.Context, b *bare, ours, theirs *commitInfo) (Merged, error) {
	ancestor, err := m.mergeBase(ctx, ours, theirs)
	if err != nil {
		return Merged{}, err
	}
	out := Merged{Base: ancestor.String()}
	switch ancestor {
	case theirs.hash:
		out.SHA = ours.hash.String()
		return out, nil
	case ours.hash:
		out.SHA = theirs.hash.String()
		return out, nil
	}
	common, err := m.commitAt(ancestor)
	if err != nil {
		return Merged{}, absentIsDamage(err)
	}
	t := &merger{ctx: ctx, m: m, to: b.db, done: map[[3]plumbing.Hash]plumbing.Hash{}}
	root, err := t.trees(common.tree, ours.tree, theirs.tree, "", 0)
	if err != nil {
		return Merged{}, err
	}
	if len(t.conflicts) > 0 {
		slices.Sort(t.conflicts)
		out.Conflicts = slices.Compact(t.conflicts)
		return out, nil
	}
	if root.IsZero() { // both sides together deleted everything
		if root, err = t.write(plumbing.TreeObject, nil); err != nil {
			return Merged{}, err
		}
	}
	var c strings.Builder
	when := fmt.Sprintf("%s %d +0000", mergeAuthor, max(ours.when, theirs.when))
	fmt.Fprintf(&c, "tree %s\nparent %s\nparent %s\nauthor %s\ncommitter %s\n\nMerge %s into %s\n",
		root, ours.hash, theirs.hash, when, when, theirs.hash, ours.hash)
	h, err := t.write(plumbing.CommitObject, []byte(c.String()))
	if err != nil {
		return Merged{}, err
	}
	out.SHA = h.String()
	return out, nil
}

// write places an object that a merge made. What a conflict or a kill leaves is
// reached by nothing and harms nothing: whether an object is there is looked up
// for each one, also when the commit is there already.
func (t *merger) write(typ plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	h := hashOf(typ, content)
	if t.to.has(h) {
		return h, nil
	}
	if err := os.MkdirAll(filepath.Dir(loosePath(t.to.dirs[0], h)), 0o755); err != nil {
		return h, fmt.Errorf("place object: %w", err)
	}
	return h, t.to.write(h, typ, content)
}
