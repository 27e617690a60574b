package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// maxCopied is how many objects are placed one by one before taking over
	// everything the source has is cheaper.
	maxCopied = 3000
	// maxTreeDepth bounds directories within directories.
	maxTreeDepth = 256
)

// errTooMany means that the source has too much that is new for copying.
var errTooMany = errors.New("too many new objects")

// copier places what is reachable from a commit and not from some that are
// known to be complete. That an object is present proves nothing
// about what it refers to: a source that is written to while its objects are
// taken over, or that pruned some, leaves incomplete ones. So every tree that
// differs from the first parent's is walked, and only placing is skipped for
// what is there.
type copier struct {
	src, dst *store
	trees    *treeCache
	shallow  map[plumbing.Hash]bool // commits whose parents are nowhere
	limit    int                    // of commits, and of objects placed
	placed   int
	done     map[plumbing.Hash]bool // trees that are complete, seen by this copier
	commits  map[plumbing.Hash]*commitInfo
}

// read takes an object from the source, or from the mirror when the source
// left it out or forgot it.
func (c *copier) read(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	typ, content, err := c.src.read(h)
	if errors.Is(err, errAbsent) && c.dst.has(h) {
		typ, content, err = c.dst.read(h)
	}
	return typ, content, sourceError(err)
}

func (c *copier) commit(h plumbing.Hash) (*commitInfo, error) {
	if info, ok := c.commits[h]; ok {
		return info, nil
	}
	typ, content, err := c.read(h)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.CommitObject {
		return nil, fault.Errorf(fault.Invalid, "object %s is a %s, not a commit", h, typ)
	}
	info, err := parseCommit(h, content)
	if err != nil {
		return nil, err
	}
	if c.commits == nil {
		c.commits = map[plumbing.Hash]*commitInfo{}
	}
	c.commits[h] = info
	return info, nil
}

// newCommits returns the commits reachable from head and from none of the
// complete ones (zero is no commit), parents first. Wrong clocks may add commits
// that those reach.
func (c *copier) newCommits(ctx context.Context, head plumbing.Hash, complete ...plumbing.Hash) ([]*commitInfo, error) {
	w := c.newWalk()
	for _, h := range complete {
		if h.IsZero() {
			continue
		}
		if err := w.reach(h, below); err != nil {
			return nil, err
		}
	}
	if err := w.reach(head, above); err != nil {
		return nil, err
	}
	found := map[plumbing.Hash]*commitInfo{}
	for w.open > 0 {
		if err := cancelled(ctx); err != nil {
			return nil, err
		}
		commit, marks := w.pop()
		if marks == above {
			if found[commit.hash] = commit; len(found) > c.limit {
				return nil, errTooMany
			}
		}
		for _, p := range w.parents(commit) {
			if err := w.reach(p, marks); err != nil {
				return nil, err
			}
		}
	}
	for h := range found {
		if w.marks[h] != above {
			delete(found, h)
		}
	}
	return parentsFirst(head, found), nil
}

func (c *copier) newWalk() *walk {
	return &walk{read: c.commit, shallow: c.shallow, marks: map[plumbing.Hash]int{}, queued: map[plumbing.Hash]bool{}}
}

// parentsFirst orders commits so that each comes after its parents.
func parentsFirst(head plumbing.Hash, found map[plumbing.Hash]*commitInfo) []*commitInfo {
	type frame struct {
		commit *commitInfo
		next   int
	}
	var order []*commitInfo
	var stack []frame
	push := func(h plumbing.Hash) {
		if commit := found[h]; commit != nil {
			delete(found, h)
			stack = append(stack, frame{commit: commit})
		}
	}
	for push(head); len(stack) > 0; {
		top := &stack[len(stack)-1]
		if top.next == len(top.commit.parents) {
			order = append(order, top.commit)
			stack = stack[:len(stack)-1]
			continue
		}
		top.next++
		push(top.commit.parents[top.next-1])
	}
	return order
}

