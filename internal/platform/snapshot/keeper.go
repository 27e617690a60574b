package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
	"github.com/gitopsd/gitopsd/internal/platform/tenantkeys"
	"github.com/gitopsd/gitopsd/internal/release"
)

// kept is how many snapshots of a tenant are kept.
const kept = 5

// settling bounds what ends a restore that failed.
const settling = 30 * time.Second

// Keeper takes snapshots and restores them.
type Keeper struct {
	Store  Store
	Temp   string // directory on local disk, which is the Keeper's alone
	Limit  int64  // bytes that a dump may take there; 0: any number
	Logger *slog.Logger
}

// Subject is a tenant, with where its data are.
type Subject struct {
	Tenant    string
	Databases *tenantdb.Databases
	Keys      *tenantkeys.Keys
	Volume    *release.Volume
	Assets    Assets
	Password  string // of the tenant's database; "": it has none
}

// Assets are those of a tenant's bucket.
type Assets interface {
	// Served hands put each asset that is served, as a file that does not change
	// meanwhile, and returns whose they are; "" if none are. Several may be put at a
	// time; dir is for copies.
	Served(ctx context.Context, dir string, put func(ctx context.Context, name, source string) error) (digest string, err error)
	// Restore has the assets of a release in the bucket, unless they are. open
	// returns one of them, to be ended by done.
	Restore(ctx context.Context, digest string, files []release.File,
		open func(ctx context.Context, name string) (f *os.File, done func(), err error)) error
}

// Settle ends a restore that did not come to its end: once its keys were put in
// place, by throwing away what was there before; until then, by putting it back.
func (s Subject) Settle(ctx context.Context) error {
	err := s.Databases.Settle(ctx, s.Tenant, func() (bool, error) {
		_, done, err := s.Keys.Restoring(ctx, s.Tenant)
		return done, err
	})
	if err != nil {
		return err
	}
	return s.Keys.Unstage(ctx, s.Tenant)
}

// List returns a tenant's snapshots, newest first. One that cannot be read is
// logged and left out.
func (k *Keeper) List(ctx context.Context, tenant string) ([]platform.Snapshot, error) {
	there, err := k.Store.List(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", tenant, err)
	}
	var all []platform.Snapshot
	for _, one := range slices.Backward(there) {
		m, err := k.manifest(ctx, tenant, one.Name)
		if err != nil {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			k.Logger.Warn("a snapshot cannot be read", "tenant", tenant, "snapshot", one.Name, "error", err)
			continue
		}
		all = append(all, m.describe(one.Name))
	}
	return all, nil
}

func (k *Keeper) manifest(ctx context.Context, tenant, name string) (*Manifest, error) {
	files, err := k.Store.Open(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	return readManifest(ctx, files)
}

// Newest returns the name of a tenant's last snapshot, or "".
func (k *Keeper) Newest(ctx context.Context, tenant string) (string, error) {
	there, err := k.Store.List(ctx, tenant)
	if err != nil || len(there) == 0 {
		return "", err
	}
	return there[len(there)-1].Name, nil
}

// Remove removes all of a tenant's snapshots.
func (k *Keeper) Remove(ctx context.Context, tenant string) error {
	if err := k.Store.RemoveAll(ctx, tenant); err != nil {
		return fmt.Errorf("remove snapshots of %s: %w", tenant, err)
	}
	return nil
}

// Verify reports whether a snapshot can be restored: fault.NotFound if the tenant
// has none of the name, fault.Invalid if its files are not those that were saved.
func (k *Keeper) Verify(ctx context.Context, tenant, name string) error {
	s, err := k.open(ctx, tenant, name)
	if err != nil {
		return err
	}
	return s.files.Close()
}

// open opens a snapshot whose files are all there as they were saved, and no
// others; it is not the next to be pruned.
func (k *Keeper) open(ctx context.Context, tenant, name string) (*opened, error) {
	if at, err := time.Parse(timeForm, name); err != nil || at.Format(timeForm) != name {
		return nil, fault.Errorf(fault.Invalid, "%q cannot be the name of a snapshot", name).
			WithHint("see which there are with: gitopsd snapshots %s", tenant)
	}
	files, err := k.Store.Open(ctx, tenant, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.NotFound, "%s has no snapshot %s", tenant, name).
			WithHint("see which there are with: gitopsd snapshots %s", tenant)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s of %s: %w", name, tenant, err)
	}
	s, err := verify(ctx, files, tenant)
	if err == nil {
		err = k.Store.Use(ctx, tenant, name)
	}
	if err != nil {
		files.Close()
		return nil, fmt.Errorf("snapshot %s of %s: %w", name, tenant, err)
	}
	return s, nil
}

// prune removes those that were longest of no use.
func (k *Keeper) prune(ctx context.Context, tenant string) error {
	there, err := k.Store.List(ctx, tenant)
	if err != nil {
		return err
	}
	slices.SortStableFunc(there, func(a, b Kept) int { return a.Used.Compare(b.Used) })
	for ; len(there) > kept; there = there[1:] {
		if err := k.Store.Remove(ctx, tenant, there[0].Name); err != nil {
			return err
		}
	}
	return nil
}

// temp returns an empty directory for the tenant, which remove removes. What one
// that was killed left there goes first.
func (k *Keeper) temp(tenant string) (dir string, remove func(), err error) {
	dir = filepath.Join(k.Temp, tenant)
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}
