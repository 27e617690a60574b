package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Publish makes the pointer name a release that is there, on behalf of a
// commit, under the next sequence number. Publishing what is current already
// changes nothing and returns the pointer as it is.
func (v *Volume) Publish(digest, commit string) (Pointer, error) {
	return v.point(digest, commit, false)
}

// Renew is Publish with a new sequence number, also for what is current
// already: whoever gave that up has a reason to try it again.
func (v *Volume) Renew(digest, commit string) (Pointer, error) {
	return v.point(digest, commit, true)
}

func (v *Volume) point(digest, commit string, renew bool) (Pointer, error) {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return Pointer{}, fmt.Errorf("publish release %.12s: %w", digest, err)
	}
	defer root.Close()
	p, err := v.publish(root, digest, commit, renew)
	if err != nil {
		return Pointer{}, fmt.Errorf("publish release %.12s: %w", digest, err)
	}
	return p, nil
}

func (v *Volume) publish(root *os.Root, digest, commit string, renew bool) (Pointer, error) {
	unlock, err := v.lock(root)
	if err != nil {
		return Pointer{}, err
	}
	defer unlock()
	m, size, err := readManifest(root, digest)
	if err != nil {
		return Pointer{}, err
	}
	for name, f := range m.contents() {
		info, err := root.Lstat(path.Join(releasesDir, digest, name))
		if err != nil {
			return Pointer{}, err
		}
		if !info.Mode().IsRegular() || info.Size() != f.Size {
			return Pointer{}, fmt.Errorf("%w: %s has %d bytes, not %d", ErrDamaged, name, info.Size(), f.Size)
		}
	}
	next := Pointer{SHA256: digest, Size: size, Commit: commit}
	switch now, err := readPointer(root); {
	case err == nil && now.SHA256 == digest && now.Commit == commit && !renew:
		return now, nil
	case err == nil:
		next.Seq = now.Seq + 1
	case errors.Is(err, fs.ErrNotExist):
		next.Seq = 1
	case errors.Is(err, ErrDamaged):
		// The last number is lost. Seconds since 1970 are above every number
		// that counting publishes ever reaches, so it still only grows.
		next.Seq = uint64(time.Now().Unix())
	default:
		return Pointer{}, err
	}
	o, err := ownerOf(root)
	if err != nil {
		return Pointer{}, err
	}
	b, err := json.Marshal(next)
	if err != nil {
		return Pointer{}, err
	}
	if err := replace(root, o, pointerName, append(b, '\n')); err != nil {
		return Pointer{}, err
	}
	return next, nil
}

// Remove removes a release. The current one is refused with ErrInUse; one that
// is not there is no error.
func (v *Volume) Remove(digest string) error {
	if !digestForm.MatchString(digest) {
		return fmt.Errorf("remove release: %q is not a digest", digest)
	}
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return fmt.Errorf("remove release %.12s: %w", digest, err)
	}
	defer root.Close()
	if err := v.remove(root, digest); err != nil {
		return fmt.Errorf("remove release %.12s: %w", digest, err)
	}
	return nil
}

func (v *Volume) remove(root *os.Root, digest string) error {
	unlock, err := v.lock(root)
	if err != nil {
		return err
	}
	defer unlock()
	switch now, err := readPointer(root); {
	case err == nil && now.SHA256 == digest:
		return ErrInUse
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err // without knowing what is current, nothing is safe to remove
	}
	if m, _, err := readManifest(root, digest); err == nil && keyForm.MatchString(m.Build) {
		name := path.Join(buildsDir, m.Build)
		if have, err := readFile(root, name, 1024); err == nil && string(have) == digest {
			_ = root.Remove(name) // an entry that leads nowhere is harmless
		}
	}
	// A release goes as it came: whole, by one rename.
	aside := path.Join(releasesDir, tempName())
	err = root.Rename(path.Join(releasesDir, digest), aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.RemoveAll(aside)
}

// GC removes every release but the current one and those to keep, and returns
// what it removed. It must not run while a release is between Commit and
// Publish, unless that one is kept.
func (v *Volume) GC(keep ...string) ([]string, error) {
	digests, err := v.List()
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, d := range digests {
		if slices.Contains(keep, d) {
			continue
		}
		switch err := v.Remove(d); {
		case err == nil:
			removed = append(removed, d)
		case !errors.Is(err, ErrInUse):
			return removed, err
		}
	}
	return removed, nil
}

// CleanStaging removes what crashed writers left behind and has not changed
// for at least the given time, which must be longer than any build takes.
func (v *Volume) CleanStaging(olderThan time.Duration) error {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return fmt.Errorf("clean staging: %w", err)
	}
	defer root.Close()
	limit := time.Now().Add(-olderThan)
	var errs []error
	for _, dir := range []string{".", releasesDir, buildsDir} {
		names, err := readNames(root, dir)
		errs = append(errs, err)
		for _, name := range names {
			full := path.Join(dir, name)
			if !strings.HasPrefix(name, tempPrefix) {
				continue
			}
			if info, err := root.Lstat(full); err == nil && !info.ModTime().After(limit) {
				errs = append(errs, root.RemoveAll(full))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean staging: %w", err)
	}
	return nil
}
