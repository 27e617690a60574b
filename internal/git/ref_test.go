package git_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// over runs a test over the ways in which a source can be read: directly, over
// smart HTTP, and through git-upload-pack for what cannot be read directly.
func over(t *testing.T, test func(t *testing.T, s *source, url string)) {
	t.Helper()
	for _, way := range []string{"path", "http", "upload-pack"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			url := s.dir
			switch way {
			case "http":
				url, _ = s.serve("")
			case "upload-pack":
				other := newSource(t)
				writeFile(t, filepath.Join(s.dir, ".git/objects/info/alternates"), `"`+other.dir+"/.git/objects\"\n")
			}
			test(t, s, url)
		})
	}
}

func TestFollowRef(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		first := s.commit("a", "one")
		s.git("tag", "light")
		s.git("tag", "-a", "-m", "release", "v1.0.0")
		s.git("tag", "-a", "-m", "again", "nested/tag", "v1.0.0")
		second := s.commit("a", "two", "b/c", "d")
		s.git("branch", "feature/x")
		s.git("tag", "-a", "-m", "only the tag names it", "lone", s.git("commit-tree", "-m", "lone", first+"^{tree}"))
		lone := s.git("rev-parse", "lone^{commit}")
		s.commit("a", "three")
		for ref, want := range map[string]string{
			"light": first, "v1.0.0": first, "nested/tag": first, "refs/tags/v1.0.0": first, "lone": lone,
			"feature/x": second, "refs/heads/feature/x": second,
			s.git("rev-parse", "v1.0.0"): first, // the tag's own object
		} {
			t.Run(strings.ReplaceAll(ref, "/", "_"), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "mirror")
				m := follow(t, git.Config{URL: url, Ref: ref, Dir: dir})
				fetched(t, m, want)
				fetched(t, m, want)
				sound(t, dir)
				fetched(t, follow(t, git.Config{URL: url, Ref: ref, Dir: dir}), want)
			})
		}
	})
}

func TestRefThatMoves(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		first := s.commit("a", "one")
		s.git("tag", "-a", "-m", "release", "v1")
		dir := filepath.Join(t.TempDir(), "mirror")
		m := follow(t, git.Config{URL: url, Ref: "v1", Dir: dir})
		fetched(t, m, first)
		second := s.commit("a", "two")
		fetched(t, m, first)
		s.git("tag", "-f", "-a", "-m", "moved", "v1")
		fetched(t, m, second)
		content(t, m, first, "a", "one")
		content(t, m, second, "a", "two")
		s.git("tag", "-f", "v1", first)
		fetched(t, m, first)
		sound(t, dir)
		s.git("tag", "-d", "v1")
		if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.RecordOf(err).Hint, "main") {
			t.Errorf("deleted tag: %v", err)
		}
	})
}

// A commit by its name needs the source once; afterwards it is there whatever
// becomes of the source.
func TestFollowCommit(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		s.git("config", "uploadpack.allowReachableSHA1InWant", "true")
		s.commit("a", "zero")
		first := s.commit("a", "one")
		s.commit("a", "two")
		for _, ref := range []string{first, strings.ToUpper(first)} {
			dir := filepath.Join(t.TempDir(), "mirror")
			m := follow(t, git.Config{URL: url, Ref: ref, Dir: dir})
			fetched(t, m, first)
			content(t, m, first, "a", "one")
			sound(t, dir)
			elsewhere := "http://127.0.0.1:1/gone.git"
			fetched(t, m, first)
			fetched(t, follow(t, git.Config{URL: elsewhere, Ref: ref, Dir: dir}), first)
			fetched(t, follow(t, git.Config{URL: "/nowhere/at/all", Ref: ref, Dir: dir}), first)
			writeFile(t, filepath.Join(dir, "HEAD"), "")
			if _, err := follow(t, git.Config{URL: elsewhere, Ref: ref, Dir: dir}).Fetch(t.Context()); !fault.Is(err, fault.Transient) {
				t.Errorf("a damaged mirror without its source: %v", err)
			}
		}
	})
}

func TestRefThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		head := s.commit("a", "one")
		unknown := strings.Repeat("1", 40)
		s.git("branch", "both")
		s.git("tag", "both")
		s.git("tag", "of-tree", "HEAD^{tree}")
		s.git("tag", "-a", "-m", "of a file", "of-file", "HEAD:a")
		for name, c := range map[string]struct {
			ref  string
			kind fault.Kind
			says string
		}{
			"neither":     {"v9", fault.NotFound, "main"},
			"no tag":      {"refs/tags/main", fault.NotFound, "main"},
			"both":        {"both", fault.Invalid, "refs/tags/both"},
			"short":       {head[:12], fault.NotFound, "40 digits"},
			"unknown":     {unknown, fault.NotFound, "branch or tag"},
			"tree":        {"of-tree", fault.Invalid, "not a commit"},
			"tagged file": {"of-file", fault.Invalid, "not a commit"},
			"HEAD":        {"HEAD", fault.NotFound, "main"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := follow(t, git.Config{URL: url, Ref: c.ref})
				for range 2 {
					_, err := m.Fetch(t.Context())
					if !fault.Is(err, c.kind) {
						t.Fatalf("%v is %s, want %s", err, fault.KindOf(err), c.kind)
					}
					if text := err.Error() + "\n" + fault.RecordOf(err).Hint; !strings.Contains(text, c.says) {
						t.Fatalf("does not say %q: %s", c.says, text)
					}
				}
				if m.Head() != "" {
					t.Errorf("head is %s", m.Head())
				}
			})
		}
	})
}

// The same failures leave a mirror that has something as it is.
func TestRefThatBecomesATree(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		head := s.commit("a", "one")
		s.git("tag", "v1")
		dir := filepath.Join(t.TempDir(), "mirror")
		m := follow(t, git.Config{URL: url, Ref: "v1", Dir: dir})
		fetched(t, m, head)
		s.commit("a", "two")
		s.git("tag", "-f", "v1", "HEAD^{tree}")
		if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.Invalid) {
			t.Errorf("tag of a tree: %s %v", fault.KindOf(err), err)
		}
		if m.Head() != head {
			t.Errorf("head is %s", m.Head())
		}
		content(t, m, head, "a", "one")
		sound(t, dir)
	})
}

func TestRefOfEmptyRepository(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, _ *source, url string) {
		for _, ref := range []string{"v1", strings.Repeat("1", 40)} {
			if _, err := follow(t, git.Config{URL: url, Ref: ref}).Fetch(t.Context()); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %s %v", ref, fault.KindOf(err), err)
			}
		}
	})
}

func TestWhatToFollow(t *testing.T) {
	t.Parallel()
	for _, cfg := range []git.Config{
		{}, {Branch: "main", Ref: "main"}, {Ref: "../../etc"}, {Ref: "-x"}, {Ref: "refs/heads/../../config"}, {Ref: "a b"}, {Ref: "HEAD^"}, {Ref: "a:b"},
	} {
		cfg.URL, cfg.Dir = "/src", t.TempDir()
		if _, err := git.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("branch %q, ref %q: %v", cfg.Branch, cfg.Ref, err)
		}
	}
}

func TestWatchSeesATag(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.commit("a", "one")
	m := follow(t, git.Config{URL: s.dir, Ref: "releases/v1", Interval: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	woken := m.Watch(ctx)
	for _, args := range [][]string{{"tag", "releases/v1"}, {"tag", "-f", "-a", "-m", "moved", "releases/v1"}} {
		eventually(t, "ready for a change", func() bool { // the first look may ring
			select {
			case <-woken:
				return false
			default:
				return true
			}
		})
		s.git(args...)
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			t.Fatalf("git %v was not seen", args)
		}
	}
}

func follow(t testing.TB, cfg git.Config) *git.Mirror {
	t.Helper()
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
