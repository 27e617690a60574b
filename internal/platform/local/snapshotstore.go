package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/release"
)

// snapshotStore keeps snapshots as directories, <dir>/<tenant>/<name>. One was
// used when its directory was last changed. The directory appears by a rename,
// and nothing in it is written to afterwards.
type snapshotStore struct{ dir string }

var _ snapshot.Store = snapshotStore{}

func (s snapshotStore) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s snapshotStore) List(_ context.Context, tenant string) ([]snapshot.Kept, error) {
	entries, err := os.ReadDir(s.path(tenant)) // sorted, and the names sort by time
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var there []snapshot.Kept
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		there = append(there, snapshot.Kept{Name: e.Name(), Used: info.ModTime()})
	}
	return there, nil
}

func (s snapshotStore) Create(_ context.Context, tenant, name string) (snapshot.Writer, error) {
	w := snapshotWriter{all: s.path(tenant), begun: s.path(tenant, ".new"), name: name}
	return w, errors.Join(os.RemoveAll(w.begun), os.MkdirAll(w.begun, 0o700))
}

func (s snapshotStore) Open(_ context.Context, tenant, name string) (snapshot.Files, error) {
	root, err := os.OpenRoot(s.path(tenant, name))
	if err != nil {
		return nil, err
	}
	return snapshotFiles{root}, nil
}

func (s snapshotStore) Use(_ context.Context, tenant, name string) error {
	now := time.Now()
	return os.Chtimes(s.path(tenant, name), now, now)
}

func (s snapshotStore) Remove(_ context.Context, tenant, name string) error {
	return os.RemoveAll(s.path(tenant, name))
}

func (s snapshotStore) RemoveAll(_ context.Context, tenant string) error {
	return errors.Join(os.RemoveAll(s.path(tenant)), durable.SyncDir(s.dir))
}

type snapshotWriter struct{ all, begun, name string }

func (w snapshotWriter) Put(_ context.Context, f release.File, source string) error {
	return keep(source, filepath.Join(w.begun, filepath.FromSlash(f.Path)))
}

func (w snapshotWriter) Commit(_ context.Context, manifest []byte) error {
	if err := syncDirs(w.begun); err != nil {
		return err
	}
	err := durable.Write(filepath.Join(w.begun, snapshot.ManifestFile), manifest, 0o600, durable.Owner{})
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(w.begun, filepath.Join(w.all, w.name)), durable.SyncDir(w.all))
}

type snapshotFiles struct{ root *os.Root }

func (s snapshotFiles) Close() error { return s.root.Close() }

func (s snapshotFiles) List(context.Context) ([]string, error) {
	var names []string
	err := fs.WalkDir(s.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

func (s snapshotFiles) Open(_ context.Context, path string) (io.ReadCloser, error) {
	f, err := s.root.OpenFile(filepath.FromSlash(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil { // a link that leads out of the snapshot, for one
		return nil, fault.Errorf(fault.Invalid, "%s cannot be opened: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Errorf(fault.Invalid, "%s is no file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// keep has what never changes at two places: as a link, or where the file
// system will not, as a copy.
func keep(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return errors.Join(out.Sync(), out.Close())
}

// syncDirs has the entries of dir and of all directories below on disk.
func syncDirs(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return durable.SyncDir(name)
	})
}
