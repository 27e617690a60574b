package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// overAll runs a test over every kind of source, those on servers with credentials.
func overAll(t *testing.T, test func(t *testing.T, s *source, cfg git.Config)) {
	t.Helper()
	over(t, func(t *testing.T, s *source, url string) { test(t, s, git.Config{URL: url}) })
	t.Run("http with a token", func(t *testing.T) {
		t.Parallel()
		s := newSource(t)
		url, _ := s.serve(token)
		test(t, s, git.Config{URL: url, Token: token})
	})
	t.Run("ssh", func(t *testing.T) {
		t.Parallel()
		s := newSource(t)
		test(t, s, s.serveSSH().cfg)
	})
}

// pull makes a pull request: commits on the base, under its ref and no branch.
func (s *source) pull(number int, base string, files ...string) string {
	s.t.Helper()
	s.git("checkout", "-q", "--detach", base)
	head := s.commit(files...)
	s.git("update-ref", pullRef(number), head)
	s.git("checkout", "-q", "main")
	return head
}

func pullRef(number int) string { return fmt.Sprintf("refs/pull/%d/head", number) }

func obtain(t testing.TB, m *git.Mirror, number int, sha string) {
	t.Helper()
	before := m.Head()
	if err := m.Obtain(t.Context(), pullRef(number), sha); err != nil {
		t.Fatal(err)
	}
	if m.Head() != before {
		t.Fatalf("head moved from %s to %s", before, m.Head())
	}
}

func TestObtain(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, s *source, cfg git.Config) {
		old := s.commit("a", "one", "deep/er/b", "b")
		main := s.commit("a", "two")
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
		m := open(t, cfg)
		if err := m.Obtain(t.Context(), pullRef(1), main); !fault.Is(err, fault.Transient) {
			t.Errorf("before the first fetch: %v", err)
		}
		fetched(t, m, main)
		first := s.pull(1, old, "a", "three", "deep/er/c", "c")
		obtain(t, m, 1, first)
		content(t, m, first, "deep/er/c", "c")
		content(t, m, first, "deep/er/b", "b")
		sound(t, cfg.Dir)

		pushed := s.pull(1, first, "a", "four") // the pull request is pushed to, then main
		next := s.commit("a", "five")
		obtain(t, m, 1, pushed)
		content(t, m, pushed, "a", "four")
		fetched(t, m, next)
		sound(t, cfg.Dir)

		earlier := s.pull(2, main, "a", "six") // the ref has moved on when it is asked for
		later := s.pull(2, earlier, "a", "seven")
		obtain(t, m, 2, earlier)
		content(t, m, earlier, "a", "six")
		obtain(t, m, 2, later)
		readAll(t, m, later)
		sound(t, cfg.Dir)
		if got := m.Head(); got != next {
			t.Errorf("head is %s, want %s", got, next)
		}
		again := open(t, cfg) // a new process knows it
		s.git("update-ref", "-d", pullRef(1))
		for _, sha := range []string{first, pushed, old, later} {
			if err := again.Obtain(t.Context(), pullRef(1), sha); err != nil {
				t.Errorf("obtained before: %s %v", sha, err)
			}
		}
	})
}

func TestObtainCostsNoExchangeTwice(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "one")
	url, requests := s.serve("")
	m := open(t, git.Config{URL: url})
	fetched(t, m, base)
	var all []git.Wanted
	for i := range 50 {
		ref := pullRef(i)
		all = append(all, git.Wanted{Ref: ref, SHA: s.pull(i, base, fmt.Sprintf("t%d", i), "x")})
	}
	before := requests.Load()
	if failed, err := m.ObtainAll(t.Context(), all); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	if n := requests.Load() - before; n != 2 { // what there is, and the pack
		t.Errorf("%d requests for 50 commits", n)
	}
	before = requests.Load()
	merged := s.commit("b", "b")
	fetched(t, m, merged)
	asked := requests.Load() - before
	all = append(all, git.Wanted{Ref: pullRef(99), SHA: base}, git.Wanted{SHA: merged})
	if failed, err := m.ObtainAll(t.Context(), all); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	if n := requests.Load() - before - asked; n != 0 {
		t.Errorf("%d requests for what is there", n)
	}
}

// One commit that cannot be had does not keep the others away.
func TestObtainTheRest(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, s *source, cfg git.Config) {
		base := s.commit("a", "one")
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
		m := open(t, cfg)
		fetched(t, m, base)
		var wanted []git.Wanted
		for i := range 6 {
			wanted = append(wanted, git.Wanted{Ref: pullRef(i), SHA: s.pull(i, base, "a", fmt.Sprint(i))})
		}
		gone := s.pull(7, base, "a", "seven")
		forced := s.pull(7, base, "a", "eight")
		s.git("update-ref", "-d", pullRef(8))
		s.git("reflog", "expire", "--expire=now", "--all")
		s.git("gc", "-q", "--prune=now")
		none := strings.Repeat("1", 40)
		wanted = append(wanted, git.Wanted{Ref: pullRef(7), SHA: gone}, git.Wanted{Ref: pullRef(8), SHA: none}, git.Wanted{SHA: none})

		evil := s.git("commit-tree", "-p", base, "-m", "evil", s.tree("100644", "..", s.git("rev-parse", "HEAD:a")))
		s.git("update-ref", pullRef(9), evil)
		wrong := s.git("commit-tree", "-p", base, "-m", "wrong", s.tree("100644", "a", s.git("rev-parse", "HEAD^{tree}")))
		s.git("update-ref", pullRef(10), wrong)
		blob := s.git("rev-parse", "HEAD:a")
		s.git("update-ref", pullRef(11), blob)
		for i, sha := range []string{evil, wrong, blob} {
			wanted = append(wanted, git.Wanted{Ref: pullRef(9 + i), SHA: sha})
		}

		failed, err := m.ObtainAll(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		for sha, kind := range map[string]fault.Kind{
			gone: fault.NotFound, none: fault.NotFound, evil: fault.Invalid, wrong: fault.Invalid, blob: fault.Invalid,
		} {
			unsent := sha == wrong && fault.Is(failed[sha], fault.Transient) // git itself does not send it
			if !fault.Is(failed[sha], kind) && !unsent {
				t.Errorf("%s: %v, want %s", sha, failed[sha], kind)
			}
			delete(failed, sha)
		}
		if len(failed) > 0 {
			t.Errorf("more failed: %v", failed)
		}
		for i := range 6 {
			content(t, m, wanted[i].SHA, "a", fmt.Sprint(i))
		}
		obtain(t, m, 7, forced)
		sound(t, cfg.Dir)
		fetched(t, m, s.commit("a", "end")) // nothing was taken for damage
		content(t, m, wanted[0].SHA, "a", "0")
	})
}

