package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// trimRest is how long the go command leaves a cache as it is after it said that it
// was trimmed: a day. Source: cmd/go/internal/cache, trimInterval.
const trimRest = 12 * time.Hour

// warmUp gives the cache what a read-only one has: a link for each of its files. The
// go command reads through them and writes beside them. Of a copy, a gigabyte would
// have to be read before the first compile.
func (b *Builder) warmUp(warm string) error {
	if err := b.untrimmed(); err != nil {
		return err
	}
	done := filepath.Join(b.cache, "warm")
	if was, err := os.Readlink(done); err == nil && was == warm {
		return nil
	}
	dirs, err := filepath.Glob(filepath.Join(warm, "[0-9a-f][0-9a-f]"))
	if err != nil || len(dirs) == 0 {
		return fmt.Errorf("%s is no cache of the go command", warm)
	}
	for _, dir := range dirs {
		own := filepath.Join(b.cache, filepath.Base(dir))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			err := os.Symlink(filepath.Join(dir, e.Name()), filepath.Join(own, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	if err := os.Symlink(warm, done); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// untrimmed keeps the go command from taking out what was not written for some days,
// which is all that is linked.
func (b *Builder) untrimmed() error {
	file := filepath.Join(b.cache, "trim.txt")
	if text, err := os.ReadFile(file); err == nil {
		at, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && time.Since(time.Unix(at, 0)) < trimRest {
			return nil
		}
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, strconv.AppendInt(nil, time.Now().Unix(), 10), 0o644)
}

// modules returns where modules can be fetched to, and from where: the module cache
// itself, unless it is read-only. Then it is the first place to fetch from.
func (b *Builder) modules() (dir, proxy string) {
	dir, proxy = b.env.GOMODCACHE, b.env.GOPROXY
	if unix.Access(dir, unix.W_OK) == nil {
		return dir, proxy
	}
	if _, err := os.Stat(dir); err != nil {
		return dir, proxy // not there: the go command makes it
	}
	return filepath.Join(b.dir, "modules"), "file://" + filepath.Join(dir, "cache", "download") + "," + proxy
}

// lacksModules reports whether the go command, offline, said that modules are
// missing: it may not fetch them, or has no place to write that it may not.
func (b *Builder) lacksModules(output string) bool {
	return strings.Contains(output, "module lookup disabled by GOPROXY=off") ||
		strings.Contains(output, "mkdir "+filepath.Join(b.env.GOMODCACHE, "cache", "download"))
}
