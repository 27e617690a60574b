package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Bounds of what is read to find an app's sources, in bytes.
const (
	maxGoMod  = 256 << 10
	maxGoFile = 16 << 20
)

// Sources returns the paths (directories and files) of the repository that the
// app at dir is built from, sorted, none below another. A module of its own is
// its directory and those that local replace directives name. Else it is what
// the package imports, transitively, of the module it is in, with go.mod and
// go.sum. An app that is not there is fault.NotFound; one without a module, or
// that reaches outside the repository, fault.Invalid.
func Sources(fsys fs.FS, dir string) ([]string, error) {
	_, paths, err := locate(fsys, dir)
	return paths, err
}

// locate returns the directory of the app's module, and its sources.
func locate(fsys fs.FS, dir string) (module string, paths []string, err error) {
	if !fs.ValidPath(dir) {
		return "", nil, fault.Errorf(fault.Invalid, "app path %q is not a clean path inside the repository", dir)
	}
	info, err := fs.Stat(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, fault.Errorf(fault.NotFound, "the repository has no directory %s", dir)
	case err != nil:
		return "", nil, fmt.Errorf("look for app %s: %w", dir, err)
	case !info.IsDir():
		return "", nil, fault.Errorf(fault.Invalid, "app path %s is not a directory", dir)
	}
	module, mod, err := findModule(fsys, dir)
	if err != nil {
		return "", nil, err
	}
	replaced, err := localReplaces(fsys, module, mod)
	if err != nil {
		return "", nil, err
	}
	if module == dir {
		return module, minimal(append(replaced, dir)), nil
	}
	packages, err := closure(fsys, module, mod.Module.Mod.Path, dir)
	if err != nil {
		return "", nil, err
	}
	paths = append(append(replaced, packages...), path.Join(module, "go.mod"))
	sum := path.Join(module, "go.sum")
	switch _, err := fs.Stat(fsys, sum); {
	case err == nil:
		paths = append(paths, sum)
	case !errors.Is(err, fs.ErrNotExist):
		return "", nil, fmt.Errorf("look for %s: %w", sum, err)
	}
	return module, minimal(paths), nil
}

// findModule reads the nearest go.mod at or above dir.
func findModule(fsys fs.FS, dir string) (string, *modfile.File, error) {
	for at := dir; ; at = path.Dir(at) {
		name := path.Join(at, "go.mod")
		b, err := readLimited(fsys, name, maxGoMod)
		if errors.Is(err, fs.ErrNotExist) {
			if at == "." {
				return "", nil, fault.Errorf(fault.Invalid, "app %s is in no Go module", dir).
					WithHint("add a go.mod: cd %s && go mod init %s", dir, path.Base(dir))
			}
			continue
		}
		if err != nil {
			return "", nil, err
		}
		mod, err := modfile.Parse(name, b, nil)
		if err != nil {
			return "", nil, fault.Errorf(fault.Invalid, "%s is not right", name).WithDetail(err.Error())
		}
		if mod.Module == nil {
			return "", nil, fault.Errorf(fault.Invalid, "%s names no module", name)
		}
		return at, mod, nil
	}
}

// readLimited reads a regular file of at most limit bytes.
func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	} else if !info.Mode().IsRegular() {
		return nil, fault.Errorf(fault.Invalid, "%s is not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fault.Errorf(fault.Invalid, "%s is larger than %d KiB", name, limit>>10)
	}
	return b, nil
}

// localReplaces returns the directories that replace directives name.
func localReplaces(fsys fs.FS, module string, mod *modfile.File) ([]string, error) {
	var dirs []string
	for _, r := range mod.Replace {
		if r.New.Version != "" {
			continue // another module, from the proxy like any
		}
		target := path.Join(module, r.New.Path)
		where := fmt.Sprintf("%s:%d", path.Join(module, "go.mod"), r.Syntax.Start.Line)
		if path.IsAbs(r.New.Path) || strings.ContainsAny(r.New.Path, `\:`) || !fs.ValidPath(target) {
			return nil, fault.Errorf(fault.Invalid, "%s: replace %s => %s leads out of the repository", where, r.Old.Path, r.New.Path)
		}
		info, err := fs.Stat(fsys, target)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
			return nil, fault.Errorf(fault.Invalid, "%s: replace %s => %s: the repository has no directory %s", where, r.Old.Path, r.New.Path, target)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		dirs = append(dirs, target)
	}
	return dirs, nil
}

// closure returns the directories of the module that the package in dir is
// built from. Files are read whatever their build constraints: too many
// directories do no harm.
func closure(fsys fs.FS, module, modulePath, dir string) ([]string, error) {
	seen := map[string]bool{dir: true}
	queue := []string{dir}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		imports, err := imported(fsys, at)
		if err != nil {
			return nil, err
		}
		for _, imp := range imports {
			rest, ok := strings.CutPrefix(imp, modulePath)
			if !ok || (rest != "" && rest[0] != '/') {
				continue
			}
			next := path.Join(module, rest)
			if seen[next] || !fs.ValidPath(next) {
				continue
			}
			if info, err := fs.Stat(fsys, next); err != nil || !info.IsDir() {
				continue // the compiler says where it is asked for
			}
			seen[next] = true
			queue = append(queue, next)
		}
	}
	dirs := make([]string, 0, len(seen))
	for d := range seen {
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// imported returns what the Go files directly in dir import, but tests.
func imported(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var all []string
	for _, e := range entries {
		if !isGoSource(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		b, err := readLimited(fsys, path.Join(dir, e.Name()), maxGoFile)
		if err != nil {
			return nil, err
		}
		all = append(all, importsOf(b)...)
	}
	return all, nil
}

func isGoSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// importsOf returns what can be read of a file's imports; what is wrong with
// the rest is for the compiler to say.
func importsOf(src []byte) []string {
	file, _ := parser.ParseFile(token.NewFileSet(), "", src, parser.ImportsOnly)
	if file == nil {
		return nil
	}
	var out []string
	for _, i := range file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// minimal sorts paths and drops those below another.
func minimal(paths []string) []string {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if slices.Contains(paths, ".") {
		return []string{"."}
	}
	have := map[string]bool{}
	for _, p := range paths {
		have[p] = true
	}
	return slices.DeleteFunc(paths, func(p string) bool {
		for up := path.Dir(p); up != "."; up = path.Dir(up) {
			if have[up] {
				return true
			}
		}
		return false
	})
}

// SourceDigest returns one digest over the sources of an app at a commit.
func SourceDigest(src Source, commit string, paths []string) (string, error) {
	h := sha256.New()
	for _, p := range paths {
		id, err := src.TreeID(commit, p)
		if err != nil {
			return "", fmt.Errorf("digest of %s at %.12s: %w", p, commit, err)
		}
		if id == "" {
			return "", fault.Errorf(fault.NotFound, "there is no %s at %.12s", p, commit)
		}
		fmt.Fprintf(h, "%q %q\n", p, id)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hasImportC reports whether a Go file uses cgo.
func hasImportC(src []byte) bool {
	return bytes.Contains(src, []byte(`"C"`)) && slices.Contains(importsOf(src), "C")
}
