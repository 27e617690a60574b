package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// errIndirect means that a local repository cannot be read directly.
var errIndirect = errors.New("not readable directly")

// repository is where a local repository keeps its refs and objects: the
// common directory, shared by all linked worktrees.
type repository struct {
	dir     string
	objects []string // object directories: its own, then its alternates'
}

// locate finds the repository at path: a working tree, a linked worktree, a
// submodule or a bare repository. One that is errIndirect is returned as well.
func locate(path string) (*repository, error) {
	dir, err := gitDir(path)
	if err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		dir = resolve(dir, string(b))
	}
	r := &repository{dir: dir}
	err = r.checkFormat()
	if err == nil {
		err = r.addObjects(filepath.Join(dir, "objects"), 0)
	}
	return r, err
}

// stamp changes when a ref may have moved, where refs cannot be read.
func (r *repository) stamp() string {
	tables, _ := os.ReadFile(filepath.Join(r.dir, "reftable", "tables.list")) // none: no refs
	packed, _ := os.ReadFile(filepath.Join(r.dir, "packed-refs"))
	return string(tables) + string(packed)
}

func resolve(base, path string) string {
	path = strings.TrimRight(path, "\r\n")
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

func gitDir(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", pathError(path, err)
	}
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case err == nil && info.IsDir():
		return dot, nil
	case err == nil:
		b, err := os.ReadFile(dot)
		if err != nil {
			return "", pathError(path, err)
		}
		target, ok := strings.CutPrefix(string(b), "gitdir: ")
		if !ok {
			return "", notARepository(path)
		}
		return resolve(path, target), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", pathError(path, err)
	}
	for _, need := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(path, need)); err != nil {
			return "", notARepository(path)
		}
	}
	return path, nil
}

func notARepository(path string) error {
	return fault.Errorf(fault.NotFound, "%s is not a git repository", path).
		WithHint("run git init there, or point --repo at the root of a clone")
}

func pathError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Errorf(fault.NotFound, "repository %s does not exist", path).WithHint("check the path of the repository")
	}
	return fault.Errorf(fault.Transient, "read repository %s: %w", path, err).WithHint("check the permissions of the repository")
}

// checkFormat reads the repository's config for formats that go-git does not know.
func (r *repository) checkFormat() error {
	b, err := os.ReadFile(filepath.Join(r.dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError(r.dir, err)
	}
	c := config.NewConfig()
	if err := c.Unmarshal(b); err != nil {
		return fault.Errorf(fault.Invalid, "config of repository %s: %w", r.dir, err)
	}
	extensions := c.Raw.Section("extensions")
	if f := extensions.Option("objectformat"); f != "" && !strings.EqualFold(f, "sha1") {
		return fault.Errorf(fault.Invalid, "repository %s names objects by %s", r.dir, f).
			WithHint("only repositories with SHA-1 names can be followed")
	}
	if f := extensions.Option("refstorage"); f != "" && !strings.EqualFold(f, "files") {
		return fmt.Errorf("refs stored as %s: %w", f, errIndirect)
	}
	return nil
}

func (r *repository) addObjects(dir string, depth int) error {
	if slices.Contains(r.objects, dir) {
		return nil
	}
	if filepath.Base(dir) != "objects" || depth > 5 {
		return fmt.Errorf("objects in %s: %w", dir, errIndirect)
	}
	if _, err := os.Stat(dir); err != nil {
		return pathError(dir, err)
	}
	r.objects = append(r.objects, dir)
	b, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '"':
			return fmt.Errorf("quoted alternates: %w", errIndirect)
		default:
			if err := r.addObjects(resolve(dir, line), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve returns what the wanted refs point to, a tag's object unpeeled;
// NotFound, with what there is instead, if none exists.
func (r *repository) resolve(want wanted) (plumbing.Hash, error) {
	// A ref that is being packed is in neither place for a reader that looks at
	// the packed ones before they are written and at the loose one after it is
	// gone; looking again finds it.
	for range 3 {
		_, h, err := want.pick(func(ref string) (plumbing.Hash, error) { return r.ref(ref, 0) })
		if err != nil || !h.IsZero() {
			return h, err
		}
	}
	return plumbing.ZeroHash, want.missing(r.dir, r.branches())
}

// ref resolves a ref; the zero hash means that it does not exist.
func (r *repository) ref(name string, depth int) (plumbing.Hash, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(name)))
	switch {
	case err == nil:
	case os.IsPermission(err):
		return plumbing.ZeroHash, pathError(r.dir, err)
	default: // missing, or a directory
		return r.packedRef(name)
	}
	value := strings.TrimSpace(string(b))
	if target, ok := strings.CutPrefix(value, "ref: "); ok {
		if depth > 5 || !strings.HasPrefix(target, "refs/") || !fs.ValidPath(target) {
			return plumbing.ZeroHash, fault.Errorf(fault.Invalid, "ref %s of %s points to %q", name, r.dir, target)
		}
		return r.ref(target, depth+1)
	}
	if !plumbing.IsHash(value) {
		return plumbing.ZeroHash, fault.Errorf(fault.Transient, "ref %s of %s is not a commit's name", name, r.dir).
			WithHint("run git fsck in the repository")
	}
	return plumbing.NewHash(value), nil
}

func (r *repository) packedRef(name string) (plumbing.Hash, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, pathError(r.dir, err)
	}
	suffix := []byte(" " + name + "\n")
	at := bytes.Index(append(b, '\n'), suffix)
	if at < 40 || !plumbing.IsHash(string(b[at-40:at])) {
		return plumbing.ZeroHash, nil
	}
	return plumbing.NewHash(string(b[at-40 : at])), nil
}

