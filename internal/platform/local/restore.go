package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/local/durable"
	"github.com/gitopsd/gitopsd/internal/release"
)

// maxManifest bounds a snapshot's manifest, in bytes: it lists every asset twice.
const maxManifest = 64 << 20

// settling bounds what ends a restore that failed.
const settling = 30 * time.Second

// Snapshots implements platform.Platform.
func (d *Driver) Snapshots(_ context.Context, tenant string) ([]platform.Snapshot, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	dir := d.path("snapshots", tenant)
	names, err := snapshotNames(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", tenant, err)
	}
	var all []platform.Snapshot
	for _, name := range slices.Backward(names) {
		var s snapshot
		there, err := durable.ReadJSON(filepath.Join(dir, name, manifestFile), &s)
		if err != nil || !there {
			d.c.Logger.Warn("a snapshot cannot be read", "tenant", tenant, "snapshot", name, "error", err)
			continue
		}
		one := platform.Snapshot{Name: name, At: s.At, Keys: s.Keys}
		for _, f := range s.Files {
			one.Bytes += f.Size
		}
		if _, one.Database = s.file(databaseFile); s.Release != nil {
			one.Release = s.Release.SHA256
		}
		all = append(all, one)
	}
	return all, nil
}

// RemoveSnapshots implements platform.Platform.
func (d *Driver) RemoveSnapshots(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.RemoveAll(d.path("snapshots", tenant)); err != nil {
		return fmt.Errorf("remove snapshots of %s: %w", tenant, err)
	}
	return durable.SyncDir(d.path("snapshots"))
}

// VerifySnapshot implements platform.Platform.
func (d *Driver) VerifySnapshot(ctx context.Context, tenant, name string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	_, root, err := d.openSnapshot(ctx, tenant, name)
	if err != nil {
		return err
	}
	return root.Close()
}

// openSnapshot opens a snapshot whose files are all there as they were saved,
// and no others.
func (d *Driver) openSnapshot(ctx context.Context, tenant, name string) (*snapshot, *os.Root, error) {
	if at, err := time.Parse(snapshotTime, name); err != nil || at.Format(snapshotTime) != name {
		return nil, nil, fault.Errorf(fault.Invalid, "%q cannot be the name of a snapshot", name).
			WithHint("see which there are with: gitopsd snapshots %s", tenant)
	}
	root, err := os.OpenRoot(d.path("snapshots", tenant, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.Errorf(fault.NotFound, "%s has no snapshot %s", tenant, name).
			WithHint("see which there are with: gitopsd snapshots %s", tenant)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot %s of %s: %w", name, tenant, err)
	}
	now := time.Now()
	s, err := verifySnapshot(ctx, root, tenant)
	if err == nil {
		err = os.Chtimes(root.Name(), now, now) // not the next to be pruned
	}
	if err != nil {
		root.Close()
		return nil, nil, fmt.Errorf("snapshot %s of %s: %w", name, tenant, err)
	}
	return s, root, nil
}

// verifySnapshot reads all of a snapshot. Its error is fault.Invalid if it is not
// what was saved.
func verifySnapshot(ctx context.Context, root *os.Root, tenant string) (*snapshot, error) {
	info, err := root.Stat(manifestFile)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "it has no manifest: %w", err)
	}
	if info.Size() > maxManifest {
		return nil, fault.Errorf(fault.Invalid, "its manifest has %d bytes, more than %d", info.Size(), maxManifest)
	}
	content, err := root.ReadFile(manifestFile)
	if err != nil {
		return nil, err
	}
	var s snapshot
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fault.Errorf(fault.Invalid, "its manifest cannot be read: %w", err)
	}
	if s.Tenant != tenant {
		return nil, fault.Errorf(fault.Invalid, "it is of tenant %q", s.Tenant)
	}
	listed := map[string]bool{manifestFile: true}
	for _, want := range s.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if listed[want.Path] || !fs.ValidPath(want.Path) {
			return nil, fault.Errorf(fault.Invalid, "its manifest cannot have the file %q", want.Path)
		}
		listed[want.Path] = true
		if err := verifyFile(root, want); err != nil {
			return nil, err
		}
	}
	return &s, fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !listed[name] {
			err = fault.Errorf(fault.Invalid, "it does not match its manifest: %s is not in it", name)
		}
		return err
	})
}

