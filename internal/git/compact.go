package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Each commit leaves a few loose objects, and among them a tree as large as its
// directory: 250 KB for 10,000 tenants, since hashes do not compress. As deltas
// in a pack the same trees take 2 KB each.
const (
	compactAfter = 1000     // loose objects placed by this process
	compactBytes = 96 << 20 // content in one pack, all of which is held in memory
	deltaWindow  = 10
)

// compactSoon packs loose objects in the background once there are many.
func (m *Mirror) compactSoon(b *bare) {
	if b.db.placed.Load() < compactAfter {
		return
	}
	b.db.placed.Store(0)
	m.background.Go(func() {
		if err := m.compact(m.closing, b); err != nil && m.closing.Err() == nil {
			m.log.Warn("cannot compact the mirror; it works on and takes more space", "dir", b.dir, "error", err)
		}
	})
}

// compact moves loose objects into packs: a loose object is removed only when
// a pack that is in place has it. It excludes rebuilds and itself, not fetches.
func (m *Mirror) compact(ctx context.Context, b *bare) error {
	unlock, err := lockFile(ctx, m.cfg.Dir+".compact.lock")
	if err != nil {
		return err
	}
	defer unlock()
	objects := b.db.dirs[0]
	if err := removeTemporary(objects); err != nil {
		return err
	}
	storage := filesystem.NewStorage(osfs.New(b.dir), cache.NewObjectLRU(cache.MiByte))
	defer func() { _ = storage.Close() }()
	batches, err := looseBatches(storage, objects)
	if err != nil {
		return err
	}
	for _, batch := range batches {
		if err := cancelled(ctx); err != nil {
			return err
		}
		if err := writePack(storage, batch); err != nil {
			return err
		}
	}
	b.db.refresh() // before anything goes away
	return b.dropDuplicates(ctx)
}

// looseBatches sorts the loose objects by size, so that versions of one tree
// are neighbours, and cuts the list into what fits in memory.
func looseBatches(storage *filesystem.Storage, objects string) ([][]plumbing.Hash, error) {
	type sized struct {
		hash plumbing.Hash
		size int64
	}
	var all []sized
	err := eachLoose(objects, func(h plumbing.Hash) error {
		if n, err := storage.EncodedObjectSize(h); err == nil && n <= compactBytes/4 {
			all = append(all, sized{h, n})
		}
		return nil // a damaged one is left for whoever reads it
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b sized) int { return cmp.Compare(a.size, b.size) })
	var batches [][]plumbing.Hash
	room := int64(0)
	for _, o := range all {
		if room -= o.size; room < 0 || len(batches) == 0 {
			batches = append(batches, nil)
			room = compactBytes - o.size
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], o.hash)
	}
	return batches, nil
}

func writePack(storage *filesystem.Storage, hashes []plumbing.Hash) (err error) {
	w, err := storage.PackfileWriter()
	if err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	_, err = packfile.NewEncoder(w, storage, false).Encode(hashes, deltaWindow)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	return nil
}

// removeTemporary removes what killed processes left among the objects.
func removeTemporary(objects string) error {
	old := time.Now().Add(-time.Hour)
	return filepath.WalkDir(objects, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreMissing(err)
		}
		if !strings.HasPrefix(d.Name(), ".tmp-") && !strings.HasPrefix(d.Name(), "tmp_") {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(old) {
			return ignoreMissing(err)
		}
		return ignoreMissing(os.Remove(path))
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
