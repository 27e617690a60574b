package release

import (
	"cmp"
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
	"sync"
	"syscall"
)

// Part is a directory of a release.
type Part string

// The parts of a release, beside its binary.
const (
	Static     Part = "static"
	Migrations Part = "migrations"
)

// Staging is a release that is being put together, out of every reader's
// sight. End it with Commit or Abort; one that a crash left behind is removed
// by CleanStaging. A Staging is not for concurrent use.
type Staging struct {
	v      *Volume
	root   *os.Root
	owner  owner
	dir    string // releases/.tmp-…
	binary *File
	files  map[Part][]File
	dirs   []string // made below dir, parents first
	done   bool
}

// Stage begins a release.
func (v *Volume) Stage() (*Staging, error) {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return nil, fmt.Errorf("stage release: %w", err)
	}
	s := &Staging{v: v, root: root, files: map[Part][]File{}, dir: path.Join(releasesDir, tempName())}
	if s.owner, err = ownerOf(root); err == nil {
		if err = ensureDir(root, s.owner, releasesDir); err == nil {
			err = root.Mkdir(s.dir, dirMode)
		}
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("stage release: %w", err)
	}
	return s, nil
}

// Add puts what r holds into the release, as name (slash-separated, relative)
// of the part. A name can be added once.
func (s *Staging) Add(part Part, name string, r io.Reader) error {
	if part != Static && part != Migrations {
		return fmt.Errorf("add %s: unknown part %q", name, part)
	}
	if !validName(name) {
		return fmt.Errorf("add to %s: %q is not a clean relative path", part, name)
	}
	full := path.Join(string(part), name)
	if err := s.mkdirs(path.Dir(full)); err != nil {
		return fmt.Errorf("add %s: %w", full, err)
	}
	f, err := s.write(full, r, fileMode)
	if err != nil {
		return fmt.Errorf("add %s: %w", full, err)
	}
	f.Path = name
	s.files[part] = append(s.files[part], f)
	return nil
}

// AddFile is Add with the content of the file at source.
func (s *Staging) AddFile(part Part, name, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("add %s/%s: %w", part, name, err)
	}
	defer f.Close()
	return s.Add(part, name, f)
}

// AddBinary puts a copy of the executable at source into the release: a copy,
// never a link, since whoever owns source may write to it again.
func (s *Staging) AddBinary(source string) error {
	if s.binary != nil {
		return errors.New("add binary: there is one already")
	}
	f, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("add binary: %w", err)
	}
	defer f.Close()
	b, err := s.write(binaryName, f, binaryMode)
	if err != nil {
		return fmt.Errorf("add binary: %w", err)
	}
	s.binary = &b
	return nil
}

// Commit completes the manifest (its file lists are what was added) and makes
// the release appear, durably, under its digest. A release that is there
// already, whole, is success; a damaged one is replaced.
func (s *Staging) Commit(m Manifest) (string, error) {
	if s.done {
		return "", errors.New("commit release: already ended")
	}
	defer s.Abort()
	m, err := s.complete(m)
	if err != nil {
		return "", fmt.Errorf("commit release: %w", err)
	}
	digest := m.Digest()
	if s.v.Verify(digest) != nil {
		if err := s.settle(m.Encode()); err != nil {
			return "", fmt.Errorf("commit release %.12s: %w", digest, err)
		}
		if err := s.appear(digest); err != nil {
			return "", fmt.Errorf("commit release %.12s: %w", digest, err)
		}
	}
	if err := s.index(m.Build, digest); err != nil {
		return "", fmt.Errorf("index release %.12s: %w", digest, err)
	}
	return digest, nil
}

// Abort removes what was staged. After Commit, or again, it does nothing.
func (s *Staging) Abort() {
	if s.done {
		return
	}
	s.done = true
	_ = s.root.RemoveAll(s.dir) // what stays is CleanStaging's
	s.root.Close()
}

