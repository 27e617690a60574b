package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Export makes dir hold exactly the tree at a path of a commit: files that are
// there already keep their modification times, changed ones are replaced by
// rename, what the tree does not have is deleted. Files are 0644 or 0755.
//
// Submodules are left out, and a pointer of Git LFS is written as it is; the log
// warns of both when they are new. Trees with symbolic links or names that mean
// something to git or the file system are fault.Invalid, and dir is left as it
// was; a path that is not a directory of the commit is fault.NotFound. A file <dir>.index beside
// dir remembers which content each file has, so that an unchanged one costs one
// lstat; it is only a memory: without it, or after anything else, contents are
// compared. Exports to one dir exclude each other by <dir>.lock, also between
// processes.
func (m *Mirror) Export(ctx context.Context, commit, name, dir string) error {
	x := &exporter{m: m, commit: commit, name: path.Clean(name), files: map[string]*entry{}, dirs: map[string]bool{".": true}}
	if err := x.plan(ctx, commit, name); err != nil {
		return fmt.Errorf("export %s at %.12s: %w", name, commit, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer unlock()
	if x.root, err = os.OpenRoot(dir); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer func() { _ = x.root.Close() }()
	x.index = readIndex(dir + ".index")
	if err := x.apply(ctx, dir); err != nil {
		return fmt.Errorf("export %s to %s: %w", name, dir, err)
	}
	return nil
}

type exporter struct {
	m      *Mirror
	commit string
	name   string // what is exported, for messages

	root  *os.Root // nothing outside it is touched, whatever links are put into it
	files map[string]*entry
	dirs  map[string]bool
	index *exportIndex
	fresh exportIndex // what is true after this export
}

// plan lists what the tree has, and refuses what may not be written.
func (x *exporter) plan(ctx context.Context, commit, name string) error {
	clean := path.Clean(name)
	if !fs.ValidPath(clean) {
		return fault.Errorf(fault.Invalid, "path %q leads out of the repository", name)
	}
	c, err := x.m.commit(commit)
	if err != nil {
		return err
	}
	e, err := x.m.lookup(rootEntry(c), clean)
	if err != nil {
		return err
	}
	if e == nil || !e.isTree() {
		return fault.Errorf(fault.NotFound, "there is no directory %s", clean).
			WithHint("add it to the repository, or correct the path")
	}
	return x.list(ctx, e.hash, "", 0)
}

func (x *exporter) list(ctx context.Context, h plumbing.Hash, at string, depth int) error {
	if err := cancelled(ctx); err != nil {
		return err
	}
	if depth > maxTreeDepth {
		return fault.Errorf(fault.Invalid, "directories are nested deeper than %d", maxTreeDepth)
	}
	t, err := x.m.tree(h)
	if err != nil {
		return err
	}
	for i := range t {
		e := &t[i]
		full := path.Join(at, e.name)
		if !exportable(e.name) {
			return fault.Errorf(fault.Invalid, "%s: a file may not have this name", full)
		}
		switch typ := e.fsMode().Type(); {
		case typ == fs.ModeSymlink:
			return fault.Errorf(fault.Invalid, "%s is a symbolic link", full).WithHint("replace it by a file")
		case typ == fs.ModeIrregular:
			x.m.warnIgnored(submoduleKind, x.commit, path.Join(x.name, full), e.hash)
		case x.dirs[full] || x.files[full] != nil:
			return fault.Errorf(fault.Invalid, "%s exists twice", full)
		case e.isTree():
			x.dirs[full] = true
			if err := x.list(ctx, e.hash, full, depth+1); err != nil {
				return err
			}
		default:
			x.files[full] = e
		}
	}
	return nil
}

// exportable refuses names that git or a case-insensitive file system may take
// for its own directory, and such as cannot be written.
func exportable(name string) bool {
	lower := strings.ToLower(strings.TrimRight(name, ". "))
	return lower != ".git" && lower != "git~1" && !strings.HasPrefix(name, temporaryPrefix) && !strings.ContainsAny(name, "\\\x00\n") && filepath.IsLocal(name)
}

// apply makes the directory what was planned. Wrong things go first, so that
// nothing is written through a link.
func (x *exporter) apply(ctx context.Context, dir string) error {
	if err := x.prune("."); err != nil {
		return err
	}
	for name := range x.dirs {
		if err := x.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	x.fresh.files = make(map[string]indexed, len(x.files))
	var failed error
	for name, e := range x.files {
		if failed = cancelled(ctx); failed != nil {
			break
		}
		if failed = x.file(name, e); failed != nil {
			break
		}
	}
	if failed == nil && x.index.same(&x.fresh) {
		return nil
	}
	return errors.Join(failed, x.fresh.write(dir+".index"))
}

// prune removes what is not planned, or is of another kind than planned.
func (x *exporter) prune(at string) error {
	d, err := x.root.Open(at)
	if err != nil {
		return err
	}
	list, err := d.ReadDir(-1)
	_ = d.Close()
	if err != nil {
		return err
	}
	for _, found := range list {
		full := path.Join(at, found.Name())
		switch {
		case found.IsDir() && x.dirs[full]:
			err = x.prune(full)
		case found.Type().IsRegular() && x.files[full] != nil:
		default:
			err = x.root.RemoveAll(full)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file brings one file to its planned content and mode.
func (x *exporter) file(name string, e *entry) error {
	info, err := x.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return x.write(name, e)
	case err != nil:
		return err
	}
	if !x.index.confirms(name, e, info) {
		same, err := x.holds(name, e, info)
		if err != nil {
			return err
		}
		if !same {
			return x.write(name, e)
		}
	}
	if info.Mode().Perm() != e.fsMode() {
		if err := x.root.Chmod(name, e.fsMode()); err != nil {
			return err
		}
	}
	x.fresh.add(name, e, info)
	return nil
}

// holds reports whether the file has the planned content.
func (x *exporter) holds(name string, e *entry, info fs.FileInfo) (bool, error) {
	if info.Size() > maxObject {
		return false, nil
	}
	b, err := x.root.ReadFile(name)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return err == nil && hashOf(plumbing.BlobObject, b) == e.hash, err
}

func (x *exporter) write(name string, e *entry) error {
	content, err := x.m.blob(e.hash)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if isPointer(content) {
		x.m.warnIgnored(pointerKind, x.commit, path.Join(x.name, name), e.hash)
	}
	// One that a killed export left behind is replaced here, or pruned by the next.
	temporary := path.Join(path.Dir(name), temporaryPrefix+e.hash.String())
	if err := x.root.RemoveAll(temporary); err != nil {
		return err
	}
	f, err := x.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(e.fsMode()))
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = x.root.Rename(temporary, name)
	}
	if err != nil {
		_ = x.root.Remove(temporary)
		return err
	}
	x.fresh.add(name, e, info)
	return nil
}

// temporaryPrefix begins the names of files being written; no tree may have it.
const temporaryPrefix = ".gitopsd-export-"
