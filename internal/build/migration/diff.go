package migration

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is read of one app.
const (
	maxFiles = 2000
	maxTotal = 16 << 20 // bytes
	maxBelow = 10_000   // entries of the directory
)

// dir is where an app's migrations are.
const dir = "migrations"

// Diff returns the migrations that would newly run with after, in the order in
// which they run, and those of before that are no longer what they were: these
// ran already, so that is Error. before and after are the directories of an app;
// before is nil for an app whose database is empty; where it is not, but no
// migration has run in it, before is an empty file system. What is wrong with
// the files is said in a verdict: an error means that they cannot be read now.
func Diff(before, after fs.FS) ([]Migration, error) {
	var old, now files
	var err error
	if before != nil {
		if old, err = readFiles(before); err != nil {
			return nil, fmt.Errorf("migrations before: %w", err)
		}
	}
	if now, err = readFiles(after); err != nil {
		return nil, fmt.Errorf("migrations after: %w", err)
	}
	var out []Migration
	if old.limit == "" && now.limit == "" {
		out = compare(old, now, newAnalyser(before == nil))
	} else { // half of the files would give the wrong answer
		r := newReport()
		r.add(Caution, "Not analysed: %s.", cmp.Or(now.limit, old.limit))
		out = append(out, r.migration(dir, ""))
	}
	for _, b := range now.bad {
		r := newReport()
		r.add(Error, "%s", b.why)
		out = append(out, r.migration(b.name, b.sql))
	}
	return out, nil
}

// compare judges the files that can be read.
func compare(old, now files, a *analyser) []Migration {
	var out []Migration
	for _, v := range versions(old, now) {
		was, ran := old.good[v]
		is, there := now.good[v]
		switch {
		case ran && !there && now.claims(v):
			// what took its place is among the bad ones
		case ran && !there:
			r := newReport()
			r.add(Error, "It has run already: removing the file undoes nothing, and a new database will lack it.")
			out = append(out, r.migration(was.name, ""))
		case !ran:
			r := a.script(is.script)
			if late := old.newest(); v < late.version {
				r.line = 0
				r.add(Caution, "It runs after %s, which has run already; in a new database it runs before.", late.name)
			}
			out = append(out, r.migration(is.name, is.script.text()))
		case !same(was.script, is.script):
			r := newReport()
			r.add(Error, "It has run already and does not run again: put the change into a new file.")
			out = append(out, r.migration(is.name, is.script.text()))
		}
	}
	return out
}

// files are an app's migrations.
type files struct {
	good  map[int64]file
	bad   []bad
	limit string // what there is too much of, if there is
}

type file struct {
	name    string
	version int64
	script  script
}

// bad is a file that no release takes, or that goose cannot read.
type bad struct {
	name, why, sql string
	version        int64 // 0 if it has none
}

func versions(old, now files) []int64 {
	all := maps.Clone(now.good)
	if all == nil {
		all = map[int64]file{}
	}
	maps.Copy(all, old.good)
	return slices.Sorted(maps.Keys(all))
}

// newest returns the file of the highest number.
func (f files) newest() file {
	var last file
	for v, one := range f.good {
		if v > last.version {
			last = one
		}
	}
	return last
}

// claims reports whether a bad file has this number.
func (f files) claims(version int64) bool {
	return slices.ContainsFunc(f.bad, func(b bad) bool { return b.version == version })
}

var fileName = regexp.MustCompile(`^([0-9]+)_.+\.sql$`)

// readFiles reads migrations/*.sql of an app.
func readFiles(app fs.FS) (files, error) {
	all := files{good: map[int64]file{}}
	info, err := fs.Stat(app, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return all, nil
	case err != nil:
		return all, err
	case !info.IsDir():
		all.bad = append(all.bad, bad{name: dir, why: "It is not a directory."})
		return all, nil
	}
	entries, err := fs.ReadDir(app, dir)
	if err != nil {
		return all, err
	}
	if len(entries) > maxBelow {
		all.limit = fmt.Sprintf("%s has more than %d entries", dir, maxBelow)
		return all, nil
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	count, total := 0, 0
	for _, e := range entries {
		if e.IsDir() || path.Ext(e.Name()) != ".sql" {
			continue
		}
		if count++; count > maxFiles {
			all.limit = fmt.Sprintf("%s has more than %d SQL files", dir, maxFiles)
			return all, nil
		}
		n, err := all.read(app, e)
		if err != nil {
			return all, err
		}
		if total += n; total > maxTotal {
			all.limit = fmt.Sprintf("%s has more than %d MiB", dir, maxTotal>>20)
			return all, nil
		}
	}
	return all, nil
}

// read takes in one file and returns its size.
func (f *files) read(app fs.FS, e fs.DirEntry) (int, error) {
	b := bad{name: e.Name()}
	refuse := func(format string, args ...any) {
		b.why = fmt.Sprintf(format, args...)
		f.bad = append(f.bad, b)
	}
	if !e.Type().IsRegular() {
		refuse("It is a symbolic link or a special file, which a build does not take.")
		return 0, nil
	}
	name := fileName.FindStringSubmatch(e.Name())
	if name == nil {
		refuse("A migration's name is a number, an underscore and words, like 002_add_email.sql.")
		return 0, nil
	}
	version, err := strconv.ParseInt(name[1], 10, 64)
	if err != nil || version < 1 {
		refuse("%s is no migration number.", shown(name[1]))
		return 0, nil
	}
	b.version = version
	content, err := readFile(app, path.Join(dir, e.Name()))
	if err != nil {
		return 0, err
	}
	if len(content) > maxFile {
		refuse("It is larger than %d MiB.", maxFile>>20)
		return len(content), nil
	}
	if other, ok := f.good[version]; ok {
		refuse("It has the same number as %s.", other.name)
		return len(content), nil
	}
	s, err := readScript(content)
	if err != nil {
		b.sql = string(content)
		refuse("goose cannot read it: %v.", err)
		return len(content), nil
	}
	f.good[version] = file{e.Name(), version, s}
	return len(content), nil
}

// readFile reads at most one byte more than a migration may have.
func readFile(app fs.FS, name string) ([]byte, error) {
	f, err := app.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// text is what is shown of a script.
func (s script) text() string {
	var b strings.Builder
	for i, c := range s.up {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(c.sql)
	}
	return b.String()
}

// same reports whether two scripts do the same: comments and spaces do not count.
func same(a, b script) bool {
	if a.tx != b.tx || len(a.up) != len(b.up) {
		return false
	}
	for i := range a.up {
		if a.up[i].sql != b.up[i].sql && !sameTokens(a.up[i].sql, b.up[i].sql) {
			return false
		}
	}
	return true
}

func sameTokens(a, b string) bool {
	x, errX := lex(a)
	y, errY := lex(b)
	return errX == nil && errY == nil && slices.EqualFunc(x, y, func(p, q token) bool { return p.kind == q.kind && p.text == q.text })
}
