package git

import (
	"cmp"
	"context"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// MergeBase returns the best common ancestor of two commits, as git merge-base
// does: one that no other common ancestor descends from. Where histories crossed
// there are several; then it is the newest, and of equally old ones the first by
// name. Commits without a common ancestor are fault.Invalid.
func (m *Mirror) MergeBase(ctx context.Context, a, b string) (string, error) {
	one, err := m.commit(a)
	if err != nil {
		return "", err
	}
	other, err := m.commit(b)
	if err != nil {
		return "", err
	}
	h, err := m.mergeBase(ctx, one, other)
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

func (m *Mirror) mergeBase(ctx context.Context, a, b *commitInfo) (plumbing.Hash, error) {
	if a.hash == b.hash {
		return a.hash, nil
	}
	found, err := m.commonAncestors(ctx, a, b)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	slices.SortFunc(found, func(x, y *commitInfo) int {
		return cmp.Or(cmp.Compare(y.when, x.when), slices.Compare(x.hash[:], y.hash[:]))
	})
	for i, c := range found {
		best := true
		for j, other := range found {
			if i == j {
				continue
			}
			// With right clocks none is; with wrong ones an ancestor may look newer.
			below, err := m.IsAncestor(ctx, c.hash.String(), other.hash.String())
			if err != nil {
				return plumbing.ZeroHash, err
			}
			best = best && !below
		}
		if best {
			return c.hash, nil
		}
	}
	return plumbing.ZeroHash, fault.Errorf(fault.Invalid, "commits %.12s and %.12s have no common history", a.hash, b.hash).
		WithHint("rebase the one onto the other")
}

// marks of a commit in the walk of commonAncestors.
const (
	fromA = 1 << iota
	fromB
	settled // an ancestor of a common one
)

// commonAncestors returns the common ancestors that the walk from both commits
// meets first, on each way down. All best ones are among them.
func (m *Mirror) commonAncestors(ctx context.Context, a, b *commitInfo) ([]*commitInfo, error) {
	w, err := m.newWalk()
	if err != nil {
		return nil, err
	}
	w.isOpen = func(marks int) bool { return marks&settled == 0 }
	w.add(a, fromA)
	w.add(b, fromB)
	found := map[plumbing.Hash]*commitInfo{}
	for w.open > 0 {
		if err := cancelled(ctx); err != nil {
			return nil, err
		}
		c, marks := w.pop()
		if marks == fromA|fromB {
			found[c.hash] = c
			marks |= settled
		}
		for _, p := range w.parents(c) {
			if err := w.reach(p, marks); err != nil {
				return nil, err
			}
		}
	}
	var list []*commitInfo
	for h, c := range found {
		if w.marks[h]&settled == 0 {
			list = append(list, c)
		}
	}
	return list, nil
}
