package git

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// FS returns the files at a commit, named in full. Only the trees asked for are
// read. Symbolic links are never followed: they are listed as fs.ModeSymlink,
// Stat describes the link itself, and opening one is an error (ReadLink reads
// it). Submodules are listed as fs.ModeIrregular. Files are 0644 or 0755.
//
// fs.ErrNotExist means that the commit has no such file. A commit that is not
// in the mirror, or damage, is never that.
func (m *Mirror) FS(commit string) fs.FS {
	return &commitFS{m: m, commit: commit}
}

type commitFS struct {
	m      *Mirror
	commit string

	mu   sync.Mutex
	root *entry
	when time.Time
}

var (
	_ fs.ReadDirFS  = (*commitFS)(nil)
	_ fs.ReadFileFS = (*commitFS)(nil)
	_ fs.StatFS     = (*commitFS)(nil)
	_ fs.ReadLinkFS = (*commitFS)(nil)
)

// start reads the commit once; an error is not kept, since a later fetch may
// bring the commit or repair the mirror.
func (f *commitFS) start() (*entry, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root == nil {
		c, err := f.m.commit(f.commit)
		if err != nil {
			return nil, time.Time{}, err
		}
		f.root, f.when = rootEntry(c), time.Unix(c.when, 0)
	}
	return f.root, f.when, nil
}

func rootEntry(c *commitInfo) *entry {
	return &entry{name: ".", mode: 0o040000, hash: c.tree}
}

// lookup finds a path below a tree; nil if there is nothing.
func (m *Mirror) lookup(root *entry, name string) (*entry, error) {
	e := root
	if name == "." {
		return e, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !e.isTree() {
			return nil, nil
		}
		t, err := m.tree(e.hash)
		if err != nil {
			return nil, err
		}
		if e = t.find(part); e == nil {
			return nil, nil
		}
	}
	return e, nil
}

func (f *commitFS) find(op, name string) (*fileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	root, when, err := f.start()
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	e, err := f.m.lookup(root, name)
	if err == nil && e == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return &fileInfo{m: f.m, e: e, when: when}, nil
}

// Stat describes a file; its size is read from the object's header.
func (f *commitFS) Stat(name string) (fs.FileInfo, error) {
	info, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info.Info()
}

// Lstat is Stat, which follows no links either.
func (f *commitFS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink returns where a symbolic link points.
func (f *commitFS) ReadLink(name string) (string, error) {
	info, err := f.find("readlink", name)
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	b, err := f.m.blob(info.e.hash)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(b), nil
}

// ReadFile returns a regular file's content.
func (f *commitFS) ReadFile(name string) ([]byte, error) {
	info, err := f.find("read", name)
	if err != nil {
		return nil, err
	}
	b, err := info.content()
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// ReadDir lists a directory, ordered by name.
func (f *commitFS) ReadDir(name string) ([]fs.DirEntry, error) {
	info, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	list, err := info.list()
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, nil
}

// Open opens a regular file or a directory.
func (f *commitFS) Open(name string) (fs.File, error) {
	info, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		list, err := info.list()
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{fileInfo: info, rest: list}, nil
	}
	b, err := info.content()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	info.size = int64(len(b))
	return &openFile{fileInfo: info, Reader: bytes.NewReader(b)}, nil
}

// fileInfo is a tree's entry as fs.DirEntry and, once Info gave it its size,
// as fs.FileInfo.
type fileInfo struct {
	m    *Mirror
	e    *entry
	when time.Time
	size int64
}

func (i *fileInfo) Name() string       { return i.e.name }
func (i *fileInfo) IsDir() bool        { return i.e.isTree() }
func (i *fileInfo) Mode() fs.FileMode  { return i.e.fsMode() }
func (i *fileInfo) Type() fs.FileMode  { return i.e.fsMode().Type() }
func (i *fileInfo) Size() int64        { return i.size }
func (i *fileInfo) ModTime() time.Time { return i.when } // the commit's
func (i *fileInfo) Sys() any           { return nil }
func (i *fileInfo) String() string     { return fs.FormatFileInfo(i) }

// Info reads the size of a file.
func (i *fileInfo) Info() (fs.FileInfo, error) {
	if i.Type()&^fs.ModeSymlink != 0 {
		return i, nil
	}
	b, err := i.m.current()
	if err != nil {
		return nil, err
	}
	full := *i
	if full.size, err = b.db.size(i.e.hash); err != nil {
		// Reading opens packs anew, and tells damage from a failure to read.
		content, err := i.m.blob(i.e.hash)
		if err != nil {
			return nil, err
		}
		full.size = int64(len(content))
	}
	return &full, nil
}

func (i *fileInfo) content() ([]byte, error) {
	switch i.Type() {
	case 0:
		return i.m.blob(i.e.hash)
	case fs.ModeDir:
		return nil, fmt.Errorf("%w: is a directory", fs.ErrInvalid)
	case fs.ModeSymlink:
		return nil, fault.Errorf(fault.Invalid, "is a symbolic link, which is not followed")
	default:
		return nil, fault.Errorf(fault.Invalid, "is a submodule, whose files are in another repository")
	}
}

func (i *fileInfo) list() ([]fs.DirEntry, error) {
	if !i.IsDir() {
		return nil, fmt.Errorf("%w: not a directory", fs.ErrInvalid)
	}
	t, err := i.m.tree(i.e.hash)
	if err != nil {
		return nil, err
	}
	infos := make([]fileInfo, len(t))
	list := make([]fs.DirEntry, len(t))
	inOrder := true
	for n := range t {
		infos[n] = fileInfo{m: i.m, e: &t[n], when: i.when}
		list[n] = &infos[n]
		inOrder = inOrder && (n == 0 || t[n-1].name < t[n].name)
	}
	if !inOrder {
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return list, nil
}

type openFile struct {
	*fileInfo
	*bytes.Reader
}

func (o *openFile) Size() int64                { return o.size }
func (o *openFile) Stat() (fs.FileInfo, error) { return o.fileInfo, nil }
func (o *openFile) Close() error               { return nil }

type openDir struct {
	*fileInfo
	rest []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.fileInfo, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.Name(), Err: fs.ErrInvalid}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(o.rest) {
		if n > 0 && len(o.rest) == 0 {
			return nil, io.EOF
		}
		n = len(o.rest)
	}
	list := slices.Clone(o.rest[:n])
	o.rest = o.rest[n:]
	return list, nil
}

// TreeID returns the hash of the tree or blob at a path of a commit, or "" if
// there is nothing. Equal hashes mean equal content; a file's mode and, for the
// path's own last name, its kind are not part of it.
func (m *Mirror) TreeID(commit, name string) (string, error) {
	clean := path.Clean(name)
	if !fs.ValidPath(clean) {
		return "", fault.Errorf(fault.Invalid, "path %q leads out of the repository", name)
	}
	c, err := m.commit(commit)
	if err != nil {
		return "", err
	}
	e, err := m.lookup(rootEntry(c), clean)
	if err != nil {
		return "", fmt.Errorf("%s at %.12s: %w", clean, commit, err)
	}
	if e == nil {
		return "", nil
	}
	return e.hash.String(), nil
}
