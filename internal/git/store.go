package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the hash git names objects with
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// ErrDamaged is wrapped by errors that mean the mirror's objects are missing or
// not what their names say. It is fault.Transient: the next Fetch rebuilds.
var ErrDamaged = errors.New("damaged objects")

// errAbsent means that a store does not have an object.
var errAbsent = errors.New("object not found")

const (
	maxObject   = 256 << 20 // bytes of one object that are read at all
	largeObject = 16 << 20  // bytes above which go-git streams and does not cache
	cacheSize   = 32 * cache.MiByte
)

// store reads objects from one or more object directories through go-git, whose
// storage is not safe for concurrent use by itself.
type store struct {
	dirs   []string     // object directories; the first is written to
	placed atomic.Int64 // loose objects, since last compacted

	mu     sync.Mutex
	layers []*filesystem.Storage
	packs  []time.Time // when the directories of packs last changed, as opened
}

// newStore reads the given object directories, each named "objects".
func newStore(dirs ...string) *store {
	s := &store{dirs: dirs}
	s.open()
	return s
}

func (s *store) open() {
	s.packs = s.packTimes()
	s.layers = make([]*filesystem.Storage, len(s.dirs))
	for i, dir := range s.dirs {
		s.layers[i] = filesystem.NewStorageWithOptions(osfs.New(filepath.Dir(dir)), cache.NewObjectLRU(cacheSize),
			filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: largeObject})
	}
}

func (s *store) closeLayers() {
	for _, l := range s.layers {
		_ = l.Close() // read-only descriptors
	}
	s.layers = nil
}

// Close releases file descriptors; a read afterwards opens the store again.
func (s *store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLayers()
}

func (s *store) packTimes() []time.Time {
	times := make([]time.Time, len(s.dirs))
	for i, dir := range s.dirs {
		if info, err := os.Stat(filepath.Join(dir, "pack")); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}

// sync refreshes the store if packs came or went, through whomever.
func (s *store) sync() {
	s.mu.Lock()
	same := slices.EqualFunc(s.packs, s.packTimes(), time.Time.Equal)
	s.mu.Unlock()
	if !same {
		s.refresh()
	}
}

// refresh forgets which packs exist.
func (s *store) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLayers()
	s.open()
}

// has reports whether the store has the object, by what it knows of packs and
// by looking for a loose object.
func (s *store) has(h plumbing.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.layers {
		if l.HasEncodedObject(h) == nil {
			return true
		}
	}
	return false
}

// read returns an object's type and content, checked against its hash.
// An object the store does not have is errAbsent; anything else that is wrong
// with the content is ErrDamaged. Packs that appeared or vanished since the
// store was opened are found by opening it once more.
func (s *store) read(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	typ, content, err := s.readOnce(h)
	if err == nil || fault.Is(err, fault.Invalid) {
		return typ, content, err
	}
	s.closeLayers()
	s.open()
	return s.readOnce(h)
}

func (s *store) readOnce(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	for _, l := range s.layers {
		o, err := l.EncodedObject(plumbing.AnyObject, h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		}
		if err != nil {
			return 0, nil, readError(h, err)
		}
		content, err := contentOf(o)
		if err != nil {
			return 0, nil, readError(h, err)
		}
		if hashOf(o.Type(), content) != h {
			return 0, nil, damaged("object %s: content does not match its name", h)
		}
		return o.Type(), content, nil
	}
	return 0, nil, fmt.Errorf("object %s: %w", h, errAbsent)
}

// size returns the length of an object in bytes, without checking its content.
func (s *store) size(h plumbing.Hash) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.layers {
		n, err := l.EncodedObjectSize(h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		}
		if err != nil {
			return 0, readError(h, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("object %s: %w", h, errAbsent)
}

func contentOf(o plumbing.EncodedObject) ([]byte, error) {
	if o.Size() > maxObject {
		return nil, fault.Errorf(fault.Invalid, "%d bytes; at most %d are read", o.Size(), maxObject)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	content := make([]byte, o.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	return content, nil
}

// readError tells a damaged object from a failure to read files at all.
func readError(h plumbing.Hash, err error) error {
	var path *fs.PathError
	switch {
	case fault.Is(err, fault.Invalid):
		return fmt.Errorf("object %s: %w", h, err)
	case errors.As(err, &path):
		return fault.Errorf(fault.Transient, "object %s: %w", h, err)
	default:
		return damaged("object %s: %v", h, err)
	}
}

func damaged(format string, args ...any) error {
	return fault.Errorf(fault.Transient, "%w: %s", ErrDamaged, fmt.Sprintf(format, args...)).
		WithHint("the next fetch rebuilds the mirror from its source")
}

// malformed is the error for an object that is what its name says, and not what
// git makes: no rebuild repairs it, so it is not ErrDamaged.
func malformed(format string, args ...any) error {
	return fault.Errorf(fault.Invalid, format, args...).WithHint("the commit was not made by git; git fsck says what is wrong with it")
}

func objectHeader(typ plumbing.ObjectType, size int) []byte {
	b := append([]byte(typ.String()), ' ')
	b = strconv.AppendInt(b, int64(size), 10)
	return append(b, 0)
}

func hashOf(typ plumbing.ObjectType, content []byte) plumbing.Hash {
	d := sha1.New() //nolint:gosec // see above
	d.Write(objectHeader(typ, len(content)))
	d.Write(content)
	var h plumbing.Hash
	d.Sum(h[:0])
	return h
}

func loosePath(objects string, h plumbing.Hash) string {
	name := h.String()
	return filepath.Join(objects, name[:2], name[2:])
}

// link brings one object into the store as a link to src's loose object, and
// reports whether there is one that can be linked.
func (s *store) link(src *store, h plumbing.Hash) (bool, error) {
	target := loosePath(s.dirs[0], h)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return false, fmt.Errorf("place object: %w", err)
	}
	for _, dir := range src.dirs {
		err := os.Link(loosePath(dir, h), target)
		if err == nil || errors.Is(err, fs.ErrExist) {
			s.placed.Add(1)
			return true, nil
		}
	}
	return false, nil
}

// write brings one object into the store as a loose object of its own.
func (s *store) write(h plumbing.Hash, typ plumbing.ObjectType, content []byte) error {
	var buf bytes.Buffer
	z, err := zlib.NewWriterLevel(&buf, zlib.BestSpeed) // trees are hashes, which do not compress
	if err != nil {
		return err
	}
	_, _ = z.Write(objectHeader(typ, len(content))) // a bytes.Buffer never fails
	_, _ = z.Write(content)
	_ = z.Close()
	s.placed.Add(1)
	return writeWhole(loosePath(s.dirs[0], h), &buf, 0o444)
}

// writeWhole makes a file appear with all its content or not at all.
func writeWhole(target string, r io.Reader, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(target), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = io.Copy(f, r); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}

// linkOrCopy makes target a hard link to source, or a copy where links are not
// possible (another file system, another user's file). An existing target stays.
func linkOrCopy(source, target string) error {
	err := os.Link(source, target)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return nil
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return writeWhole(target, f, 0o444)
}

// cancelled returns ctx's error, with the fault kind it stands for.
func cancelled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Errorf(fault.Transient, "interrupted: %w", err)
	}
	return nil
}
