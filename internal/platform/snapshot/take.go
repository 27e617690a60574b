package snapshot

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Take saves a tenant's data, and returns the snapshot's name; "" if there are none.
func (k *Keeper) Take(ctx context.Context, s Subject) (string, error) {
	if err := s.Settle(ctx); err != nil {
		return "", err
	}
	_, database, err := s.Databases.Has(ctx, s.Tenant)
	if err != nil {
		return "", err
	}
	keys, err := s.Keys.Has(ctx, s.Tenant)
	if err != nil || !database && !keys {
		return "", err
	}
	dir, remove, err := k.temp(s.Tenant)
	if err != nil {
		return "", err
	}
	defer remove()
	t := taking{Subject: s, k: k, dir: dir, m: Manifest{Tenant: s.Tenant, At: time.Now().UTC()}}
	name := t.m.At.Format(timeForm)
	if t.w, err = k.Store.Create(ctx, s.Tenant, name); err != nil {
		return "", err
	}
	if err := t.fill(ctx, database); err != nil {
		return "", err
	}
	manifest, err := t.m.encode()
	if err != nil {
		return "", err
	}
	if err := t.w.Commit(ctx, manifest); err != nil {
		return "", err
	}
	return name, k.prune(ctx, s.Tenant)
}

// taking is a snapshot that is being taken.
type taking struct {
	Subject
	k   *Keeper
	dir string // for files that are being written
	w   Writer
	mu  sync.Mutex
	m   Manifest
}

func (t *taking) fill(ctx context.Context, database bool) error {
	if database {
		if err := t.saveDatabase(ctx); err != nil {
			return err
		}
	}
	if err := t.saveKeys(ctx); err != nil {
		return err
	}
	if err := t.saveRelease(ctx); err != nil {
		return err
	}
	served, err := t.Assets.Served(ctx, t.dir, func(ctx context.Context, name, source string) error {
		return t.put(ctx, path.Join(staticDir, name), source)
	})
	t.m.Static = served
	return err
}

// write has a file written and put.
func (t *taking) write(ctx context.Context, name string, fill func(*os.File) error) error {
	f, err := os.OpenFile(filepath.Join(t.dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // at once: a dump may be long
	defer f.Close()
	if err := errors.Join(fill(f), f.Sync()); err != nil {
		return err
	}
	return t.put(ctx, name, f.Name())
}

func (t *taking) saveDatabase(ctx context.Context) (err error) {
	if t.m.Postgres, err = t.Databases.Version(ctx); err != nil {
		return err
	}
	return t.write(ctx, databaseFile, func(f *os.File) error {
		room := &limited{f: f, left: t.k.Limit}
		var w io.Writer = f
		if t.k.Limit > 0 {
			w = room
		}
		err := t.Databases.Dump(ctx, t.Tenant, w)
		if room.full {
			return fault.Errorf(fault.Stalled, "the dump of the database takes more than %d bytes of local disk", t.k.Limit).
				WithHint("give the control plane more of it")
		}
		if err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		t.m.Tables, err = t.Databases.Tables(ctx, f)
		return err
	})
}

func (t *taking) saveKeys(ctx context.Context) error {
	return t.write(ctx, keysFile, func(f *os.File) (err error) {
		w := bufio.NewWriter(f)
		if t.m.Keys, err = t.Keys.Dump(ctx, t.Tenant, w); err != nil {
			return err
		}
		return w.Flush()
	})
}

// saveRelease keeps the current release. Without a whole one, the data are
// worth saving all the same.
func (t *taking) saveRelease(ctx context.Context) error {
	p, ok, err := t.Volume.Current()
	if err != nil || !ok {
		return nil //nolint:nilerr // see above
	}
	t.m.Release = &p
	m, err := t.Volume.Manifest(p.SHA256)
	if err == nil {
		err = t.Volume.Verify(p.SHA256)
	}
	if err != nil {
		t.k.Logger.Warn("the snapshot has no release: the current one is not whole", "tenant", t.Tenant, "error", err)
		return nil
	}
	files := []release.File{{Path: ManifestFile, SHA256: p.SHA256, Size: int64(len(m.Encode()))}, m.Binary}
	for part, of := range parts(m) {
		for _, f := range of {
			f.Path = path.Join(string(part), f.Path)
			files = append(files, f)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, f := range files {
		group.Go(func() error {
			source := filepath.Join(t.Volume.Path(p.SHA256), filepath.FromSlash(f.Path))
			f.Path = path.Join(releaseDir, f.Path)
			return t.keep(ctx, f, source)
		})
	}
	return group.Wait()
}

// parts are the files of a release beside its binary.
func parts(m release.Manifest) map[release.Part][]release.File {
	return map[release.Part][]release.File{release.Static: m.Static, release.Migrations: m.Migrations}
}

// put keeps a file and lists it.
func (t *taking) put(ctx context.Context, name, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := digest(f, name)
	if err != nil {
		return err
	}
	return t.keep(ctx, file, source)
}

// keep keeps a file whose digest is known.
func (t *taking) keep(ctx context.Context, f release.File, source string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.w.Put(ctx, f, source); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.m.Files = append(t.m.Files, f)
	return nil
}

// limited is a file that takes so many bytes more.
type limited struct {
	f    *os.File
	left int64
	full bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		l.full = true
		return 0, io.ErrShortWrite
	}
	return l.f.Write(p)
}
