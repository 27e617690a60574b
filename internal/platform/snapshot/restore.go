package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Restore puts the data of a snapshot in the place of the tenant's: all of them,
// or those that were there stay. Its release is put on the volume, and its assets
// in the bucket, beside what is there.
func (k *Keeper) Restore(ctx context.Context, s Subject, name string) error {
	saved, err := k.open(ctx, s.Tenant, name)
	if err != nil {
		return err
	}
	defer saved.files.Close()
	dir, remove, err := k.temp(s.Tenant)
	if err != nil {
		return err
	}
	defer remove()
	if err := (restoring{s, saved, dir}).do(ctx); err != nil {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
		defer cancel()
		return fmt.Errorf("restore %s from snapshot %s: %w", s.Tenant, name, errors.Join(err, s.Settle(own)))
	}
	return nil
}

// restoring is a snapshot that is being restored.
type restoring struct {
	Subject
	saved *opened
	dir   string // for copies of files that are kept elsewhere
}

func (r restoring) do(ctx context.Context) error {
	_, database := r.saved.file(databaseFile)
	if database && r.Password == "" {
		return fault.Errorf(fault.Invalid, "the snapshot has a database, and the tenant has none").
			WithHint("commit spec.database.enabled: true first")
	}
	if err := r.Settle(ctx); err != nil {
		return err
	}
	if err := errors.Join(r.release(ctx), r.static(ctx)); err != nil {
		return err
	}
	if database {
		if err := r.database(ctx); err != nil {
			return err
		}
	}
	keys, err := r.stageKeys(ctx)
	if err != nil {
		return err
	}
	if database {
		if err := r.Databases.Swap(ctx, r.Tenant); err != nil {
			return err
		}
	}
	if err := r.Keys.Replace(ctx, r.Tenant, keys); err != nil {
		return err
	}
	return r.Settle(ctx)
}

func (r restoring) database(ctx context.Context) error {
	dump, done, err := r.saved.local(ctx, databaseFile, r.dir)
	if err != nil {
		return err
	}
	defer done()
	return r.Databases.Restore(ctx, r.Tenant, r.Password, dump)
}

func (r restoring) stageKeys(ctx context.Context) ([]string, error) {
	dump, done, err := r.saved.local(ctx, keysFile, r.dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return r.Keys.Stage(ctx, r.Tenant, dump)
}

// release has the snapshot's release on the volume.
func (r restoring) release(ctx context.Context) error {
	p, name := r.saved.Release, path.Join(releaseDir, ManifestFile)
	if _, there := r.saved.file(name); p == nil || !there || r.Volume.Verify(p.SHA256) == nil {
		return nil
	}
	manifest, done, err := r.saved.local(ctx, name, r.dir)
	if err != nil {
		return err
	}
	defer done()
	var m release.Manifest
	if err := json.NewDecoder(manifest).Decode(&m); err != nil {
		return fault.Errorf(fault.Stalled, "the release's manifest cannot be read: %w", err)
	}
	staging, err := r.Volume.Stage()
	if err != nil {
		return err
	}
	defer staging.Abort()
	err = r.with(ctx, path.Join(releaseDir, m.Binary.Path), func(f *os.File) error { return staging.AddBinary(f.Name()) })
	if err != nil {
		return err
	}
	for part, files := range parts(m) {
		for _, f := range files {
			err := r.with(ctx, path.Join(releaseDir, string(part), f.Path), func(content *os.File) error {
				return staging.Add(part, f.Path, content)
			})
			if err != nil {
				return err
			}
		}
	}
	if got, err := staging.Commit(m); err != nil || got != p.SHA256 {
		return cmp.Or(err, error(fault.Errorf(fault.Stalled, "release %.12s came back as %.12s", p.SHA256, got)))
	}
	return nil
}

// with does something with a file of the snapshot.
func (r restoring) with(ctx context.Context, name string, do func(*os.File) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, done, err := r.saved.local(ctx, name, r.dir)
	if err != nil {
		return err
	}
	defer done()
	return do(f)
}

// static has the assets that were served in the bucket.
func (r restoring) static(ctx context.Context) error {
	if r.saved.Static == "" {
		return nil
	}
	return r.Assets.Restore(ctx, r.saved.Static, r.saved.below(staticDir),
		func(ctx context.Context, name string) (*os.File, func(), error) {
			return r.saved.local(ctx, path.Join(staticDir, name), r.dir)
		})
}
