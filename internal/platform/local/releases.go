package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/release"
)

// keptStatic is how many releases' assets a bucket holds: pages that were loaded
// from the one before still ask for theirs.
const keptStatic = 3

// Volume implements platform.Platform.
func (d *Driver) Volume(_ context.Context, tenant string) (*release.Volume, error) {
	if _, err := d.known(tenant); err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.volume(tenant)); err != nil {
		return nil, fault.Errorf(fault.NotFound, "volume of %s: %w", tenant, err)
	}
	return release.Open(d.volume(tenant)), nil
}

func checkDigest(digest string) error {
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(digest) {
		return fault.Errorf(fault.Invalid, "release %q is not a digest", digest)
	}
	return nil
}

// UploadStatic implements platform.Platform. The assets are copied: they belong
// to the edge in the bucket, and to the tenant's group on the volume.
func (d *Driver) UploadStatic(ctx context.Context, tenant, digest string) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.known(tenant)
	if err != nil {
		return err
	}
	if err := d.upload(ctx, st, digest); err != nil {
		return fmt.Errorf("upload static assets of %s: %w", tenant, err)
	}
	return nil
}

func (d *Driver) upload(ctx context.Context, st *state, digest string) error {
	target := filepath.Join(d.bucket(st.Tenant), digest)
	now := time.Now()
	if err := os.Chtimes(target, now, now); err == nil {
		return nil // there, whole, and now the youngest
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	manifest, err := release.Open(d.volume(st.Tenant)).Manifest(digest)
	if err != nil {
		return fault.Errorf(fault.NotFound, "%w", err)
	}
	begun := filepath.Join(d.bucket(st.Tenant), ".new")
	if err := os.RemoveAll(begun); err != nil {
		return err
	}
	if err := os.Mkdir(begun, 0o700); err != nil {
		return err
	}
	from, err := os.OpenRoot(filepath.Join(d.volume(st.Tenant), "releases", digest))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenRoot(begun)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, file := range manifest.Static {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := copyAsset(from, to, filepath.FromSlash(file.Path), file.Size); err != nil {
			return err
		}
	}
	if err := os.Rename(begun, target); err != nil {
		return err
	}
	if err := durable.SyncDir(d.bucket(st.Tenant)); err != nil {
		return err
	}
	return d.pruneStatic(st, digest)
}

func copyAsset(from, to *os.Root, path string, size int64) error {
	in, err := from.OpenFile(filepath.Join("static", path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return fault.Errorf(fault.Invalid, "asset %s is not the file its manifest names", path)
	}
	if err := to.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := to.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, io.LimitReader(in, size)); err != nil {
		return err
	}
	return errors.Join(out.Sync(), out.Close())
}

// pruneStatic removes all but the youngest assets, the ones served and those just uploaded.
func (d *Driver) pruneStatic(st *state, uploaded string) error {
	entries, err := os.ReadDir(d.bucket(st.Tenant))
	if err != nil {
		return err
	}
	type tree struct {
		name string
		at   time.Time
	}
	var old []tree
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name() == st.Static || e.Name() == uploaded {
			continue
		}
		old = append(old, tree{e.Name(), info.ModTime()})
	}
	slices.SortFunc(old, func(a, b tree) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(a.name, b.name)) })
	for i, t := range old {
		if i < keptStatic-2 {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.bucket(st.Tenant), t.name)); err != nil {
			return err
		}
	}
	return nil
}

// ActivateStatic implements platform.Platform. An empty digest serves none.
func (d *Driver) ActivateStatic(ctx context.Context, tenant, digest string) error {
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := d.known(tenant)
	if err != nil {
		return err
	}
	if digest != "" {
		if err := checkDigest(digest); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(d.bucket(tenant), digest)); err != nil {
			return fault.Errorf(fault.NotFound, "activate static assets of %s: %w", tenant, err)
		}
	}
	if st.Static != digest {
		st.Static = digest
		if err := d.save(st); err != nil {
			return err
		}
	}
	if _, err := os.Stat(d.routeFile(tenant)); errors.Is(err, fs.ErrNotExist) {
		return nil // out of traffic: the route says it when it comes back
	}
	if err := d.writeRoute(st, false); err != nil {
		return err
	}
	return d.awaitEdge(ctx, tenant, func(status int, s routeState) bool {
		return status == http.StatusOK && s.Serial >= st.Serial
	})
}

// RemoveReleases implements platform.Platform.
func (d *Driver) RemoveReleases(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.RemoveAll(d.volume(tenant)); err != nil {
		return fmt.Errorf("remove releases of %s: %w", tenant, err)
	}
	return d.forget(tenant)
}
