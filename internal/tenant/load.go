package tenant

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// File is one tenant file, read.
type File struct {
	Path     string   // as the caller's file system has it, slash-separated
	Name     string   // the file's stem: which tenant is meant, also when the file is invalid
	Tenant   *Tenant  // nil if there are problems
	Problems Problems // empty exactly if there is a tenant

	domains []place // of the tenant's domains
}

// reject makes the file invalid for problems that only show beside other files.
func (f *File) reject(ps ...Problem) {
	f.Tenant = nil
	f.Problems = append(f.Problems, ps...)
}

// Set is what a directory of tenant files says.
type Set struct {
	Files []File // ordered by path
	// Ignored are the entries of the directory that are not read: directories,
	// which are never descended into, and files of other kinds. Dotfiles and
	// READMEs are not listed.
	Ignored []string
}

// Load reads the tenant files of a directory: its *.yaml and *.yml, at one
// level. What is wrong with a file is a problem of that file; Load fails only
// when the directory cannot be listed, so that no tenant is ever taken for
// deleted because of it. A directory that is not there is fault.NotFound and
// fs.ErrNotExist.
func Load(fsys fs.FS, dir string) (*Set, error) {
	if info, err := fs.Lstat(fsys, dir); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return nil, fault.Errorf(fault.Invalid, "list tenants: %s is a symbolic link", dir)
	}
	entries, err := fs.ReadDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.NotFound, "list tenants: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	set := &Set{}
	var parsing sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	set.Files = make([]File, 0, len(entries)) // never grown: parsers hold pointers into it
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		switch {
		case !IsFile(entry.Name()):
			if !overlooked(entry.Name()) {
				set.Ignored = append(set.Ignored, name)
			}
			continue
		case entry.IsDir():
			set.Ignored = append(set.Ignored, name)
			continue
		}
		set.Files = append(set.Files, File{Path: name, Name: stem(name)})
		f := &set.Files[len(set.Files)-1]
		data, problem := read(fsys, name, entry.Type())
		if problem != nil {
			f.Problems = Problems{*problem}
			continue
		}
		slots <- struct{}{}
		parsing.Go(func() {
			*f = parse(name, data)
			<-slots
		})
	}
	parsing.Wait()
	rejectTwins(set.Files)
	slices.Sort(set.Ignored)
	return set, nil
}

// LoadFile reads one tenant file as Load does, and like Load rejects it when the
// same tenant has a second file beside it.
func LoadFile(fsys fs.FS, name string) File {
	f := File{Path: name, Name: stem(name)}
	info, err := fs.Lstat(fsys, name)
	if err != nil {
		f.Problems = Problems{unreadable(name, err)}
		return f
	}
	data, problem := read(fsys, name, info.Mode().Type())
	if problem != nil {
		f.Problems = Problems{*problem}
	} else {
		f = parse(name, data)
	}
	if twin := twinOf(name); twin != "" {
		if other, err := fs.Lstat(fsys, twin); err == nil && !other.IsDir() {
			f.reject(twinProblem(name, twin))
		}
	}
	return f
}

// IsFile reports whether an entry of the tenants' directory is a tenant file,
// by its name. One that is not UTF-8 can neither be stored nor shown.
func IsFile(name string) bool {
	return !strings.HasPrefix(name, ".") && suffix(name) != "" && utf8.ValidString(name)
}

// suffix returns the suffix of a tenant file's name, or "".
func suffix(name string) string {
	switch ext := path.Ext(name); ext {
	case ".yaml", ".yml":
		return ext
	}
	return ""
}

// overlooked reports whether nobody expects the entry to be a tenant's.
func overlooked(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(strings.ToUpper(name), "README")
}

// read returns a file's bytes, one more than MaxFile at most.
func read(fsys fs.FS, name string, kind fs.FileMode) ([]byte, *Problem) {
	switch kind {
	case 0:
	case fs.ModeSymlink:
		return nil, &Problem{
			File: name, Message: "is a symbolic link, which is not followed",
			Hint: "commit the file itself",
		}
	default:
		return nil, &Problem{File: name, Message: "is not a regular file"}
	}
	file, err := fsys.Open(name)
	if err != nil {
		p := unreadable(name, err)
		return nil, &p
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		p := unreadable(name, err)
		return nil, &p
	}
	return data, nil
}

func unreadable(name string, err error) Problem {
	if errors.Is(err, fs.ErrNotExist) {
		return Problem{File: name, Message: "does not exist"}
	}
	var path *fs.PathError
	if errors.As(err, &path) { // the path is said already
		err = path.Err
	}
	return Problem{File: name, Message: "cannot be read: " + err.Error()}
}

// twinOf returns the other name that a tenant's file could have.
func twinOf(name string) string {
	switch suffix(name) {
	case ".yaml":
		return strings.TrimSuffix(name, ".yaml") + ".yml"
	case ".yml":
		return strings.TrimSuffix(name, ".yml") + ".yaml"
	}
	return ""
}

func twinProblem(name, twin string) Problem {
	return Problem{
		File: name, Message: fmt.Sprintf("%s describes the same tenant", path.Base(twin)),
		Hint: "keep one of the two",
	}
}

// rejectTwins finds the files, ordered by path, that share their stem.
func rejectTwins(files []File) {
	byPath := make(map[string]int, len(files))
	for i := range files {
		byPath[files[i].Path] = i
	}
	for i := range files {
		twin := twinOf(files[i].Path)
		if _, ok := byPath[twin]; ok {
			files[i].reject(twinProblem(files[i].Path, twin))
		}
	}
}
