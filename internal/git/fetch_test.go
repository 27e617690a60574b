package git_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

func TestFetchFollowsTheBranch(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	first := s.commit("tenants/a.yaml", "one")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: s.dir, Dir: dir})
	if m.Head() != "" {
		t.Fatalf("head before the first fetch: %s", m.Head())
	}
	fetched(t, m, first)
	fetched(t, m, first)
	second := s.commit("tenants/a.yaml", "two", "apps/x/y/z.go", "package z")
	fetched(t, m, second)
	content(t, m, first, "tenants/a.yaml", "one")
	content(t, m, second, "tenants/a.yaml", "two")
	content(t, m, second, "apps/x/y/z.go", "package z")
	sound(t, dir)

	again := open(t, git.Config{URL: s.dir, Dir: dir})
	if again.Head() != second {
		t.Fatalf("head after reopening is %q", again.Head())
	}
	content(t, again, first, "tenants/a.yaml", "one")
}

func TestFetchKeepsWhatTheSourceForgot(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "base")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: s.dir, Dir: dir})
	fetched(t, m, base)
	lost := s.commit("a", "lost")
	fetched(t, m, lost)
	s.git("reset", "-q", "--hard", base)
	kept := s.commit("a", "kept")
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now", "--aggressive")
	if _, err := s.try("cat-file", "-e", lost); err == nil {
		t.Fatal("the source still has the commit: nothing is tested")
	}
	fetched(t, m, kept)
	again := open(t, git.Config{URL: s.dir, Dir: dir})
	for _, m := range []*git.Mirror{m, again} {
		content(t, m, lost, "a", "lost")
		content(t, m, kept, "a", "kept")
		if ok, err := m.IsAncestor(t.Context(), lost, kept); ok || err != nil {
			t.Fatalf("IsAncestor of a rewritten history: %v, %v", ok, err)
		}
	}
	sound(t, dir)
}

// Packed objects of the source (after gc, or received as a pack) are copied;
// very many are taken over with their packs.
func TestFetchFromPacks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			first := s.commit("a", "one")
			dir := filepath.Join(t.TempDir(), "mirror")
			m := open(t, git.Config{URL: s.dir, Dir: dir})
			fetched(t, m, first)
			for i := range n {
				s.write(fmt.Sprintf("d%d/f%d", i%7, i), fmt.Sprint(i))
			}
			second := s.commit()
			s.git("gc", "-q", "--prune=now")
			s.git("pack-refs", "--all")
			fetched(t, m, second)
			content(t, m, second, "d0/f0", "0")
			sound(t, dir)
			third := s.commit("a", "two")
			fetched(t, m, third)
			sound(t, dir)
		})
	}
}

func TestFetchDuringGarbageCollection(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "0")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, head)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 12 {
			s.write("a", fmt.Sprint(i))
			s.git("commit", "-q", "-a", "-m", "next", "--allow-empty")
			s.git("gc", "-q", "--prune=now")
		}
	})
	seen := map[string]bool{}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		seen[fetch(t, m)] = true
	}
	wg.Wait()
	fetched(t, m, s.git("rev-parse", "HEAD"))
	for commit := range seen {
		if _, err := fs.ReadFile(m.FS(commit), "a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKindsOfSource(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.commit("a", "one")
	head := s.commit("a", "two")
	at := func(name string) string { return filepath.Join(filepath.Dir(s.dir), name) }
	s.git("worktree", "add", "-q", "-b", "side", at("worktree"))
	s.git("clone", "-q", "--bare", s.dir, at("bare"))
	s.git("clone", "-q", "--shared", s.dir, at("shared"))
	s.git("clone", "-q", "--depth", "1", "file://"+s.dir, at("shallow"))
	foreign := at("foreign")
	s.git("clone", "-q", "--no-hardlinks", s.dir, foreign)
	if out, err := exec.Command("chown", "-R", "12345:12345", foreign).CombinedOutput(); err != nil {
		t.Logf("not root, so this is no repository of another user: %s", out)
	}
	if out, err := (&source{t: t, dir: foreign, env: environment()}).try("log"); os.Getuid() == 0 && err == nil {
		t.Fatalf("git trusts the foreign repository, so nothing is tested: %s", out)
	}
	packed := at("packed")
	s.git("clone", "-q", s.dir, packed)
	(&source{t: t, dir: packed, env: environment()}).git("pack-refs", "--all")
	for _, url := range []string{at("worktree"), at("bare"), at("shared"), at("shallow"), foreign, packed, "file://" + at("bare"), s.dir + "/"} {
		t.Run(filepath.Base(url), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "mirror")
			m := open(t, git.Config{URL: url, Dir: dir})
			fetched(t, m, head)
			content(t, m, head, "a", "two")
			sound(t, dir)
		})
	}
}

