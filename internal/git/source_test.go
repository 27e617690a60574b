package git_test

import (
	"context"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/git"
)

// source is a repository that the git program makes.
type source struct {
	t   testing.TB
	dir string
	env []string
}

func environment() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com", "LC_ALL=C")
}

func newSource(t testing.TB, initArgs ...string) *source {
	t.Helper()
	s := &source{t: t, dir: filepath.Join(t.TempDir(), "src"), env: environment()}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.git(append([]string{"init", "-q", "-b", "main"}, initArgs...)...)
	s.git("config", "gc.auto", "0") // nothing in the background
	return s
}

func (s *source) git(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *source) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *source) write(name, content string) {
	s.t.Helper()
	writeFile(s.t, filepath.Join(s.dir, name), content)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commit writes name=content pairs (an empty content deletes) and commits.
func (s *source) commit(files ...string) string {
	s.t.Helper()
	for i := 0; i+1 < len(files); i += 2 {
		if files[i+1] == "" {
			if err := os.RemoveAll(filepath.Join(s.dir, files[i])); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		s.write(files[i], files[i+1])
	}
	s.git("add", "-A")
	s.git("commit", "-q", "--allow-empty", "-m", "change")
	return s.git("rev-parse", "HEAD")
}

func open(t testing.TB, cfg git.Config) *git.Mirror {
	t.Helper()
	if cfg.Branch == "" {
		cfg.Branch = "main"
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
	}
	m, err := git.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func fetch(t testing.TB, m *git.Mirror) string {
	t.Helper()
	head, err := m.Fetch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// fetched fetches and checks what came.
func fetched(t testing.TB, m *git.Mirror, want string) {
	t.Helper()
	if got := fetch(t, m); got != want {
		t.Fatalf("fetched %s, want %s", got, want)
	}
	if m.Head() != want {
		t.Fatalf("head is %s, want %s", m.Head(), want)
	}
}

func content(t testing.TB, m *git.Mirror, commit, name, want string) {
	t.Helper()
	b, err := fs.ReadFile(m.FS(commit), name)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Fatalf("%s is %q, want %q", name, b, want)
	}
}

// sound runs git's own check of a mirror.
func sound(t testing.TB, dir string) {
	t.Helper()
	cmd := exec.Command("git", "fsck", "--strict", "--no-dangling", "--connectivity-only")
	cmd.Dir, cmd.Env = dir, environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fsck of the mirror: %v\n%s", err, out)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond) // between looks at the condition
	}
}

// tree stores a tree of one entry, which git itself might refuse to make.
func (s *source) tree(mode, name, hash string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "tree")
	writeFile(s.t, path, mode+" "+name+"\x00"+rawHash(s.t, hash))
	return s.git("hash-object", "-t", "tree", "-w", "--literally", path)
}

func rawHash(t testing.TB, name string) string {
	t.Helper()
	b, err := hex.DecodeString(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