// copy brings head and all it needs into dst, where some commits are complete.
func (c *copier) copy(ctx context.Context, head plumbing.Hash, complete ...plumbing.Hash) error {
	commits, err := c.newCommits(ctx, head, complete...)
	if err != nil {
		return err
	}
	if c.done == nil {
		c.done = map[plumbing.Hash]bool{}
	}
	for _, commit := range commits {
		var base plumbing.Hash
		if len(commit.parents) > 0 && !c.shallow[commit.hash] {
			parent, err := c.commit(commit.parents[0])
			if err != nil {
				return err
			}
			base = parent.tree
		}
		if err := c.copyTree(ctx, commit.tree, base, 0); err != nil {
			return fmt.Errorf("commit %s: %w", commit.hash, err)
		}
		if err := c.copyObject(ctx, commit.hash, plumbing.CommitObject); err != nil {
			return err
		}
	}
	return nil
}

// copyTree places the tree h and all in it; the tree base is complete in dst.
func (c *copier) copyTree(ctx context.Context, h, base plumbing.Hash, depth int) error {
	if h == base || c.done[h] {
		return nil
	}
	if depth > maxTreeDepth {
		return fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	entries, err := c.readTree(h)
	if err != nil {
		return err
	}
	var old tree
	if !base.IsZero() {
		if old, err = readTree(c.dst, c.trees, base); err != nil {
			return absentIsDamage(err)
		}
	}
	var failed error
	mergeTrees(old, entries, func(o, n *entry) bool {
		failed = c.copyEntry(ctx, o, n, depth)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	c.done[h] = true
	return c.copyObject(ctx, h, plumbing.TreeObject)
}

func (c *copier) readTree(h plumbing.Hash) (tree, error) {
	t, err := readTree(c.src, c.trees, h)
	if errors.Is(err, errAbsent) && c.dst.has(h) {
		t, err = readTree(c.dst, c.trees, h)
	}
	return t, sourceError(err)
}

func (c *copier) copyEntry(ctx context.Context, o, n *entry, depth int) error {
	switch {
	case n == nil, n.fsMode().Type()&^modeTreeOrLink != 0:
		return nil // deleted, or a submodule, whose commits live elsewhere
	case n.isTree():
		var base plumbing.Hash
		if o != nil {
			base = o.hash
		}
		return c.copyTree(ctx, n.hash, base, depth+1)
	case o != nil && o.hash == n.hash: // another mode
		return nil
	default:
		return c.copyObject(ctx, n.hash, plumbing.BlobObject)
	}
}

// copyObject places an object of the type that what refers to it says. Commits
// and trees were read and checked before; a file is checked here.
func (c *copier) copyObject(ctx context.Context, h plumbing.Hash, want plumbing.ObjectType) error {
	if err := cancelled(ctx); err != nil {
		return err
	}
	if c.dst.has(h) {
		return c.isFile(h, want)
	}
	if c.placed++; c.placed > c.limit {
		return errTooMany
	}
	if want != plumbing.BlobObject {
		if done, err := c.dst.link(c.src, h); done || err != nil {
			return err
		}
	}
	typ, content, err := c.src.read(h)
	if err != nil {
		return sourceError(err)
	}
	if typ != want {
		return malformed("object %s is a %s where a %s is named", h, typ, want)
	}
	if done, err := c.dst.link(c.src, h); done || err != nil {
		return err
	}
	return c.dst.write(h, typ, content)
}

// isFile checks that what is there, and is named as a file, is one: git refuses
// the commit otherwise, and so does a source that has to send it.
func (c *copier) isFile(h plumbing.Hash, want plumbing.ObjectType) error {
	if want != plumbing.BlobObject {
		return nil
	}
	typ, _, err := c.dst.read(h)
	if err == nil && typ != want {
		return malformed("object %s is a %s where a %s is named", h, typ, want)
	}
	return absentIsDamage(err)
}

// errSource marks what is wrong with the source rather than the mirror.
var errSource = errors.New("source repository")

// sourceError keeps what is missing or wrong in the source apart from damage
// of the mirror, which would be rebuilt in vain.
func sourceError(err error) error {
	if errors.Is(err, errAbsent) || errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %v", errSource, err) //nolint:errorlint // hides ErrDamaged on purpose
	}
	return err
}

// absentIsDamage turns "no such object" into damage, for objects that another
// one in the mirror refers to.
func absentIsDamage(err error) error {
	if errors.Is(err, errAbsent) {
		return damaged("%v", err)
	}
	return err
}
