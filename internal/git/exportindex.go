package git

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// exportIndex remembers what each exported file held when it was last seen,
// and how it looked then. As in git's own index, a file that was changed in
// about the same moment as the index was written cannot be told by its looks:
// racy entries are compared by content the next time.
type exportIndex struct {
	files   map[string]indexed
	written time.Time
}

type indexed struct {
	hash  plumbing.Hash
	size  int64
	mtime int64 // Unix nanoseconds
}

const (
	indexHeader = "gitopsd-export 1\n"
	// racyWindow is more than the resolution of file times.
	racyWindow = 20 * time.Millisecond
)

// readIndex returns the index in a file; an unreadable one is empty.
func readIndex(path string) *exportIndex {
	x := &exportIndex{files: map[string]indexed{}}
	b, err := os.ReadFile(path)
	if err != nil {
		return x
	}
	info, err := os.Stat(path)
	if err != nil {
		return x
	}
	body, ok := strings.CutPrefix(string(b), indexHeader)
	if !ok {
		return x
	}
	x.written = info.ModTime()
	for line := range strings.Lines(body) {
		if name, f, ok := parseIndexed(line); ok {
			x.files[name] = f
		}
	}
	return x
}

func parseIndexed(line string) (string, indexed, bool) {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
	if len(fields) != 4 || !plumbing.IsHash(fields[0]) {
		return "", indexed{}, false
	}
	f := indexed{hash: plumbing.NewHash(fields[0])}
	var errs [3]error
	var name string
	f.size, errs[0] = strconv.ParseInt(fields[1], 10, 64)
	f.mtime, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	name, errs[2] = strconv.Unquote(fields[3])
	return name, f, errs == [3]error{}
}

// confirms reports whether a file, by its looks, holds the entry's content.
func (x *exportIndex) confirms(name string, e *entry, info fs.FileInfo) bool {
	f, ok := x.files[name]
	return ok && f.hash == e.hash && f.size == info.Size() && f.mtime == info.ModTime().UnixNano() &&
		info.ModTime().Before(x.written.Add(-racyWindow))
}

func (x *exportIndex) add(name string, e *entry, info fs.FileInfo) {
	x.files[name] = indexed{hash: e.hash, size: info.Size(), mtime: info.ModTime().UnixNano()}
}

// same reports whether writing the other index would teach nothing: it says
// the same, and no file is racy.
func (x *exportIndex) same(other *exportIndex) bool {
	if !maps.Equal(x.files, other.files) {
		return false
	}
	for _, f := range x.files {
		if !time.Unix(0, f.mtime).Before(x.written.Add(-racyWindow)) {
			return false
		}
	}
	return true
}

func (x *exportIndex) write(path string) error {
	var b bytes.Buffer
	b.WriteString(indexHeader)
	for _, name := range slices.Sorted(maps.Keys(x.files)) {
		f := x.files[name]
		fmt.Fprintf(&b, "%s %d %d %q\n", f.hash, f.size, f.mtime, name)
	}
	return writeWhole(path, &b, 0o600)
}
