package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// comparison is what a directory lacks of the files that it is to have.
type comparison struct {
	missing, different []starterFile
	blocked            []string // what no file can take the place of, and why
}

// compare looks at every file and changes nothing. Links that lead out of the
// directory are not followed.
func compare(root *os.Root, files []starterFile) (comparison, error) {
	var c comparison
	for _, f := range files {
		if why := obstacle(root, path.Dir(f.path)); why != "" {
			c.blocked = append(c.blocked, why)
			continue
		}
		info, err := root.Lstat(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.missing = append(c.missing, f)
			continue
		case err != nil:
			return c, fmt.Errorf("look at %s: %w", f.path, err)
		case !info.Mode().IsRegular():
			c.blocked = append(c.blocked, f.path+" is not a regular file")
			continue
		}
		same := info.Size() == int64(len(f.data))
		if same {
			data, err := root.ReadFile(f.path)
			if err != nil {
				return c, fmt.Errorf("read %s: %w", f.path, err)
			}
			same = bytes.Equal(data, f.data)
		}
		if !same {
			c.different = append(c.different, f)
		}
	}
	return c, nil
}

// obstacle says why a directory cannot be made or used, "" if it can.
func obstacle(root *os.Root, dir string) string {
	info, err := root.Lstat(dir)
	switch {
	case err == nil && info.IsDir():
		return ""
	case err == nil:
		return dir + " is not a directory"
	case dir == "." || dir == "/":
		return ""
	}
	return obstacle(root, path.Dir(dir))
}

// conflict returns fault.Invalid, naming every conflict, unless the files may be
// written.
func (c comparison) conflict(dir string, force bool) error {
	names := append([]string(nil), c.blocked...)
	if !force {
		for _, f := range c.different {
			names = append(names, f.path+" differs from what would be written")
		}
	}
	if len(names) == 0 {
		return nil
	}
	err := fault.Errorf(fault.Invalid, "%s has what gitopsd init would write; nothing was written", filepath.Clean(dir)).
		WithDetail(strings.Join(names, "\n"))
	if len(c.blocked) > 0 {
		return err.WithHint("move these away, or write to another directory")
	}
	return err.WithHint("write to another directory, or over these with --force")
}

// place writes a file that is there as a whole or not at all.
func place(root *os.Root, f starterFile) error {
	if err := root.MkdirAll(path.Dir(f.path), 0o755); err != nil {
		return fmt.Errorf("make directory for %s: %w", f.path, err)
	}
	// A name that is the same each time: what a kill left is taken away by the
	// next run.
	temporary := path.Join(path.Dir(f.path), initPrefix+path.Base(f.path))
	if err := writeSynced(root, temporary, f.data); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := root.Rename(temporary, f.path); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

func writeSynced(root *os.Root, name string, data []byte) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}
