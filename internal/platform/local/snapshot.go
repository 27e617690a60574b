package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/release"
)

// snapshots returns what takes snapshots and restores them.
func (d *Driver) snapshots() *snapshot.Keeper {
	return &snapshot.Keeper{Store: snapshotStore{d.path("snapshots")}, Temp: d.path("snapshots", ".temp"), Logger: d.c.Logger}
}

// subject returns the tenant as snapshots see it; st may be nil.
func (d *Driver) subject(tenant string, st *state) (snapshot.Subject, error) {
	secrets, err := d.loadSecrets(tenant)
	return snapshot.Subject{
		Tenant: tenant, Databases: d.postgres.Databases(), Keys: d.redis.Keys(), Volume: release.Open(d.volume(tenant)),
		Assets: assets{d, st}, Password: secrets.Database,
	}, err
}

// settle ends a restore that did not come to its end.
func (d *Driver) settle(ctx context.Context, tenant string) error {
	s, err := d.subject(tenant, nil)
	if err != nil {
		return err
	}
	return s.Settle(ctx)
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
	name, err := d.snapshot(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("snapshot of %s: %w", tenant, err)
	}
	if name == "" {
		return "", nil
	}
	return d.path("snapshots", tenant, name), nil
}

func (d *Driver) snapshot(ctx context.Context, tenant string) (string, error) {
	st, err := d.load(tenant)
	if err != nil {
		return "", err
	}
	if st != nil && st.Leaving {
		return d.snapshots().Newest(ctx, tenant)
	}
	s, err := d.subject(tenant, st)
	if err != nil {
		return "", err
	}
	return d.snapshots().Take(ctx, s)
}

// Snapshots implements platform.Platform.
func (d *Driver) Snapshots(ctx context.Context, tenant string) ([]platform.Snapshot, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	return d.snapshots().List(ctx, tenant)
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
	return d.snapshots().Remove(ctx, tenant)
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
	return d.snapshots().Verify(ctx, tenant, name)
}

// RestoreSnapshot implements platform.Platform.
func (d *Driver) RestoreSnapshot(ctx context.Context, tenant, name string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.known(tenant)
	if err != nil {
		return fmt.Errorf("restore %s from snapshot %s: %w", tenant, name, err)
	}
	s, err := d.subject(tenant, st)
	if err != nil {
		return err
	}
	if err := keepDir(d.volume(tenant), 0o750, st.group()); err != nil {
		return err
	}
	return d.snapshots().Restore(ctx, s, name)
}

// assets are those in a tenant's bucket: a directory for each release.
type assets struct {
	d  *Driver
	st *state // nil: there are none
}

func (a assets) Served(ctx context.Context, _ string, put func(ctx context.Context, name, source string) error) (string, error) {
	if a.st == nil || a.st.Static == "" {
		return "", nil
	}
	from := filepath.Join(a.d.bucket(a.st.Tenant), a.st.Static)
	return a.st.Static, filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		return put(ctx, filepath.ToSlash(below), name)
	})
}

func (a assets) Restore(ctx context.Context, digest string, files []release.File,
	open func(context.Context, string) (*os.File, func(), error),
) error {
	bucket := a.d.bucket(a.st.Tenant)
	if err := errors.Join(checkDigest(digest), keepDir(bucket, 0o700, durable.Owner{})); err != nil {
		return err
	}
	target, begun := filepath.Join(bucket, digest), filepath.Join(bucket, ".new")
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := errors.Join(os.RemoveAll(begun), os.Mkdir(begun, 0o700)); err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		content, done, err := open(ctx, f.Path)
		if err != nil {
			return err
		}
		err = keep(content.Name(), filepath.Join(begun, filepath.FromSlash(f.Path)))
		done()
		if err != nil {
			return err
		}
	}
	if err := errors.Join(syncDirs(begun), os.Rename(begun, target)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(bucket), a.d.pruneStatic(a.st, digest))
}
