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

// copier places what is reachable from a commit and not yet in dst, bottom-up,
// so that at any instant what is in dst is complete (see the package's
// invariants). It reads only trees that differ from those of the first parent.
type copier struct {
	src, dst *store
	trees    *treeCache
	shallow  map[plumbing.Hash]bool // commits whose parents src does not have
	limit    int
	placed   int
}

// newCommits returns the commits dst lacks, parents first.
func (c *copier) newCommits(ctx context.Context, head plumbing.Hash) ([]*commitInfo, error) {
	type frame struct {
		commit *commitInfo
		next   int
	}
	var order []*commitInfo
	var stack []frame
	seen := map[plumbing.Hash]bool{}
	push := func(h plumbing.Hash) error {
		if seen[h] || c.dst.has(h) {
			return nil
		}
		if err := cancelled(ctx); err != nil {
			return err
		}
		if seen[h] = true; len(seen) > c.limit {
			return errTooMany
		}
		typ, content, err := c.src.read(h)
		if err != nil {
			return sourceError(err)
		}
		if typ != plumbing.CommitObject {
			return fault.Errorf(fault.Invalid, "object %s is a %s, not a commit", h, typ)
		}
		info, err := parseCommit(h, content)
		if err != nil {
			return sourceError(err)
		}
		if c.shallow[h] {
			info.parents = nil
		}
		stack = append(stack, frame{commit: info})
		return nil
	}
	if err := push(head); err != nil {
		return nil, err
	}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(top.commit.parents) {
			order = append(order, top.commit)
			stack = stack[:len(stack)-1]
			continue
		}
		top.next++
		if err := push(top.commit.parents[top.next-1]); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// copy brings head and all it needs into dst.
func (c *copier) copy(ctx context.Context, head plumbing.Hash) error {
	commits, err := c.newCommits(ctx, head)
	if err != nil {
		return err
	}
	for _, commit := range commits {
		var base plumbing.Hash
		if len(commit.parents) > 0 {
			if base, err = c.treeOf(commit.parents[0]); err != nil {
				return err
			}
		}
		if err := c.copyTree(ctx, commit.tree, base, 0); err != nil {
			return fmt.Errorf("commit %s: %w", commit.hash, err)
		}
		if err := c.copyObject(ctx, commit.hash, true); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) treeOf(commit plumbing.Hash) (plumbing.Hash, error) {
	_, content, err := c.dst.read(commit)
	if err != nil {
		return plumbing.ZeroHash, absentIsDamage(err)
	}
	info, err := parseCommit(commit, content)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return info.tree, nil
}

// copyTree places the tree h; what it has in common with base is in dst.
func (c *copier) copyTree(ctx context.Context, h, base plumbing.Hash, depth int) error {
	if h == base || c.dst.has(h) {
		return nil
	}
	if depth > maxTreeDepth {
		return fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	entries, err := readTree(c.src, c.trees, h)
	if err != nil {
		return sourceError(err)
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
	return c.copyObject(ctx, h, true)
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
	case o != nil && o.hash == n.hash, c.dst.has(n.hash):
		return nil
	default:
		return c.copyObject(ctx, n.hash, false)
	}
}

// copyObject places an object that is checked already, when it can be linked, or
// is checked here.
func (c *copier) copyObject(ctx context.Context, h plumbing.Hash, checked bool) error {
	if err := cancelled(ctx); err != nil {
		return err
	}
	if c.placed++; c.placed > c.limit {
		return errTooMany
	}
	if checked {
		if done, err := c.dst.link(c.src, h); done || err != nil {
			return err
		}
	}
	typ, content, err := c.src.read(h)
	if err != nil {
		return sourceError(err)
	}
	if done, err := c.dst.link(c.src, h); done || err != nil {
		return err
	}
	return c.dst.write(h, typ, content)
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
