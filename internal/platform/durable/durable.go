// Package durable replaces files so that a reader, or a crash, sees the old
// content or the new one and nothing between.
package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Owner is who a file belongs to. The zero Owner leaves that as it is: the
// process's own user.
type Owner struct{ UID, GID int }

// Write replaces path by a file with the given content, mode and owner, and
// has it on disk when it returns. Callers serialise writes of one path: the
// temporary file's name is fixed, so that a crash leaves at most one behind,
// which the next write removes.
//
// The directory must not be writable by anyone less privileged.
func Write(path string, content []byte, mode fs.FileMode, owner Owner) error {
	return write(path, content, mode, owner, true)
}

// Replace is Write without waiting for the disk, for what means nothing after
// a power failure.
func Replace(path string, content []byte, mode fs.FileMode, owner Owner) error {
	return write(path, content, mode, owner, false)
}

func write(path string, content []byte, mode fs.FileMode, owner Owner, sync bool) (err error) {
	dir, base := filepath.Split(path)
	temporary := filepath.Join(dir, "."+base+".tmp")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := fill(temporary, content, mode, owner, sync); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	if sync {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

func fill(path string, content []byte, mode fs.FileMode, owner Owner, sync bool) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if owner != (Owner{}) && os.Geteuid() == 0 {
		if err := f.Chown(owner.UID, owner.GID); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil { // OpenFile's mode is subject to the umask
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// WriteJSON is Write of v as JSON.
func WriteJSON(path string, v any, mode fs.FileMode, owner Owner) error {
	content, err := encode(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return Write(path, content, mode, owner)
}

// ReplaceJSON is Replace of v as JSON.
func ReplaceJSON(path string, v any, mode fs.FileMode, owner Owner) error {
	content, err := encode(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return Replace(path, content, mode, owner)
}

func encode(v any) ([]byte, error) {
	content, err := json.MarshalIndent(v, "", "  ")
	return append(content, '\n'), err
}

// ReadJSON reads path into v and reports whether the file is there.
func ReadJSON(path string, v any) (bool, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(content, v); err != nil {
		return true, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

// Remove removes path and has that on disk when it returns. A path that is
// not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir has the directory's entries on disk when it returns.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Update is Write, unless the file has that content already; it reports whether
// it wrote.
func Update(path string, content []byte, mode fs.FileMode, owner Owner) (bool, error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return false, nil
	}
	return true, Write(path, content, mode, owner)
}

// UpdateJSON is Update with v as JSON.
func UpdateJSON(path string, v any, mode fs.FileMode, owner Owner) (bool, error) {
	content, err := encode(v)
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return Update(path, content, mode, owner)
}