// More than is placed one by one.
func TestObtainMuch(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, s *source, cfg git.Config) {
		base := s.commit("a", "one")
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
		m := open(t, cfg)
		fetched(t, m, base)
		in := &stream{}
		fmt.Fprintf(in, "commit %s\ncommitter Ann <ann@example.com> 1700000000 +0000\ndata 1\nx\nfrom %s\n", pullRef(1), base)
		for i := range 3100 {
			fmt.Fprintf(in, "M 100644 inline d%d/f%d\ndata 4\n%04d\n", i%10, i, i)
		}
		s.fastImport(in)
		head := s.git("rev-parse", pullRef(1))
		obtain(t, m, 1, head)
		content(t, m, head, "d9/f3099", "3099")
		sound(t, cfg.Dir)
		fetched(t, m, s.commit("a", "two"))
		content(t, m, head, "d9/f3099", "3099")
	})
}

// An object that is there proves nothing: what a killed attempt left is completed.
func TestObtainCompletes(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, s *source, cfg git.Config) {
		base := s.commit("a", "one")
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
		m := open(t, cfg)
		fetched(t, m, base)
		head := s.pull(1, base, "a", "two", "d/b", "b")
		raw, err := os.ReadFile(filepath.Join(s.dir, ".git/objects", head[:2], head[2:]))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(cfg.Dir, "objects", head[:2], head[2:]), string(raw))
		obtain(t, m, 1, head)
		readAll(t, m, head)
		sound(t, cfg.Dir)
	})
}

// A rebuilt mirror has nothing that was obtained, and nothing that is broken.
func TestObtainAfterRebuild(t *testing.T) {
	t.Parallel()
	overAll(t, func(t *testing.T, s *source, cfg git.Config) {
		base := s.commit("a", "one")
		cfg.Dir = filepath.Join(t.TempDir(), "mirror")
		m := open(t, cfg)
		fetched(t, m, base)
		head := s.pull(1, base, "a", "two")
		obtain(t, m, 1, head)
		_ = m.Close()
		writeFile(t, filepath.Join(cfg.Dir, "HEAD"), "")
		m = open(t, cfg)
		if err := m.Obtain(t.Context(), pullRef(1), head); !fault.Is(err, fault.Transient) {
			t.Errorf("in a damaged mirror: %v", err)
		}
		fetched(t, m, base)
		sound(t, cfg.Dir)
		obtain(t, m, 1, head)
		content(t, m, head, "a", "two")
		sound(t, cfg.Dir)
	})
}

func TestObtainFromShallowSource(t *testing.T) {
	t.Parallel()
	upstream := newSource(t)
	upstream.commit("a", "zero")
	main := upstream.commit("a", "one")
	head := upstream.pull(1, main, "a", "two")
	s := &source{t: t, dir: filepath.Join(t.TempDir(), "clone"), env: upstream.env}
	upstream.git("clone", "-q", "--depth", "1", "file://"+upstream.dir, s.dir)
	s.git("fetch", "-q", "--depth", "1", "origin", pullRef(1)+":"+pullRef(1))
	cfg := git.Config{URL: s.dir, Dir: filepath.Join(t.TempDir(), "mirror")}
	m := open(t, cfg)
	fetched(t, m, main)
	obtain(t, m, 1, head)
	readAll(t, m, head)
	sound(t, cfg.Dir)
	// The pull request goes away where the source gets deeper.
	s.git("update-ref", "-d", pullRef(1))
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now")
	s.git("fetch", "-q", "--unshallow", "origin")
	newer := upstream.commit("a", "three")
	s.git("pull", "-q", "origin", "main")
	fetched(t, m, newer)
	sound(t, cfg.Dir)
	readAll(t, m, head)
	if commits, err := m.Commits(t.Context(), "", newer, 10); err != nil || len(commits) != 3 {
		t.Errorf("after it got deeper: %v, %v", commits, err)
	}
}

func TestWhatCannotBeObtained(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "one")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, base)
	for _, w := range []git.Wanted{{SHA: "HEAD"}, {SHA: base[:12]}, {Ref: "main", SHA: base}, {Ref: "refs/../x", SHA: base}, {Ref: "-x", SHA: base}} {
		if err := m.Obtain(t.Context(), w.Ref, w.SHA); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", w, err)
		}
	}
	if err := os.Rename(s.dir, s.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ObtainAll(t.Context(), []git.Wanted{{SHA: strings.Repeat("1", 40)}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("no repository: %v", err)
	}
}