// branches returns the names of all branches, sorted, for hints.
func (r *repository) branches() []string {
	var names []string
	heads := filepath.Join(r.dir, "refs", "heads")
	_ = filepath.WalkDir(heads, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".lock") {
			rel, _ := filepath.Rel(heads, path) // path is below heads
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	if f, err := os.Open(filepath.Join(r.dir, "packed-refs")); err == nil {
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if _, name, ok := strings.Cut(lines.Text(), " refs/heads/"); ok {
				names = append(names, name)
			}
		}
		_ = f.Close()
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shallow returns the commits whose parents the repository does not have.
func (r *repository) shallow() (map[plumbing.Hash]bool, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, "shallow"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathError(r.dir, err)
	}
	return parseShallow(b), nil
}

func parseShallow(b []byte) map[plumbing.Hash]bool {
	set := map[plumbing.Hash]bool{}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); plumbing.IsHash(line) {
			set[plumbing.NewHash(line)] = true
		}
	}
	return set
}

// local is a source on this machine, read directly.
type local struct {
	path  string
	want  wanted
	trees *treeCache

	repo *repository
	db   *store // of repo
}

func (l *local) close() {
	if l.db != nil {
		l.db.Close()
	}
	l.repo, l.db = nil, nil
}

// open locates the repository, anew each time: it costs microseconds, and the
// path may hold another repository by now.
func (l *local) open() error {
	repo, err := locate(l.path)
	if err != nil {
		l.close()
		return err
	}
	if l.repo == nil || repo.dir != l.repo.dir || !slices.Equal(repo.objects, l.repo.objects) {
		l.close()
		l.db = newStore(repo.objects...)
	}
	l.repo = repo
	return nil
}

// fetch brings the commit that is wanted into dst and returns it.
func (l *local) fetch(ctx context.Context, dst *bare, last plumbing.Hash) (plumbing.Hash, error) {
	if !last.IsZero() && l.want.commit == last && dst.db.has(last) {
		return last, nil
	}
	var head plumbing.Hash
	err := l.retry(func() (err error) {
		head, err = l.fetchOnce(ctx, dst, last)
		return err
	})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return head, nil
}

// retry reads the repository until it is not rewritten meanwhile; an error that
// wraps errSource says that it lacks something each time.
func (l *local) retry(read func() error) error {
	var err error
	for range 5 {
		if err = read(); err == nil || !errors.Is(err, errSource) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.close() // repacked or pruned while we read: look again
	}
	return fault.Errorf(fault.Transient, "read repository %s: %w", l.path, err).
		WithHint("run git fsck in the repository; it lacks an object, or was rewritten while it was read")
}