func TestShallowSourceThatGetsDeeper(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	first := s.commit("a", "1")
	s.commit("a", "2")
	third := s.commit("a", "3")
	clone := &source{t: t, dir: filepath.Join(filepath.Dir(s.dir), "clone"), env: s.env}
	s.git("clone", "-q", "--depth", "1", "file://"+s.dir, clone.dir)
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: clone.dir, Dir: dir})
	fetched(t, m, third)
	fourth := clone.commit("a", "4")
	fetched(t, m, fourth)
	if ok, err := m.IsAncestor(t.Context(), first, fourth); ok || err != nil {
		t.Fatalf("IsAncestor below a shallow history: %v, %v", ok, err)
	}
	commits, err := m.Commits(t.Context(), "", fourth, 10)
	if err != nil || len(commits) != 2 {
		t.Fatalf("commits of a shallow history: %v, %v", commits, err)
	}
	clone.git("fetch", "-q", "--unshallow")
	fifth := clone.commit("a", "5")
	fetched(t, m, fifth)
	if ok, err := m.IsAncestor(t.Context(), first, fifth); !ok || err != nil {
		t.Fatalf("IsAncestor once it is deep: %v, %v", ok, err)
	}
	content(t, m, first, "a", "1")
	sound(t, dir)
}

func TestWhatCannotBeFetched(t *testing.T) {
	t.Parallel()
	unborn := newSource(t)
	other := newSource(t)
	other.commit("a", "one")
	other.git("branch", "-m", "main", "trunk")
	plain := t.TempDir()
	sha256 := newSource(t, "--object-format=sha256")
	sha256.commit("a", "one")
	for name, c := range map[string]struct {
		url  string
		kind fault.Kind
		hint string
	}{
		"missing path":     {"/nowhere/at/all", fault.NotFound, "path"},
		"not a repository": {plain, fault.NotFound, "git init"},
		"unborn":           {unborn.dir, fault.NotFound, "commit something"},
		"missing branch":   {other.dir, fault.NotFound, "trunk"},
		"sha256":           {sha256.dir, fault.Invalid, "SHA-1"},
		"unreachable":      {"http://127.0.0.1:1/x.git", fault.Transient, "reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, git.Config{URL: c.url})
			_, err := m.Fetch(t.Context())
			if !fault.Is(err, c.kind) {
				t.Fatalf("%v is %s, want %s", err, fault.KindOf(err), c.kind)
			}
			if hint := fault.RecordOf(err).Hint; !strings.Contains(hint, c.hint) {
				t.Fatalf("hint %q of %v does not say %q", hint, err, c.hint)
			}
			if _, err := fs.Stat(m.FS(strings.Repeat("a", 40)), "tenants"); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("an unfetched mirror looks like missing files: %v", err)
			}
		})
	}
	if _, err := git.Open(t.Context(), git.Config{URL: plain, Branch: "../../etc", Dir: plain}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("branch that leads out: %v", err)
	}
}

func TestBranchThatGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, head)
	s.git("checkout", "-q", "-b", "other")
	s.git("branch", "-q", "-D", "main")
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Fatalf("deleted branch: %v", err)
	}
	content(t, m, head, "a", "one")
	s.git("branch", "main")
	fetched(t, m, head)
	if err := os.Rename(s.dir, s.dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Fatalf("moved repository: %v", err)
	}
}

