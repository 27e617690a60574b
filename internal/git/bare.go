package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

// bare is the mirror's directory: a bare repository that git can read, too,
// with a detached HEAD at the newest commit fetched.
type bare struct {
	dir   string
	db    *store
	empty bool // nothing was fetched into it yet
}

// createBare makes an empty one, replacing what a dead attempt left behind.
func createBare(dir string) (*bare, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	for _, d := range []string{"objects/pack", "objects/info", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	const config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	return &bare{dir: dir, db: newStore(filepath.Join(dir, "objects")), empty: true}, nil
}

// openBare opens an existing mirror and checks that its newest commit and that
// commit's root are there; a wrong one is ErrDamaged, a missing one ErrNotExist.
func openBare(dir string) (*bare, plumbing.Hash, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, plumbing.ZeroHash, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	value := strings.TrimSpace(string(b))
	if err != nil || !plumbing.IsHash(value) {
		return nil, plumbing.ZeroHash, damaged("%s has no commit in HEAD", dir)
	}
	head := plumbing.NewHash(value)
	m := &bare{dir: dir, db: newStore(filepath.Join(dir, "objects"))}
	if err := m.check(head); err != nil {
		m.db.Close()
		return nil, plumbing.ZeroHash, err
	}
	return m, head, nil
}

func (m *bare) check(head plumbing.Hash) error {
	typ, content, err := m.db.read(head)
	if err != nil {
		return absentIsDamage(err)
	}
	if typ != plumbing.CommitObject {
		return damaged("HEAD is a %s", typ)
	}
	info, err := parseCommit(head, content)
	if err != nil {
		return err
	}
	_, _, err = m.db.read(info.tree)
	return absentIsDamage(err)
}

func (m *bare) setHead(h plumbing.Hash) error {
	return writeWhole(filepath.Join(m.dir, "HEAD"), strings.NewReader(h.String()+"\n"), 0o644)
}

// adopt takes over all objects of the given directories, as links. What head
// needs was there before this began, so it is complete afterwards; objects that
// were being written meanwhile may not be.
func (m *bare) adopt(ctx context.Context, from []string, head plumbing.Hash) error {
	for _, dir := range from {
		if err := adoptDir(ctx, dir, m.db.dirs[0]); err != nil {
			return fmt.Errorf("take over %s: %w", dir, err)
		}
	}
	m.db.refresh()
	if err := m.check(head); err != nil {
		return sourceError(err)
	}
	m.empty = false
	return m.dropDuplicates(ctx)
}

// adoptDir links loose objects first: one that is packed meanwhile is then in a
// pack that exists before its loose form goes away, so it is seen after.
func adoptDir(ctx context.Context, from, to string) error {
	err := eachLoose(from, func(h plumbing.Hash) error {
		if err := cancelled(ctx); err != nil {
			return err
		}
		target := loosePath(to, h)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := linkOrCopy(loosePath(from, h), target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return adoptPacks(ctx, filepath.Join(from, "pack"), filepath.Join(to, "pack"))
}

// adoptPacks links packs, the index before the pack, since a pack without an
// index is an error to readers. It looks again until no pack vanished under it.
func adoptPacks(ctx context.Context, from, to string) error {
	for {
		packs, err := filepath.Glob(filepath.Join(from, "pack-*.pack"))
		if err != nil {
			return err
		}
		vanished := false
		for _, pack := range packs {
			if err := cancelled(ctx); err != nil {
				return err
			}
			base := strings.TrimSuffix(filepath.Base(pack), ".pack")
			for _, ext := range []string{".idx", ".pack"} {
				err := linkOrCopy(filepath.Join(from, base+ext), filepath.Join(to, base+ext))
				if errors.Is(err, fs.ErrNotExist) {
					// An index without its pack is ignored, and replaced when the pack is back.
					vanished = true
					break
				}
				if err != nil {
					return err
				}
			}
		}
		if !vanished {
			return nil
		}
	}
}

// dropDuplicates removes loose objects that are in a pack as well. Together
// with adopt it keeps the mirror about as small as a source that is packed.
func (m *bare) dropDuplicates(ctx context.Context) error {
	objects := m.db.dirs[0]
	indexes, err := packIndexes(objects)
	if err != nil || len(indexes) == 0 {
		return err
	}
	return eachLoose(objects, func(h plumbing.Hash) error {
		if err := cancelled(ctx); err != nil {
			return err
		}
		for _, index := range indexes {
			if ok, err := index.Contains(h); err != nil || !ok {
				continue
			}
			if err := os.Remove(loosePath(objects, h)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		return nil
	})
}

// eachLoose calls visit for every loose object of an object directory.
func eachLoose(objects string, visit func(plumbing.Hash) error) error {
	for b := range 256 {
		sub := fmt.Sprintf("%02x", b)
		names, err := os.ReadDir(filepath.Join(objects, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			if !n.Type().IsRegular() || !plumbing.IsHash(sub+n.Name()) {
				continue // being written
			}
			if err := visit(plumbing.NewHash(sub + n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// packIndexes reads the indexes of all packs of an object directory.
func packIndexes(objects string) ([]idxfile.Index, error) {
	packs, err := filepath.Glob(filepath.Join(objects, "pack", "pack-*.pack"))
	if err != nil {
		return nil, err
	}
	indexes := make([]idxfile.Index, 0, len(packs))
	for _, pack := range packs {
		b, err := os.ReadFile(strings.TrimSuffix(pack, ".pack") + ".idx")
		if err != nil {
			return nil, err
		}
		index := idxfile.NewMemoryIndex()
		if err := idxfile.NewDecoder(bytes.NewReader(b)).Decode(index); err != nil {
			return nil, damaged("index of %s: %v", filepath.Base(pack), err)
		}
		indexes = append(indexes, index)
	}
	return indexes, nil
}

func (m *bare) shallow() (map[plumbing.Hash]bool, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, "shallow"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseShallow(b), nil
}

func (m *bare) setShallow(set map[plumbing.Hash]bool) error {
	path := filepath.Join(m.dir, "shallow")
	if len(set) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var lines []string
	for h := range set {
		lines = append(lines, h.String()+"\n")
	}
	slices.Sort(lines)
	return writeWhole(path, strings.NewReader(strings.Join(lines, "")), 0o644)
}

// mergeShallow notes commits of the source that will come without their parents
// and returns all such. deeper says that the source now has parents that the
// mirror lacks.
func (m *bare) mergeShallow(src *store, source map[plumbing.Hash]bool) (cuts map[plumbing.Hash]bool, deeper bool, err error) {
	cuts, err = m.shallow()
	if err != nil {
		return nil, false, err
	}
	for h := range cuts {
		deeper = deeper || !source[h] && src.has(h)
	}
	n := len(cuts)
	for h := range source {
		if !m.db.has(h) {
			cuts[h] = true
		}
	}
	if len(cuts) > n {
		err = m.setShallow(cuts)
	}
	return cuts, deeper, err
}

// deepen notes that the source, all of which was taken over, is shallow at other
// commits by now. Where it forgot a commit it did not bring its parents.
func (m *bare) deepen(src *store, source map[plumbing.Hash]bool) error {
	cuts, err := m.shallow()
	if err != nil {
		return err
	}
	for h := range cuts {
		if !source[h] && src.has(h) {
			delete(cuts, h)
		}
	}
	return m.setShallow(cuts)
}

// movePack takes over one pack that is complete by itself or with what is here.
func (m *bare) movePack(from string) error {
	packs, err := filepath.Glob(filepath.Join(from, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return err
	}
	for _, pack := range packs {
		index := strings.TrimSuffix(pack, ".pack") + ".idx"
		for _, file := range []string{index, pack} {
			if err := os.Rename(file, filepath.Join(m.dir, "objects", "pack", filepath.Base(file))); err != nil {
				return err
			}
		}
	}
	m.db.refresh()
	m.empty = false
	return nil
}

// packSize returns how many objects the packs of a quarantine hold.
func packSize(dir string) (int, error) {
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, pack := range packs {
		f, err := os.Open(pack)
		if err != nil {
			return 0, err
		}
		var header [12]byte
		_, err = f.ReadAt(header[:], 0)
		_ = f.Close()
		if err != nil || !bytes.HasPrefix(header[:], []byte("PACK")) {
			return 0, fmt.Errorf("%s is not a pack: %w", filepath.Base(pack), err)
		}
		n += int(header[8])<<24 | int(header[9])<<16 | int(header[10])<<8 | int(header[11])
	}
	return n, nil
}
