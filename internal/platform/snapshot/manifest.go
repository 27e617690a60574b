package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
)

// Names in a snapshot.
const (
	ManifestFile = "manifest.json"
	databaseFile = "database.dump"
	keysFile     = "cache.jsonl"
	releaseDir   = "release"
	staticDir    = "static"
)

// timeForm is how a snapshot is named: the names sort by time.
const timeForm = "20060102T150405.000000Z"

// maxManifest bounds a manifest, in bytes: it lists every asset twice.
const maxManifest = 64 << 20

// parallel is how many files are moved, or read, at a time.
const parallel = 8

// Manifest describes a snapshot.
type Manifest struct {
	Tenant   string           `json:"tenant"`
	At       time.Time        `json:"at"`
	Postgres string           `json:"postgres,omitempty"` // version of the server
	Release  *release.Pointer `json:"release,omitempty"`  // the current one
	Static   string           `json:"static,omitempty"`   // release whose assets were served
	Tables   int              `json:"tables"`             // that have their rows in the dump
	Keys     int              `json:"keys"`
	Files    []release.File   `json:"files"` // all but the manifest, by path
}

func (m *Manifest) encode() ([]byte, error) {
	slices.SortFunc(m.Files, func(a, b release.File) int { return cmp.Compare(a.Path, b.Path) })
	content, err := json.MarshalIndent(m, "", "  ")
	return append(content, '\n'), err
}

// file returns a file's entry, or false.
func (m *Manifest) file(name string) (release.File, bool) {
	for _, f := range m.Files {
		if f.Path == name {
			return f, true
		}
	}
	return release.File{}, false
}

// below returns the files in a directory, by their paths in it.
func (m *Manifest) below(dir string) []release.File {
	var files []release.File
	for _, f := range m.Files {
		if name, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
			f.Path = name
			files = append(files, f)
		}
	}
	return files
}

// describe tells of the snapshot in the platform's words.
func (m *Manifest) describe(name string) platform.Snapshot {
	one := platform.Snapshot{Name: name, At: m.At, Keys: m.Keys}
	for _, f := range m.Files {
		one.Bytes += f.Size
	}
	if _, one.Database = m.file(databaseFile); m.Release != nil {
		one.Release = m.Release.SHA256
	}
	return one
}

// readManifest reads a snapshot's manifest: fault.Invalid if it is none.
func readManifest(ctx context.Context, files Files) (*Manifest, error) {
	f, err := files.Open(ctx, ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.Invalid, "it has no manifest")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxManifest {
		return nil, fault.Errorf(fault.Invalid, "its manifest has more than %d bytes", maxManifest)
	}
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, fault.Errorf(fault.Invalid, "its manifest cannot be read: %w", err)
	}
	return &m, nil
}

// opened is a snapshot that can be restored.
type opened struct {
	*Manifest
	files Files
}

// verify reads all of a snapshot. Its error is fault.Invalid if it is not what
// was saved of the tenant.
func verify(ctx context.Context, files Files, tenant string) (*opened, error) {
	m, err := readManifest(ctx, files)
	if err != nil {
		return nil, err
	}
	if m.Tenant != tenant {
		return nil, fault.Errorf(fault.Invalid, "it is of tenant %q", m.Tenant)
	}
	listed := map[string]bool{ManifestFile: true}
	for _, f := range m.Files {
		if listed[f.Path] || !fs.ValidPath(f.Path) {
			return nil, fault.Errorf(fault.Invalid, "its manifest cannot have the file %q", f.Path)
		}
		listed[f.Path] = true
	}
	there, err := files.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range there {
		if !listed[name] {
			return nil, fault.Errorf(fault.Invalid, "it does not match its manifest: %s is not in it", name)
		}
	}
	s := &opened{m, files}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, f := range m.Files {
		group.Go(func() error { return s.read(ctx, f, io.Discard) })
	}
	return s, group.Wait()
}

// read writes a file's content to w: fault.Invalid if it is not what was saved.
func (s *opened) read(ctx context.Context, want release.File, w io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := s.files.Open(ctx, want.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Errorf(fault.Invalid, "it does not match its manifest: %s is not there", want.Path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := digest(io.TeeReader(io.LimitReader(f, want.Size+1), w), want.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", want.Path, err)
	}
	if have != want {
		return fault.Errorf(fault.Invalid, "it does not match its manifest: %s is not the file that was saved", want.Path)
	}
	return nil
}

// local returns a file of the snapshot on local disk, to be ended by done: where it
// is kept elsewhere, a copy in dir.
func (s *opened) local(ctx context.Context, name, dir string) (_ *os.File, done func(), err error) {
	want, ok := s.file(name)
	if !ok {
		return nil, nil, fault.Errorf(fault.Invalid, "it has no %s", name)
	}
	f, err := s.files.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if kept, ok := f.(*os.File); ok {
		return kept, func() { kept.Close() }, nil
	}
	f.Close()
	out, err := os.CreateTemp(dir, path.Base(name)+"-")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		out.Close()
		os.Remove(out.Name())
	}
	if err = s.read(ctx, want, out); err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return out, done, nil
}

func digest(r io.Reader, name string) (release.File, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, r)
	return release.File{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, err
}