func verifyFile(root *os.Root, want release.File) error {
	f, err := root.Open(filepath.FromSlash(want.Path))
	if err != nil {
		return fault.Errorf(fault.Invalid, "it does not match its manifest: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	have := release.File{Path: want.Path}
	if info.Mode().IsRegular() && info.Size() == want.Size {
		if have, err = digest(f, want.Path); err != nil {
			return err
		}
	}
	if have != want {
		return fault.Errorf(fault.Invalid, "it does not match its manifest: %s is not the file that was saved", want.Path)
	}
	return nil
}

// RestoreSnapshot implements platform.Platform. Database and keys are made ready
// beside what is there; then the databases change places, then the keys, each
// in one transaction. The keys' transaction is what makes it done: see settle.
func (d *Driver) RestoreSnapshot(ctx context.Context, tenant, name string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	s, root, err := d.openSnapshot(ctx, tenant, name)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := d.restore(ctx, s, root); err != nil {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
		defer cancel()
		return fmt.Errorf("restore %s from snapshot %s: %w", tenant, name, errors.Join(err, d.settle(own, tenant)))
	}
	return nil
}

func (d *Driver) restore(ctx context.Context, s *snapshot, root *os.Root) error {
	st, err := d.known(s.Tenant)
	if err != nil {
		return err
	}
	secrets, err := d.loadSecrets(s.Tenant)
	if err != nil {
		return err
	}
	_, database := s.file(databaseFile)
	if database && secrets.Database == "" {
		return fault.Errorf(fault.Invalid, "the snapshot has a database, and the tenant has none").
			WithHint("commit spec.database.enabled: true first")
	}
	if err := d.settle(ctx, s.Tenant); err != nil {
		return err
	}
	if err := errors.Join(d.restoreRelease(ctx, st, s, root), d.restoreStatic(ctx, st, s, root)); err != nil {
		return err
	}
	if database {
		if err := d.stageDatabase(ctx, s, root, secrets.Database); err != nil {
			return err
		}
	}
	keys, err := d.stageKeys(ctx, s, root)
	if err != nil {
		return err
	}
	if database {
		if err := d.postgres.Databases().Swap(ctx, s.Tenant); err != nil {
			return err
		}
	}
	if err := d.redis.Keys().Replace(ctx, s.Tenant, keys); err != nil {
		return err
	}
	return d.settle(ctx, s.Tenant)
}

func (d *Driver) stageDatabase(ctx context.Context, s *snapshot, root *os.Root, password string) error {
	dump, err := root.Open(databaseFile)
	if err != nil {
		return err
	}
	defer dump.Close()
	return d.postgres.Databases().Restore(ctx, s.Tenant, password, dump)
}

func (d *Driver) stageKeys(ctx context.Context, s *snapshot, root *os.Root) ([]string, error) {
	dump, err := root.Open(cacheFile)
	if err != nil {
		return nil, err
	}
	defer dump.Close()
	return d.redis.Keys().Stage(ctx, s.Tenant, dump)
}

// settle ends a restore that did not come to its end: once its keys were put in
// place, by throwing away what was there before; until then, by putting it back.
func (d *Driver) settle(ctx context.Context, tenant string) error {
	err := d.postgres.Databases().Settle(ctx, tenant, func() (bool, error) {
		_, done, err := d.redis.Keys().Restoring(ctx, tenant)
		return done, err
	})
	if err != nil {
		return err
	}
	return d.redis.Keys().Unstage(ctx, tenant)
}

// restoreRelease has the snapshot's release on the volume.
func (d *Driver) restoreRelease(ctx context.Context, st *state, s *snapshot, root *os.Root) error {
	if _, there := s.file(path.Join(releaseDir, manifestFile)); s.Release == nil || !there {
		return nil
	}
	if err := keepDir(d.volume(s.Tenant), 0o750, st.group()); err != nil {
		return err
	}
	v := release.Open(d.volume(s.Tenant))
	if v.Verify(s.Release.SHA256) == nil {
		return nil
	}
	content, err := root.ReadFile(path.Join(releaseDir, manifestFile))
	if err != nil {
		return err
	}
	var m release.Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return fault.Errorf(fault.Stalled, "the release's manifest cannot be read: %w", err)
	}
	staging, err := v.Stage()
	if err != nil {
		return err
	}
	defer staging.Abort()
	if err := staging.AddBinary(filepath.Join(root.Name(), releaseDir, filepath.FromSlash(m.Binary.Path))); err != nil {
		return err
	}
	for part, files := range map[release.Part][]release.File{release.Static: m.Static, release.Migrations: m.Migrations} {
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := staging.AddFile(part, f.Path, filepath.Join(root.Name(), releaseDir, string(part), filepath.FromSlash(f.Path))); err != nil {
				return err
			}
		}
	}
	if got, err := staging.Commit(m); err != nil || got != s.Release.SHA256 {
		return cmp.Or(err, error(fault.Errorf(fault.Stalled, "release %.12s came back as %.12s", s.Release.SHA256, got)))
	}
	return nil
}

// restoreStatic has the assets that were served in the bucket.
func (d *Driver) restoreStatic(ctx context.Context, st *state, s *snapshot, root *os.Root) error {
	if s.Static == "" || checkDigest(s.Static) != nil {
		return nil
	}
	if err := keepDir(d.bucket(s.Tenant), 0o700, durable.Owner{}); err != nil {
		return err
	}
	target := filepath.Join(d.bucket(s.Tenant), s.Static)
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	begun := filepath.Join(d.bucket(s.Tenant), ".new")
	if err := os.RemoveAll(begun); err != nil {
		return err
	}
	if err := os.Mkdir(begun, 0o700); err != nil {
		return err
	}
	for _, f := range s.Files {
		below, ok := strings.CutPrefix(f.Path, staticDir+"/")
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := keep(filepath.Join(root.Name(), filepath.FromSlash(f.Path)), filepath.Join(begun, filepath.FromSlash(below))); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDirs(begun), os.Rename(begun, target)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(d.bucket(s.Tenant)), d.pruneStatic(st, s.Static))
}
