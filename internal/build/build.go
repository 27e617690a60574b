package build

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var _ pipeline.Builder = (*Builder)(nil)

// Source is a repository as a build needs it.
type Source interface {
	// FS returns the files of a commit.
	FS(commit string) fs.FS
	// Export makes dir hold exactly the directory at path ("." for all) of the
	// commit. Files that do not change keep their modification times.
	Export(ctx context.Context, commit, path, dir string) error
	// TreeID returns a digest of the directory or file at path, "" if there is
	// nothing.
	TreeID(commit, path string) (string, error)
}

// Config says what a Builder works with.
type Config struct {
	Source Source
	Dir    string // work directory; made if it is not there
	Cache  string // the go command's cache of compiled packages; <Dir>/cache if "". Builders may share one.
	Slots  int64  // compiles at a time; GOMAXPROCS if 0
	Go     string // the go command; "go" from PATH if ""
	// Warm is a read-only cache that Cache begins with, such as a container image
	// has; "" for none.
	Warm string
	// Migrates says that the Builder need not have the go command: without it, it
	// migrates, and refuses to build.
	Migrates bool
	Logger   *slog.Logger
	// Remote finds another repository, for apps of kind git, and the commit its
	// ref names. If nil, such apps are refused.
	Remote func(ctx context.Context, g tenant.GitSource) (src Source, commit string, err error)
}

// Builder implements pipeline.Builder with the go command.
type Builder struct {
	source Source
	remote func(context.Context, tenant.GitSource) (Source, string, error)
	dir    string
	cache  string
	warm   bool // the cache has links to another one
	log    *slog.Logger
	slots  *semaphore.Weighted
	goBin  string
	env    machine
	nonce  string // of this process: what another one prepared is prepared anew

	mu    sync.Mutex
	known map[string]bool // executables this process wrote or verified, by name
}

// machine is what the go command says of itself, and where modules are.
type machine struct {
	GOVERSION, GOMODCACHE, GOPROXY, GOSUMDB, GONOSUMDB, GOPRIVATE, GONOPROXY string
	GOOS, GOARCH, GOAMD64, GOARM64                                           string
}

// New returns a Builder. It runs the go command once, to learn its version.
func New(c Config) (*Builder, error) {
	if c.Source == nil {
		return nil, errors.New("build: no source")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	if c.Slots <= 0 {
		c.Slots = int64(runtime.GOMAXPROCS(0))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Builder{
		source: c.Source, remote: c.Remote, dir: dir, cache: filepath.Join(dir, "cache"), log: c.Logger,
		slots: semaphore.NewWeighted(c.Slots), // first come, first served
		nonce: rand.Text(), known: map[string]bool{},
	}
	if c.Cache != "" {
		if b.cache, err = filepath.Abs(c.Cache); err != nil {
			return nil, fmt.Errorf("build cache: %w", err)
		}
	}
	if c.Go == "" {
		c.Go = "go"
	}
	if b.goBin, err = exec.LookPath(c.Go); errors.Is(err, exec.ErrNotFound) && c.Migrates {
		return b, nil
	}
	if err == nil {
		b.goBin, err = filepath.Abs(b.goBin)
	}
	if err != nil {
		return nil, fmt.Errorf("find the go command: %w", err)
	}
	// Every tenant's source is in there: other users have no business with it.
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	for _, sub := range []string{"bin", "work", "tmp", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("build directory: %w", err)
		}
	}
	if b.env, err = ask(b.goBin); err != nil {
		return nil, err
	}
	if c.Warm != "" {
		if err := b.warmUp(c.Warm); err != nil {
			return nil, fmt.Errorf("build cache: %w", err)
		}
		b.warm = true
	}
	b.cleanUp(time.Now())
	return b, nil
}

// ask runs "go env". It is the one time that the process's own environment
// counts: for where modules are kept and fetched from.
func ask(goBin string) (machine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, goBin, "env", "-json")
	cmd.Dir = os.TempDir() // not in a module that asks for another toolchain
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return machine{}, fmt.Errorf("%s env: %w: %s", goBin, err, bytes.TrimSpace(stderr.Bytes()))
	}
	var m machine
	if err := json.Unmarshal(out, &m); err != nil {
		return machine{}, fmt.Errorf("%s env: %w", goBin, err)
	}
	return m, nil
}

// cleanUp removes what crashed builds left and what has not been used for long.
// Nothing of it is missed: it can all be made again.
func (b *Builder) cleanUp(now time.Time) {
	for sub, age := range map[string]time.Duration{"tmp": time.Hour, "work": 30 * 24 * time.Hour} {
		entries, err := os.ReadDir(filepath.Join(b.dir, sub))
		if err != nil {
			b.log.Warn("clean up build directory", "err", err)
		}
		for _, e := range entries {
			path := filepath.Join(b.dir, sub, e.Name())
			used := path
			if sub == "work" {
				used = filepath.Join(path, "lock") // touched by every build
			}
			if info, err := os.Stat(used); err == nil && now.Sub(info.ModTime()) < age {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				b.log.Warn("clean up build directory", "err", err)
			}
		}
	}
}