func (s *Staging) complete(m Manifest) (Manifest, error) {
	if s.binary == nil {
		return m, errors.New("no binary was added")
	}
	if len(m.Schema) > 0 && !json.Valid(m.Schema) {
		return m, errors.New("schema is not valid JSON")
	}
	if m.Build != "" && !keyForm.MatchString(m.Build) {
		return m, fmt.Errorf("build key %q cannot be a file name", m.Build)
	}
	byPath := func(a, b File) int { return cmp.Compare(a.Path, b.Path) }
	m.Binary = *s.binary
	m.Static = slices.SortedFunc(slices.Values(s.files[Static]), byPath)
	m.Migrations = slices.SortedFunc(slices.Values(s.files[Migrations]), byPath)
	return m, nil
}

// settle makes everything staged durable, files before the directories that
// name them.
func (s *Staging) settle(manifest []byte) error {
	f, err := s.root.OpenFile(path.Join(s.dir, manifestName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(manifest)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	modes := map[string]fs.FileMode{manifestName: fileMode, binaryName: binaryMode}
	for part, files := range s.files {
		for _, f := range files {
			modes[path.Join(string(part), f.Path)] = fileMode
		}
	}
	if err := s.settleFiles(modes); err != nil {
		return err
	}
	for _, dir := range slices.Backward(s.dirs) {
		if err := s.owner.settleName(s.root, path.Join(s.dir, dir), dirMode); err != nil {
			return err
		}
	}
	return s.owner.settleName(s.root, s.dir, dirMode)
}

// settleFiles does files side by side: file systems join their fsyncs.
func (s *Staging) settleFiles(modes map[string]fs.FileMode) error {
	const width = 8
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		slot = make(chan struct{}, width)
	)
	for name, mode := range modes {
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			if err := s.owner.settleName(s.root, path.Join(s.dir, name), mode); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// appear renames the staged directory to its digest.
func (s *Staging) appear(digest string) error {
	unlock, err := s.v.lock(s.root)
	if err != nil {
		return err
	}
	defer unlock()
	target := path.Join(releasesDir, digest)
	err = s.root.Rename(s.dir, target)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		if s.v.Verify(digest) == nil {
			return nil // another one was faster
		}
		aside := path.Join(releasesDir, tempName())
		if err = s.root.Rename(target, aside); err != nil {
			return fmt.Errorf("move damaged release aside: %w", err)
		}
		_ = s.root.RemoveAll(aside) // what stays is CleanStaging's
		err = s.root.Rename(s.dir, target)
	}
	if err != nil {
		return err
	}
	return syncDir(s.root, releasesDir)
}

func (s *Staging) index(key, digest string) error {
	if key == "" {
		return nil
	}
	name := path.Join(buildsDir, key)
	if have, err := readFile(s.root, name, 1024); err == nil && string(have) == digest {
		return nil
	}
	if err := ensureDir(s.root, s.owner, buildsDir); err != nil {
		return err
	}
	return replace(s.root, s.owner, name, []byte(digest))
}

func (s *Staging) mkdirs(dir string) error {
	if dir == "." || slices.Contains(s.dirs, dir) {
		return nil
	}
	if err := s.mkdirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := s.root.Mkdir(path.Join(s.dir, dir), dirMode); err != nil {
		return err
	}
	s.dirs = append(s.dirs, dir)
	return nil
}

// write copies r to a new file and hashes on the way.
func (s *Staging) write(name string, r io.Reader, mode fs.FileMode) (File, error) {
	if s.done {
		return File{}, errors.New("staging has ended")
	}
	f, err := s.root.OpenFile(path.Join(s.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return File{}, err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(f, h), onlyReader{r}, make([]byte, 256<<10))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return File{}, err
	}
	return File{Path: name, SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

// onlyReader hides WriteTo, which would ignore the large buffer.
type onlyReader struct{ io.Reader }

// validName accepts what names the same file on every host: clean, relative,
// without control characters or backslashes.
func validName(name string) bool {
	if !fs.ValidPath(name) || name == "." || len(name) > 1024 {
		return false
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '\\' {
			return false
		}
	}
	return true
}
