package git

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxConflicts bounds the paths that a merge lists.
const maxConflicts = 1000

// merger merges the trees of two commits.
type merger struct {
	ctx       context.Context //nolint:containedctx // lives for one call
	m         *Mirror
	to        *store
	conflicts []string
	done      map[[3]plumbing.Hash]plumbing.Hash // trees that were merged without a conflict
}

// versions are what a path is in the common version, ours and theirs; nil is nothing.
type versions [3]*entry

// trees merges three trees, of which the zero hash stands for none, and returns
// the merged one, zero for none. What is the same on two sides is not walked.
func (t *merger) trees(base, ours, theirs plumbing.Hash, at string, depth int) (plumbing.Hash, error) {
	if h, ok := unchanged(base, ours, theirs); ok {
		return h, nil
	}
	key := [3]plumbing.Hash{base, ours, theirs}
	if h, ok := t.done[key]; ok {
		return h, nil
	}
	if err := cancelled(t.ctx); err != nil {
		return plumbing.ZeroHash, err
	}
	if depth > maxTreeDepth {
		return plumbing.ZeroHash, fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	var read [3]tree
	for i, h := range key {
		if h.IsZero() {
			continue
		}
		var err error
		if read[i], err = t.m.tree(h); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	before := len(t.conflicts)
	var merged tree
	for _, v := range byName(read) {
		if len(t.conflicts) >= maxConflicts {
			break
		}
		found, err := t.name(v, at, depth)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		merged = append(merged, found...)
	}
	if len(t.conflicts) > before || len(t.conflicts) >= maxConflicts {
		return plumbing.ZeroHash, nil // of no use to anyone
	}
	h, err := t.writeTree(merged)
	if err == nil {
		t.done[key] = h
	}
	return h, err
}

// unchanged merges what at most one side changed, or both alike.
func unchanged(base, ours, theirs plumbing.Hash) (plumbing.Hash, bool) {
	switch {
	case ours == theirs, base == theirs:
		return ours, true
	case base == ours:
		return theirs, true
	}
	return plumbing.ZeroHash, false
}

// byName walks three trees side by side. The order of trees has a directory
// elsewhere than a file of the same name, so what changed from one to the other
// is brought together by name.
func byName(trees [3]tree) []versions {
	var list []versions
	moved := map[string]int{} // where in the list a name is of which only some versions were met
	var at [3]int
	for {
		var first *entry
		for i, t := range trees {
			if at[i] < len(t) && (first == nil || compareEntries(&t[at[i]], first) < 0) {
				first = &t[at[i]]
			}
		}
		if first == nil {
			return list
		}
		var v versions
		n := 0
		for i, t := range trees {
			if at[i] < len(t) && compareEntries(&t[at[i]], first) == 0 {
				v[i] = &t[at[i]]
				at[i]++
				n++
			}
		}
		if n == len(v) {
			list = append(list, v)
			continue
		}
		if i, ok := moved[first.name]; ok {
			for side, e := range v {
				list[i][side] = cmp.Or(list[i][side], e)
			}
			continue
		}
		moved[first.name] = len(list)
		list = append(list, v)
	}
}

// name merges all versions of one name. The directories among them are merged on
// their own; a file has the name only if nothing is left of them.
func (t *merger) name(v versions, at string, depth int) ([]entry, error) {
	e := cmp.Or(v[0], v[1], v[2])
	full := e.name
	if at != "" {
		full = at + "/" + e.name
	}
	var dirs [3]plumbing.Hash
	var files versions
	for i, e := range v {
		switch {
		case e == nil:
		case e.isTree():
			dirs[i] = e.hash
		default:
			files[i] = e
		}
	}
	before := len(t.conflicts)
	dir, err := t.trees(dirs[0], dirs[1], dirs[2], full, depth+1)
	if err != nil {
		return nil, err
	}
	file, ok, err := t.file(files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	directory := !dir.IsZero() || len(t.conflicts) > before
	if !ok || file != nil && directory {
		t.conflicts = append(t.conflicts, full)
		return nil, nil
	}
	switch {
	case !dir.IsZero():
		return []entry{{name: e.name, mode: filemode.Dir, hash: dir}}, nil
	case file != nil:
		return []entry{{name: e.name, mode: file.mode, hash: file.hash}}, nil
	}
	return nil, nil
}

// file merges what is no directory: nil is nothing, false a conflict.
func (t *merger) file(v versions) (*entry, bool, error) {
	base, ours, theirs := v[0], v[1], v[2]
	switch {
	case sameEntry(ours, theirs), sameEntry(base, theirs):
		return ours, true, nil
	case sameEntry(base, ours):
		return theirs, true, nil
	case ours == nil || theirs == nil: // changed here, deleted there
		return nil, false, nil
	case ours.fsMode().Type() != theirs.fsMode().Type():
		return nil, false, nil
	}
	if base == nil {
		base = &entry{} // two files where there was none
	}
	mode := theirs.mode
	switch {
	case ours.mode == theirs.mode, ours.mode == base.mode:
	case theirs.mode == base.mode:
		mode = ours.mode
	default:
		return nil, false, nil
	}
	if h, ok := unchanged(base.hash, ours.hash, theirs.hash); ok {
		return &entry{mode: mode, hash: h}, true, nil
	}
	if ours.fsMode().Type() != 0 { // links, submodules
		return nil, false, nil
	}
	common := base.hash
	if base.fsMode().Type() != 0 {
		common = plumbing.ZeroHash // a link's target is no version of a file
	}
	h, ok, err := t.content(common, ours.hash, theirs.hash)
	return &entry{mode: mode, hash: h}, ok, err
}

func sameEntry(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.mode == b.mode && a.hash == b.hash
}

// content merges three versions of a file's content, of which the zero hash is none.
func (t *merger) content(hashes ...plumbing.Hash) (plumbing.Hash, bool, error) {
	var read [3][]byte
	for i, h := range hashes {
		if h.IsZero() {
			continue
		}
		if n, err := t.to.size(h); err == nil && n > maxMerged {
			return plumbing.ZeroHash, false, nil
		}
		var err error
		if read[i], err = t.m.blob(h); err != nil {
			return plumbing.ZeroHash, false, err
		}
	}
	text, ok := mergeText(read[0], read[1], read[2])
	if !ok || len(t.conflicts) > 0 {
		return plumbing.ZeroHash, ok, nil // if anything conflicts nothing is needed
	}
	h, err := t.write(plumbing.BlobObject, text)
	return h, true, err
}

// writeTree places a tree; one without entries is none.
func (t *merger) writeTree(entries tree) (plumbing.Hash, error) {
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	slices.SortFunc(entries, func(a, b entry) int { return compareEntries(&a, &b) })
	var b bytes.Buffer
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(&b, "%o %s\x00", uint32(e.mode), e.name)
		b.Write(e.hash[:])
	}
	h, err := t.write(plumbing.TreeObject, b.Bytes())
	if err == nil {
		t.m.trees.put(h, slices.Clip(entries))
	}
	return h, err
}
