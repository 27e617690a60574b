package local

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/local/durable"
	"github.com/gitopsd/gitopsd/internal/release"
)

// keptSnapshots is how many of a tenant are kept.
const keptSnapshots = 5

// Names in a snapshot's directory.
const (
	manifestFile = "manifest.json" // a snapshot
	databaseFile = "database.dump" // for pg_restore
	cacheFile    = "cache.jsonl"   // a tenantkeys.Entry a line
	releaseDir   = "release"       // as on the volume
	staticDir    = "static"        // the assets served
)

// snapshotTime is how a snapshot is named.
const snapshotTime = "20060102T150405.000000Z"

// snapshot describes one, as its manifest.
type snapshot struct {
	Tenant   string           `json:"tenant"`
	At       time.Time        `json:"at"`
	Postgres string           `json:"postgres,omitempty"` // version of the server
	Release  *release.Pointer `json:"release,omitempty"`  // the current one
	Static   string           `json:"static,omitempty"`   // release whose assets were served
	Tables   int              `json:"tables"`             // that have their rows in the dump
	Keys     int              `json:"keys"`
	Files    []release.File   `json:"files"` // all but the manifest, by path
}

// file returns a file's entry, or false.
func (s *snapshot) file(name string) (release.File, bool) {
	for _, f := range s.Files {
		if f.Path == name {
			return f, true
		}
	}
	return release.File{}, false
}

// Snapshot implements platform.Platform.
func (d *Driver) Snapshot(ctx context.Context, tenant string) (string, error) {
	if err := checkTenant(tenant); err != nil {
		return "", err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return "", err
	}
	defer unlock()
	path, err := d.snapshot(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("snapshot of %s: %w", tenant, err)
	}
	return path, nil
}

func (d *Driver) snapshot(ctx context.Context, tenant string) (string, error) {
	all := d.path("snapshots", tenant)
	st, err := d.load(tenant)
	if err != nil {
		return "", err
	}
	if st != nil && st.Leaving {
		names, err := snapshotNames(all)
		if err != nil || len(names) == 0 {
			return "", err
		}
		return filepath.Join(all, names[len(names)-1]), nil
	}
	if err := d.settle(ctx, tenant); err != nil {
		return "", err
	}
	_, database, err := d.postgres.Databases().Has(ctx, tenant)
	if err != nil {
		return "", err
	}
	keys, err := d.redis.Keys().Has(ctx, tenant)
	if err != nil || !database && !keys {
		return "", err
	}
	begun := filepath.Join(all, ".new")
	if err := os.RemoveAll(begun); err != nil {
		return "", err
	}
	if err := os.MkdirAll(begun, 0o700); err != nil {
		return "", err
	}
	s := snapshot{Tenant: tenant, At: time.Now().UTC()}
	if st != nil {
		s.Static = st.Static
	}
	if err := d.fillSnapshot(ctx, &s, begun, database); err != nil {
		return "", err
	}
	path := filepath.Join(all, s.At.Format(snapshotTime))
	if err := os.Rename(begun, path); err != nil {
		return "", err
	}
	if err := durable.SyncDir(all); err != nil {
		return "", err
	}
	return path, pruneSnapshots(all)
}

func (d *Driver) fillSnapshot(ctx context.Context, s *snapshot, dir string, database bool) error {
	if database {
		if err := d.saveDatabase(ctx, s, dir); err != nil {
			return err
		}
	}
	if err := d.saveKeys(ctx, s, dir); err != nil {
		return err
	}
	if err := d.saveRelease(ctx, s, dir); err != nil {
		return err
	}
	if err := d.saveStatic(ctx, s, dir); err != nil {
		return err
	}
	slices.SortFunc(s.Files, func(a, b release.File) int { return cmp.Compare(a.Path, b.Path) })
	if err := syncDirs(dir); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, manifestFile), s, 0o600, durable.Owner{})
}

func (d *Driver) saveDatabase(ctx context.Context, s *snapshot, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, databaseFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.postgres.Databases().Dump(ctx, s.Tenant, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if s.Tables, err = d.postgres.Databases().Tables(ctx, f); err != nil {
		return err
	}
	if s.Postgres, err = d.postgres.Databases().Version(ctx); err != nil {
		return err
	}
	return s.add(dir, databaseFile)
}

func (d *Driver) saveKeys(ctx context.Context, s *snapshot, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, cacheFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if s.Keys, err = d.redis.Keys().Dump(ctx, s.Tenant, w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return s.add(dir, cacheFile)
}

// saveRelease keeps the current release. Without a whole one, the data are
// worth saving all the same.
func (d *Driver) saveRelease(ctx context.Context, s *snapshot, dir string) error {
	v := release.Open(d.volume(s.Tenant))
	p, ok, err := v.Current()
	if err != nil || !ok {
		return nil //nolint:nilerr // see above
	}
	s.Release = &p
	m, err := v.Manifest(p.SHA256)
	if err == nil {
		err = v.Verify(p.SHA256)
	}
	if err != nil {
		d.c.Logger.Warn("the snapshot has no release: the current one is not whole", "tenant", s.Tenant, "error", err)
		return nil
	}
	files := []release.File{{Path: manifestFile, SHA256: p.SHA256, Size: int64(len(m.Encode()))}, m.Binary}
	for part, of := range map[release.Part][]release.File{release.Static: m.Static, release.Migrations: m.Migrations} {
		for _, f := range of {
			f.Path = path.Join(string(part), f.Path)
			files = append(files, f)
		}
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := filepath.Join(v.Path(p.SHA256), filepath.FromSlash(f.Path))
		f.Path = path.Join(releaseDir, f.Path)
		if err := keep(from, filepath.Join(dir, filepath.FromSlash(f.Path))); err != nil {
			return err
		}
		s.Files = append(s.Files, f)
	}
	return nil
}

// saveStatic keeps the assets that are served.
func (d *Driver) saveStatic(ctx context.Context, s *snapshot, dir string) error {
	if s.Static == "" {
		return nil
	}
	from := filepath.Join(d.bucket(s.Tenant), s.Static)
	return filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if err := keep(name, filepath.Join(dir, staticDir, below)); err != nil {
			return err
		}
		return s.add(dir, path.Join(staticDir, filepath.ToSlash(below)))
	})
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

// add lists a file that is there.
func (s *snapshot) add(dir, name string) error {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := digest(f, name)
	s.Files = append(s.Files, file)
	return err
}

func digest(r io.Reader, name string) (release.File, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, r)
	return release.File{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, err
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

// snapshotNames returns the names of the snapshots in a tenant's directory,
// oldest first.
func snapshotNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted, and the names sort by time
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// pruneSnapshots removes those that were longest of no use: taking one and
// opening one set its directory's time.
func pruneSnapshots(dir string) error {
	names, err := snapshotNames(dir)
	if err != nil {
		return err
	}
	used := make(map[string]time.Time, len(names))
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		used[name] = info.ModTime()
	}
	slices.SortStableFunc(names, func(a, b string) int { return used[a].Compare(used[b]) })
	for len(names) > keptSnapshots {
		if err := os.RemoveAll(filepath.Join(dir, names[0])); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}
