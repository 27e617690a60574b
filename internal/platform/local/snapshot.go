package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform/local/durable"
	"github.com/gitopsd/gitopsd/internal/release"
)

// keptSnapshots is how many of a tenant are kept.
const keptSnapshots = 5

// snapshot describes one, as its manifest.json. database.dump is for
// pg_restore; cache.jsonl has a line a key, for RESTORE.
type snapshot struct {
	Tenant  string           `json:"tenant"`
	At      time.Time        `json:"at"`
	Release *release.Pointer `json:"release,omitempty"` // the current one
	Keys    int              `json:"keys"`
	Files   []release.File   `json:"files"`
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
	_, database, err := d.postgres.HasTenant(ctx, tenant)
	if err != nil {
		return "", err
	}
	keys, err := d.redis.HasKeys(ctx, tenant)
	if err != nil || !database && !keys {
		return "", err
	}
	all := d.path("snapshots", tenant)
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", err
	}
	begun := filepath.Join(all, ".new")
	if err := os.RemoveAll(begun); err != nil {
		return "", err
	}
	if err := os.Mkdir(begun, 0o700); err != nil {
		return "", err
	}
	s := snapshot{Tenant: tenant, At: time.Now().UTC()}
	if err := d.fillSnapshot(ctx, &s, begun, database); err != nil {
		return "", err
	}
	path := filepath.Join(all, s.At.Format("20060102T150405.000000Z"))
	if err := os.Rename(begun, path); err != nil {
		return "", err
	}
	if err := durable.SyncDir(all); err != nil {
		return "", err
	}
	return path, pruneSnapshots(all)
}

func (d *Driver) fillSnapshot(ctx context.Context, s *snapshot, dir string, database bool) error {
	files := []string{"cache.jsonl"}
	if database {
		if err := d.postgres.Dump(ctx, s.Tenant, filepath.Join(dir, "database.dump")); err != nil {
			return err
		}
		files = append(files, "database.dump")
	}
	if err := d.dumpKeys(ctx, s, filepath.Join(dir, "cache.jsonl")); err != nil {
		return err
	}
	if p, ok, err := release.Open(d.volume(s.Tenant)).Current(); err == nil && ok {
		s.Release = &p
	} // without a volume there is no release, and the data are worth saving all the same
	for _, name := range files {
		file, err := digestFile(dir, name)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, file)
	}
	return durable.WriteJSON(filepath.Join(dir, "manifest.json"), s, 0o600, durable.Owner{})
}

func (d *Driver) dumpKeys(ctx context.Context, s *snapshot, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if s.Keys, err = d.redis.Dump(ctx, s.Tenant, w); err != nil {
		return err
	}
	return errors.Join(w.Flush(), f.Sync(), f.Close())
}

func digestFile(dir, name string) (release.File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return release.File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	return release.File{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, err
}

// pruneSnapshots removes the oldest. Their names sort by time.
func pruneSnapshots(dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	for len(names) > keptSnapshots {
		if err := os.RemoveAll(filepath.Join(dir, names[0])); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}
