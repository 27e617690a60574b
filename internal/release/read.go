package release

import (
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
)

const (
	maxPointer  = 4 << 10  // bytes
	maxManifest = 32 << 20 // bytes; a manifest lists every static file
)

// Current returns the pointer as it is now; false means that nothing was ever
// published.
func (v *Volume) Current() (Pointer, bool, error) {
	var p Pointer
	err := v.fresh(func(root *os.Root) (err error) {
		p, err = readPointer(root)
		return err
	})
	switch {
	case err == nil:
		return p, true, nil
	case errors.Is(err, fs.ErrNotExist) && v.exists():
		return Pointer{}, false, nil
	}
	return Pointer{}, false, fmt.Errorf("read pointer: %w", err)
}

// exists tells a volume without a pointer from no volume.
func (v *Volume) exists() bool {
	info, err := os.Stat(v.dir)
	return err == nil && info.IsDir()
}

func readPointer(root *os.Root) (Pointer, error) {
	b, err := readFile(root, pointerName, maxPointer)
	if err != nil {
		return Pointer{}, err
	}
	var p Pointer
	if err := json.Unmarshal(b, &p); err != nil {
		return Pointer{}, fmt.Errorf("%w pointer: %w", ErrDamaged, err)
	}
	if p.Seq == 0 || !digestForm.MatchString(p.SHA256) {
		return Pointer{}, fmt.Errorf("%w pointer: names no release", ErrDamaged)
	}
	return p, nil
}

// Manifest returns the manifest of a release, after checking that its bytes
// have the digest. A release that is not there is fs.ErrNotExist.
func (v *Volume) Manifest(digest string) (Manifest, error) {
	var m Manifest
	err := v.fresh(func(root *os.Root) (err error) {
		m, _, err = readManifest(root, digest)
		return err
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("release %.12s: %w", digest, err)
	}
	return m, nil
}

// readManifest returns the manifest and its size in bytes.
func readManifest(root *os.Root, digest string) (Manifest, int64, error) {
	if !digestForm.MatchString(digest) {
		return Manifest{}, 0, fmt.Errorf("%q is not a digest", digest)
	}
	b, err := readFile(root, path.Join(releasesDir, digest, manifestName), maxManifest)
	if err != nil {
		return Manifest{}, 0, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest {
		return Manifest{}, 0, fmt.Errorf("%w: manifest does not have the release's digest", ErrDamaged)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, 0, fmt.Errorf("%w manifest: %w", ErrDamaged, err)
	}
	if m.Binary.Path != binaryName {
		return Manifest{}, 0, fmt.Errorf("%w manifest: binary is named %q", ErrDamaged, m.Binary.Path)
	}
	for _, f := range slices.Concat(m.Static, m.Migrations) {
		if !validName(f.Path) {
			return Manifest{}, 0, fmt.Errorf("%w manifest: path %q", ErrDamaged, f.Path)
		}
	}
	return m, int64(len(b)), nil
}

// contents returns every file of the release but its manifest, by the path
// inside the release.
func (m Manifest) contents() map[string]File {
	all := map[string]File{binaryName: m.Binary}
	for _, f := range m.Static {
		all[path.Join(string(Static), f.Path)] = f
	}
	for _, f := range m.Migrations {
		all[path.Join(string(Migrations), f.Path)] = f
	}
	return all
}

// OpenBinary opens the executable of a release to copy it. The caller checks
// size and digest against the manifest while it copies.
func (v *Volume) OpenBinary(digest string) (*os.File, error) {
	if !digestForm.MatchString(digest) {
		return nil, fmt.Errorf("%q is not a digest", digest)
	}
	var f *os.File
	err := v.fresh(func(root *os.Root) (err error) {
		f, _, err = openRegular(root, path.Join(releasesDir, digest, binaryName))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("release %.12s: %w", digest, err)
	}
	return f, nil
}

// Verify reads all of a release and compares it with its digest: every file
// is there, right, and there is no other.
func (v *Volume) Verify(digest string) error {
	err := v.fresh(func(root *os.Root) error {
		m, _, err := readManifest(root, digest)
		if err != nil {
			return err
		}
		want := m.contents()
		for name, f := range want {
			if err := verifyFile(root, path.Join(releasesDir, digest, name), f); err != nil {
				return err
			}
		}
		return noOthers(root, path.Join(releasesDir, digest), want)
	})
	if err != nil {
		return fmt.Errorf("verify release %.12s: %w", digest, err)
	}
	return nil
}

func verifyFile(root *os.Root, name string, want File) error {
	f, size, err := openRegular(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if size != want.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrDamaged, name, size, want.Size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%w: %s does not have its digest", ErrDamaged, name)
	}
	return nil
}

func noOthers(root *os.Root, dir string, want map[string]File) error {
	sub, err := root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer sub.Close()
	return fs.WalkDir(sub.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, ok := want[name]; !ok && name != manifestName {
			return fmt.Errorf("%w: %s is not in the manifest", ErrDamaged, name)
		}
		return nil
	})
}

// List returns the digests of the releases that are there, sorted.
func (v *Volume) List() ([]string, error) {
	var digests []string
	err := v.fresh(func(root *os.Root) error {
		digests = nil
		names, err := readNames(root, releasesDir)
		for _, name := range names {
			if digestForm.MatchString(name) {
				digests = append(digests, name)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	slices.Sort(digests)
	return digests, nil
}

// readNames lists a directory of the volume; one that was never made is empty.
func readNames(root *os.Root, dir string) ([]string, error) {
	d, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// FindBuild returns the release that a build key led to, if it is still there
// and whole.
func (v *Volume) FindBuild(key string) (digest string, ok bool, err error) {
	if !keyForm.MatchString(key) {
		return "", false, nil // Commit takes no such key
	}
	var m Manifest
	err = v.fresh(func(root *os.Root) error {
		b, err := readFile(root, path.Join(buildsDir, key), 1024)
		if err != nil {
			return err
		}
		digest = string(b)
		m, _, err = readManifest(root, digest)
		return err
	})
	if err == nil && m.Build == key {
		err = v.Verify(digest)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.exists(), errors.Is(err, ErrDamaged):
		return "", false, nil // to be built again
	case err != nil:
		return "", false, fmt.Errorf("find build %.12s: %w", key, err)
	case m.Build != key:
		return "", false, nil
	}
	return digest, true, nil
}
