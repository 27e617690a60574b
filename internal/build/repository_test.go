package build_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitopsd/gitopsd/internal/build"
)

// repository is a Source over a real Git repository, by way of the git command.
type repository struct {
	t   testing.TB
	dir string

	mu    sync.Mutex
	trees map[string]string // commit → directory with its files
}

var _ build.Source = (*repository)(nil)

func newRepository(t testing.TB) *repository {
	t.Helper()
	r := &repository{t: t, dir: t.TempDir(), trees: map[string]string{}}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// commit writes files ("" removes one) and returns the new commit.
func (r *repository) commit(files map[string]string) string {
	r.t.Helper()
	for name, content := range files {
		full := filepath.Join(r.dir, filepath.FromSlash(name))
		if content == "" {
			if err := os.Remove(full); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "change")
	return r.git("rev-parse", "HEAD")
}

// FS implements build.Source.
func (r *repository) FS(commit string) fs.FS {
	r.mu.Lock()
	defer r.mu.Unlock()
	if dir, ok := r.trees[commit]; ok {
		return os.DirFS(dir)
	}
	dir := r.t.TempDir()
	archive := filepath.Join(dir, "a.tar")
	r.git("archive", "-o", archive, commit)
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		r.t.Fatalf("tar: %v: %s", err, out)
	}
	r.trees[commit] = tree
	return os.DirFS(tree)
}

// Export implements build.Source: only what differs is written.
func (r *repository) Export(_ context.Context, commit, path, dir string) error {
	sub, err := fs.Sub(r.FS(commit), path)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	err = fs.WalkDir(sub, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		want[name] = true
		target := filepath.Join(dir, name)
		switch {
		case e.IsDir():
			return os.MkdirAll(target, 0o755)
		case e.Type() == fs.ModeSymlink:
			return errors.Join(os.RemoveAll(target), os.Symlink("/etc/passwd", target))
		}
		b, err := fs.ReadFile(sub, name)
		if err != nil {
			return err
		}
		if have, err := os.ReadFile(target); err == nil && bytes.Equal(have, b) {
			return nil
		}
		return os.WriteFile(target, b, 0o644)
	})
	if err != nil {
		return err
	}
	var extra []string
	err = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, name)
		if err == nil && !want[filepath.ToSlash(rel)] {
			extra = append(extra, name)
		}
		return errors.Join(err, relErr)
	})
	for _, name := range extra {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// TreeID implements build.Source.
func (r *repository) TreeID(commit, path string) (string, error) {
	if path == "." {
		path = ""
	}
	out, err := exec.Command("git", "-C", r.dir, "rev-parse", "--verify", "-q", commit+":"+path).Output()
	if err != nil {
		return "", nil // nothing there
	}
	return strings.TrimSpace(string(out)), nil
}