func (l *local) fetchOnce(ctx context.Context, dst *bare, last plumbing.Hash) (plumbing.Hash, error) {
	if err := l.open(); err != nil {
		return plumbing.ZeroHash, err
	}
	head, err := l.commit()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if head == last && dst.db.has(head) {
		return head, nil
	}
	if _, err := l.bring(ctx, dst, head, last); err != nil {
		return plumbing.ZeroHash, err
	}
	return head, nil
}

// bring takes over head and all it needs, where some commits are complete. It
// reports whether it took over everything there is, unseen.
func (l *local) bring(ctx context.Context, dst *bare, head plumbing.Hash, complete ...plumbing.Hash) (adopted bool, err error) {
	shallow, err := l.repo.shallow()
	if err != nil {
		return false, err
	}
	cuts, deeper, err := dst.mergeShallow(l.db, shallow)
	if err != nil {
		return false, err
	}
	err = errTooMany
	if !dst.empty && !deeper {
		c := &copier{src: l.db, dst: dst.db, trees: l.trees, shallow: cuts, limit: maxCopied}
		err = c.copy(ctx, head, complete...)
	}
	if errors.Is(err, errTooMany) {
		adopted, err = true, dst.adopt(ctx, l.repo.objects, head)
	}
	if err == nil && deeper {
		err = dst.deepen(l.db, shallow)
	}
	return adopted, err
}

// obtain brings the targets into dst, each by its name.
func (l *local) obtain(ctx context.Context, dst *bare, complete []plumbing.Hash, targets []target,
	failed map[plumbing.Hash]error,
) (got []plumbing.Hash, err error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	for _, t := range targets {
		err := l.retry(func() error { return l.obtainOnce(ctx, dst, complete, t) })
		var known *fault.Error
		switch {
		case err == nil:
			got = append(got, t.hash)
		case errors.Is(err, errSource) && l.reaches(t):
			failed[t.hash] = err
		case errors.Is(err, errSource):
			failed[t.hash] = t.lost(l.repo.dir) // pruned in part
		case errors.As(err, &known) && !known.Kind.Retryable():
			failed[t.hash] = err
		default:
			return got, err
		}
	}
	return got, nil
}

// reaches reports whether the target's ref, if it has one, is at it.
func (l *local) reaches(t target) bool {
	if t.ref == "" || l.open() != nil {
		return false
	}
	h, err := l.repo.ref(t.ref, 0)
	return err == nil && h == t.hash
}

func (l *local) obtainOnce(ctx context.Context, dst *bare, complete []plumbing.Hash, t target) error {
	if err := l.open(); err != nil {
		return err
	}
	if _, _, err := l.db.read(t.hash); errors.Is(err, errAbsent) {
		return t.lost(l.repo.dir)
	}
	adopted, err := l.bring(ctx, dst, t.hash, complete...)
	if err != nil || !adopted {
		return err
	}
	// What no ref of the source reaches may lack something there.
	cuts, err := dst.shallow()
	if err != nil {
		return err
	}
	c := &copier{src: dst.db, dst: dst.db, trees: l.trees, shallow: cuts, limit: math.MaxInt}
	return c.copy(ctx, t.hash, complete...)
}

// commit returns the commit that is wanted, behind its tags.
func (l *local) commit() (plumbing.Hash, error) {
	h := l.want.commit
	if h.IsZero() {
		var err error
		if h, err = l.repo.resolve(l.want); err != nil || l.want.branch {
			return h, err
		}
	}
	for range maxTagDepth {
		typ, content, err := l.db.read(h)
		switch {
		case errors.Is(err, errAbsent) && h == l.want.commit:
			return plumbing.ZeroHash, l.want.missing(l.repo.dir, nil)
		case err != nil:
			return plumbing.ZeroHash, sourceError(err)
		case typ == plumbing.CommitObject:
			return h, nil
		case typ != plumbing.TagObject:
			return plumbing.ZeroHash, fault.Errorf(fault.Invalid, "%s names a %s, not a commit", l.want.name, typ)
		}
		target, ok := strings.CutPrefix(string(content), "object ")
		if len(target) < 40 || !ok || !plumbing.IsHash(target[:40]) {
			return plumbing.ZeroHash, sourceError(damaged("tag %s names no object", h))
		}
		h = plumbing.NewHash(target[:40])
	}
	return plumbing.ZeroHash, fault.Errorf(fault.Invalid, "%s is a tag of a tag of a tag, %d deep", l.want.name, maxTagDepth)
}
