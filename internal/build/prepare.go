package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// workspace is a tenant's directory, held by its lock.
type workspace struct {
	dir  string
	lock *os.File
}

func (w *workspace) src() string { return filepath.Join(w.dir, "src") }

func (w *workspace) release() { w.lock.Close() }

// open takes a tenant's directory for this call alone, also among processes.
func (b *Builder) open(ctx context.Context, tenant string) (*workspace, error) {
	dir := filepath.Join(b.dir, "work", tenant)
	lock, err := acquire(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("work directory of %s: %w", tenant, err)
	}
	return &workspace{dir: dir, lock: lock}, nil
}

// prepare puts the app's source into the workspace and checks it.
func (b *Builder) prepare(ctx context.Context, w *workspace, a *app) error {
	marker := filepath.Join(w.dir, "prepared")
	mark := a.compileKey + " " + b.nonce
	if have, err := os.ReadFile(marker); err == nil && string(have) == mark {
		return nil
	}
	if err := os.Remove(marker); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare source: %w", err)
	}
	var err error
	if a.files != nil {
		err = writeDesign(w.src(), a)
	} else {
		err = exportSource(ctx, w.src(), a)
	}
	if err != nil {
		return fmt.Errorf("prepare source: %w", err)
	}
	if a.files == nil {
		if err := inspect(w.src(), a); err != nil {
			return err
		}
	}
	return os.WriteFile(marker, []byte(mark), 0o644)
}

// writeDesign writes the generated module; a file only if it differs.
func writeDesign(src string, a *app) error {
	keep := make([]string, len(a.files))
	for i, f := range a.files {
		keep[i] = f.Path
		if err := writeChanged(filepath.Join(src, filepath.FromSlash(f.Path)), f.Data); err != nil {
			return err
		}
	}
	return prune(src, ".", keep)
}

// exportSource takes the app's sources from its repository to the same places
// below src.
func exportSource(ctx context.Context, src string, a *app) error {
	files := a.src.FS(a.commit)
	var keep []string
	for _, p := range a.paths {
		keep = append(keep, p, p+".index", p+".lock") // what Export remembers beside its directory
	}
	if err := prune(src, ".", keep); err != nil {
		return err
	}
	for _, p := range a.paths {
		target := filepath.Join(src, filepath.FromSlash(p))
		info, err := fs.Stat(files, p)
		if err != nil {
			return fmt.Errorf("look at %s: %w", p, err)
		}
		if info.IsDir() {
			if err := replaceFile(target); err != nil {
				return err
			}
			if err := a.src.Export(ctx, a.commit, p, target); err != nil {
				return err
			}
			continue
		}
		b, err := readLimited(files, p, maxGoFile)
		if err != nil {
			return err
		}
		if err := writeChanged(target, b); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile removes a file where a directory is to be, and makes the parents.
func replaceFile(target string) error {
	if info, err := os.Lstat(target); err == nil && !info.IsDir() {
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	return os.MkdirAll(target, 0o755)
}

// writeChanged writes a file only if its bytes differ.
func writeChanged(name string, data []byte) error {
	info, err := os.Lstat(name)
	switch {
	case err == nil && info.Mode().IsRegular() && info.Size() == int64(len(data)):
		if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, data) {
			return nil
		}
	case err == nil && !info.Mode().IsRegular():
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// prune removes what is neither one of the paths nor above or below one.
func prune(root, dir string, keep []string) error {
	if slices.Contains(keep, ".") {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		kept, above := false, false
		for _, k := range keep {
			kept = kept || k == name
			above = above || strings.HasPrefix(k, name+"/")
		}
		switch {
		case kept:
		case above && e.IsDir():
			err = prune(root, name, keep)
		default:
			err = os.RemoveAll(filepath.Join(root, filepath.FromSlash(name)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inspect refuses what a build must not read or would not notice.
func inspect(src string, a *app) error {
	for _, p := range a.paths {
		err := filepath.WalkDir(filepath.Join(src, filepath.FromSlash(p)), func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(src, name)
			if err != nil || e.IsDir() {
				return err
			}
			return inspectFile(name, filepath.ToSlash(rel), e)
		})
		if err != nil {
			return fmt.Errorf("inspect source: %w", err)
		}
	}
	return nil
}

func inspectFile(name, rel string, e fs.DirEntry) error {
	if !e.Type().IsRegular() {
		return fault.Errorf(fault.Invalid, "%s is a symbolic link or special file: not supported in an app", rel)
	}
	switch path.Ext(rel) {
	case ".go":
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if isGoSource(rel) && hasImportC(b) {
			return fault.Errorf(fault.Invalid, `%s: import "C": not supported, apps are built without cgo`, rel).
				WithHint("use a package in pure Go")
		}
	case ".s", ".S", ".syso":
		// The assembler includes any file that it is told to.
		return fault.Errorf(fault.Invalid, "%s: assembly and object files are not supported in an app", rel)
	}
	return nil
}