func TestDamagedMirrorIsRebuilt(t *testing.T) {
	t.Parallel()
	damages := map[string]func(t *testing.T, dir, blob string){
		"HEAD is garbage": func(t *testing.T, dir, _ string) { writeFile(t, filepath.Join(dir, "HEAD"), "") },
		"object is gone": func(t *testing.T, dir, blob string) {
			if err := os.Remove(filepath.Join(dir, "objects", blob[:2], blob[2:])); err != nil {
				t.Fatal(err)
			}
		},
		"object is cut": func(t *testing.T, dir, blob string) {
			path := filepath.Join(dir, "objects", blob[:2], blob[2:])
			if err := os.Remove(path); err != nil { // else the source's would be cut, too
				t.Fatal(err)
			}
			writeFile(t, path, "")
		},
		"everything is gone": func(t *testing.T, dir, _ string) {
			if err := os.RemoveAll(filepath.Join(dir, "objects")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			head := s.commit("a", "one", "b", "other")
			blob := s.git("rev-parse", "HEAD:a")
			dir := filepath.Join(t.TempDir(), "mirror")
			fetched(t, open(t, git.Config{URL: s.dir, Dir: dir}), head)
			damage(t, dir, blob)
			m := open(t, git.Config{URL: s.dir, Dir: dir})
			_, err := fs.ReadFile(m.FS(head), "a")
			if err == nil || errors.Is(err, fs.ErrNotExist) || !fault.Is(err, fault.Transient) {
				t.Fatalf("reading what is damaged: %v", err)
			}
			fetched(t, m, head)
			content(t, m, head, "a", "one")
			sound(t, dir)
			if left, _ := filepath.Glob(dir + ".*"); !slices.Equal(left, []string{dir + ".compact.lock", dir + ".lock", dir + ".swap.lock"}) {
				t.Fatalf("left behind: %v", left)
			}
		})
	}
}

// Objects that a killed fetch, or a source that was being written to, left in
// the mirror promise nothing about those they refer to.
func TestPresentIsNotComplete(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"path", "http"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			first := s.commit("a", "one", "d/e/f", "one")
			url := s.dir
			if over == "http" {
				url, _ = s.serve("")
			}
			dir := filepath.Join(t.TempDir(), "mirror")
			m := open(t, git.Config{URL: url, Dir: dir})
			fetched(t, m, first)
			second := s.commit("a", "two", "d/e/f", "two")
			third := s.commit("b", "three")
			for _, rev := range []string{third, third + "^{tree}", second, second + ":d", second + ":d/e"} {
				object := s.git("rev-parse", rev)
				b, err := os.ReadFile(filepath.Join(s.dir, ".git/objects", object[:2], object[2:]))
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, "objects", object[:2], object[2:]), string(b))
			}
			fetched(t, m, third)
			content(t, m, third, "d/e/f", "two")
			content(t, m, third, "b", "three")
			content(t, m, second, "a", "two")
			sound(t, dir)
		})
	}
}

func TestDamagedSourceIsSaid(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	first := s.commit("a", "one")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, first)
	s.commit("a", "two")
	blob := s.git("rev-parse", "HEAD:a")
	if err := os.Remove(filepath.Join(s.dir, ".git/objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	_, err := m.Fetch(t.Context())
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), blob) || errors.Is(err, git.ErrDamaged) {
		t.Fatalf("fetch from a source without an object: %v", err)
	}
	if m.Head() != first {
		t.Fatalf("head moved to %s", m.Head())
	}
}

func TestTwoMirrorsInOneDirectory(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.commit("a", "0")
	dir := filepath.Join(t.TempDir(), "mirror")
	mirrors := []*git.Mirror{open(t, git.Config{URL: s.dir, Dir: dir}), open(t, git.Config{URL: s.dir, Dir: dir})}
	for i := range 5 {
		head := s.commit("a", fmt.Sprint("x", i))
		var wg sync.WaitGroup
		for _, m := range mirrors {
			for range 2 {
				wg.Go(func() {
					if got, err := m.Fetch(t.Context()); err != nil || got != head {
						t.Errorf("fetch: %s, %v", got, err)
					}
				})
			}
		}
		wg.Wait()
		for _, m := range mirrors {
			content(t, m, head, "a", fmt.Sprint("x", i))
		}
	}
}
