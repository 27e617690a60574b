package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/snapshot"
	"github.com/gitopsd/gitopsd/internal/release"
)

// keeper returns what takes snapshots and restores them. A dump may take most of
// what there is of local disk, until it is in the bucket.
func (d *Driver) keeper() (*snapshot.Keeper, error) {
	dir := d.c.Temp
	if dir == "" {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "gitopsd-"+d.owner.Cell)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return nil, fmt.Errorf("local disk %s: %w", dir, err)
	}
	free := int64(disk.Bavail) * int64(disk.Bsize) //nolint:gosec,unconvert // types differ by system
	return &snapshot.Keeper{Store: d.snapshots, Temp: dir, Limit: max(free/10*9, 1), Logger: d.log}, nil
}

// subject returns the tenant as snapshots see it, to be ended by done; r may be nil.
func (d *Driver) subject(ctx context.Context, tenant string, r *record) (s snapshot.Subject, done func(), err error) {
	given, _, err := d.secrets.Load(ctx, tenant)
	if err != nil {
		return s, nil, err
	}
	db, closeDatabase, err := d.databaseOf(ctx, r)
	if err != nil {
		return s, nil, err
	}
	cache, closeCache := d.cacheOf(r)
	s = snapshot.Subject{
		Tenant: tenant, Databases: db, Keys: cache.c.Keys.Keys, Volume: release.Open(d.volume(tenant)), Password: given.Database,
	}
	own := assets{static: d.static, log: d.log}
	if r != nil {
		own.bucket = r.Outputs.Bucket
	}
	s.Assets = own
	return s, func() { closeDatabase(); closeCache() }, nil
}

// settle ends a restore that did not come to its end.
func (d *Driver) settle(ctx context.Context, r *record) error {
	s, done, err := d.subject(ctx, r.Tenant, r)
	if err != nil {
		return err
	}
	defer done()
	return s.Settle(ctx)
}

// Snapshot implements platform.Platform.
func (d *Driver) Snapshot(ctx context.Context, tenant string) (where string, err error) {
	err = d.locked(ctx, "snapshot", tenant, func() error {
		name, err := d.snapshot(ctx, tenant)
		if name != "" {
			where = d.snapshots.Where(tenant, name)
		}
		return err
	})
	return where, err
}

func (d *Driver) snapshot(ctx context.Context, tenant string) (string, error) {
	r, err := d.load(ctx, tenant)
	if err != nil {
		return "", err
	}
	k, err := d.keeper()
	if err != nil {
		return "", err
	}
	if r != nil && r.Phase == leaving {
		return k.Newest(ctx, tenant)
	}
	s, done, err := d.subject(ctx, tenant, r)
	if err != nil {
		return "", err
	}
	defer done()
	return k.Take(ctx, s)
}

// Snapshots implements platform.Platform.
func (d *Driver) Snapshots(ctx context.Context, tenant string) ([]platform.Snapshot, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	k, err := d.keeper()
	if err != nil {
		return nil, err
	}
	return k.List(ctx, tenant)
}

// VerifySnapshot implements platform.Platform.
func (d *Driver) VerifySnapshot(ctx context.Context, tenant, name string) error {
	return d.locked(ctx, "verify a snapshot", tenant, func() error {
		k, err := d.keeper()
		if err != nil {
			return err
		}
		return k.Verify(ctx, tenant, name)
	})
}

// RestoreSnapshot implements platform.Platform.
func (d *Driver) RestoreSnapshot(ctx context.Context, tenant, name string) error {
	return d.locked(ctx, "restore", tenant, func() error {
		r, err := d.known(ctx, tenant)
		if err != nil {
			return err
		}
		if _, err := os.Stat(d.volume(tenant)); errors.Is(err, fs.ErrNotExist) {
			return fault.Errorf(fault.NotFound, "it has no volume: %w", err)
		}
		k, err := d.keeper()
		if err != nil {
			return err
		}
		s, done, err := d.subject(ctx, tenant, r)
		if err != nil {
			return err
		}
		defer done()
		return k.Restore(ctx, s, name)
	})
}

// RemoveSnapshots implements platform.Platform.
func (d *Driver) RemoveSnapshots(ctx context.Context, tenant string) error {
	return d.locked(ctx, "remove snapshots", tenant, func() error {
		k, err := d.keeper()
		if err != nil {
			return err
		}
		return k.Remove(ctx, tenant)
	})
}
