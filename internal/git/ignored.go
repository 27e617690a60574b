package git

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

const (
	// maxPointer bounds the files that are looked at: a pointer of Git LFS is
	// smaller than 1,024 bytes by its specification.
	maxPointer = 1024
	// maxLooked bounds the entries that one call of Ignored looks at.
	maxLooked = 10_000
	// maxRemembered bounds what is remembered about trees and files.
	maxRemembered = 100_000

	pointerPrefix = "version https://git-lfs.github.com/spec/"
)

// The kinds of what is ignored, as Ignored and the log name them.
const (
	submoduleKind = "submodule"
	pointerKind   = "LFS file"
)

// isPointer reports whether a file stands for one that Git LFS keeps elsewhere.
func isPointer(content []byte) bool {
	return len(content) < maxPointer && bytes.HasPrefix(content, []byte(pointerPrefix))
}

// memory is a bounded set; it forgets everything when it is full.
type memory[K comparable] struct {
	mu  sync.Mutex
	set map[K]struct{}
}

func (s *memory[K]) has(k K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.set[k]
	return ok
}

// add reports whether k is new.
func (s *memory[K]) add(k K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.set[k]; ok {
		return false
	}
	if s.set == nil || len(s.set) >= maxRemembered {
		s.set = map[K]struct{}{}
	}
	s.set[k] = struct{}{}
	return true
}

// ignoredEntry is what was met at a path; it is news when either changes.
type ignoredEntry struct {
	path string
	hash plumbing.Hash
}

// warnIgnored logs that something of a commit is not used, once for each content
// that is at the path.
func (m *Mirror) warnIgnored(kind, commit, name string, h plumbing.Hash) {
	if !m.warned.add(ignoredEntry{name, h}) {
		return
	}
	means := "its files are in another repository and are left out"
	if kind == pointerKind {
		means = "only the pointer is in this repository and is used as the file"
	}
	m.log.Warn("a "+kind+" is ignored: "+means, "path", name, "commit", commit)
}

// Ignored lists what at or below the paths of a commit is not what it stands for,
// each with its kind: "submodule apps/x/lib", whose files are in another
// repository, and "LFS file apps/x/big.bin", of which only the pointer is here. It
// is sorted by path. Paths are as for Changed. Of very much it looks at the first
// 10,000 entries, not counting directories that it knows to have nothing.
func (m *Mirror) Ignored(ctx context.Context, commit string, paths []string) ([]string, error) {
	scope, err := newScope(paths)
	if err != nil || scope == nil {
		return nil, err
	}
	c, err := m.commit(commit)
	if err != nil {
		return nil, err
	}
	s := &search{ctx: ctx, m: m, left: maxLooked}
	if err := s.tree(c.tree, "", scope, 0); err != nil {
		return nil, fmt.Errorf("look through %.12s: %w", commit, err)
	}
	slices.SortFunc(s.found, func(a, b found) int { return strings.Compare(a.path, b.path) })
	var list []string
	for _, f := range s.found {
		list = append(list, f.kind+" "+f.path)
	}
	return list, nil
}

type found struct{ kind, path string }

type search struct {
	ctx   context.Context //nolint:containedctx // lives for one call
	m     *Mirror
	left  int
	found []found
}

func (s *search) tree(h plumbing.Hash, at string, in *scope, depth int) error {
	if s.left <= 0 || in.all && s.m.plain.has(h) {
		return nil
	}
	if depth > maxTreeDepth {
		return fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	if err := cancelled(s.ctx); err != nil {
		return err
	}
	t, err := s.m.tree(h)
	if err != nil {
		return err
	}
	before := len(s.found)
	for i := range t {
		e := &t[i]
		below := in.enter(e.name)
		if below == nil {
			continue
		}
		if s.left--; s.left < 0 {
			return nil
		}
		if e.isTree() {
			err = s.tree(e.hash, path.Join(at, e.name), below, depth+1)
		} else if below.all {
			err = s.file(e, path.Join(at, e.name))
		}
		if err != nil {
			return err
		}
	}
	if in.all && len(s.found) == before && s.left > 0 {
		s.m.plain.add(h)
	}
	return nil
}

func (s *search) file(e *entry, full string) error {
	switch e.fsMode().Type() {
	case fs.ModeIrregular:
		s.found = append(s.found, found{submoduleKind, full})
	case 0:
		pointer, err := s.m.pointer(e.hash)
		if err != nil {
			return err
		}
		if pointer {
			s.found = append(s.found, found{pointerKind, full})
		}
	}
	return nil
}

// pointer reports whether a blob is one of Git LFS; only small ones are read.
func (m *Mirror) pointer(h plumbing.Hash) (bool, error) {
	if m.plain.has(h) {
		return false, nil
	}
	b, err := m.current()
	if err != nil {
		return false, err
	}
	if n, err := b.db.size(h); err != nil || n < maxPointer { // an error is met again, with what it means
		content, err := m.blob(h)
		if err != nil || isPointer(content) {
			return err == nil, err
		}
	}
	m.plain.add(h)
	return false, nil
}
