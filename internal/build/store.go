package build

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keepExecutables is how many executables stay: enough for every build that
// may be between Compile and Bundle, and for tenants that share an app.
const keepExecutables = 64

// executable is one in the store.
type executable struct {
	path   string
	sha256 string
	size   int64
}

// find returns the executable of a compile key, if it is there and whole.
func (b *Builder) find(key string) (executable, bool) {
	names, err := filepath.Glob(filepath.Join(b.dir, "bin", key+".*")) // a key has no meta characters
	if err != nil {
		return executable{}, false
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		x := executable{path: name, sha256: strings.TrimPrefix(filepath.Ext(name), "."), size: info.Size()}
		if !b.verified(name) {
			if sum, _, err := hashFile(name); err != nil || sum != x.sha256 {
				os.Remove(name) // half-written, by a machine that lost power
				continue
			}
			b.verify(name)
		}
		now := time.Now()
		_ = os.Chtimes(name, now, now) // only the order of cleaning up depends on it
		return x, true
	}
	return executable{}, false
}

// keep moves a freshly linked file into the store.
func (b *Builder) keep(key, file string) (executable, error) {
	sum, size, err := hashFile(file)
	if err != nil {
		return executable{}, fmt.Errorf("keep executable: %w", err)
	}
	x := executable{path: filepath.Join(b.dir, "bin", key+"."+sum), sha256: sum, size: size}
	if err := os.Rename(file, x.path); err != nil {
		return executable{}, fmt.Errorf("keep executable: %w", err)
	}
	b.verify(x.path)
	b.trim()
	return x, nil
}

func (b *Builder) verified(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name]
}

func (b *Builder) verify(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[name] = true
}

// trim removes all but the newest executables. One that a build still wants is
// compiled again.
func (b *Builder) trim() {
	dir := filepath.Join(b.dir, "bin")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keepExecutables {
		return
	}
	type file struct {
		name string
		used time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, file{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(x, y file) int { return cmp.Or(y.used.Compare(x.used), cmp.Compare(x.name, y.name)) })
	for _, f := range files[min(len(files), keepExecutables):] {
		if err := os.Remove(f.name); err != nil {
			b.log.Warn("remove old executable", "err", err)
		}
		b.mu.Lock()
		delete(b.known, f.name)
		b.mu.Unlock()
	}
}

func hashFile(name string) (sum string, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10)); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
