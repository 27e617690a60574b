package git_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// TestMain lowers the default of -rapid.checks: one random history takes
// dozens of git processes.
func TestMain(m *testing.M) {
	if args := os.Getenv(fetchForever); args != "" {
		runFetchForever(args)
	}
	if args := os.Getenv(obtainForever); args != "" {
		runObtainForever(args)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "8"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// TestRandomHistories compares every answer with git's own.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := newSource(t)
		m := open(t, git.Config{URL: s.dir})
		commits := randomHistory(rt, s, m)
		for _, c := range commits {
			if !s.onBranch(c) {
				continue
			}
			compareFiles(rt, s, m, c)
		}
		pick := rapid.SampledFrom(commits)
		for range 6 {
			from, to := pick.Draw(rt, "from"), pick.Draw(rt, "to")
			if !s.onBranch(from) || !s.onBranch(to) {
				continue
			}
			paths := rapid.SliceOfN(rapid.SampledFrom([]string{".", "d", "d/a", "d.x", "e", "e/a/b", "missing", "d/a/deep"}), 1, 3).Draw(rt, "paths")
			compareChanges(rt, s, m, from, to, paths)
			_, err := s.try("merge-base", "--is-ancestor", from, to)
			got, gotErr := m.IsAncestor(t.Context(), from, to)
			if gotErr != nil || got != (err == nil) {
				rt.Fatalf("IsAncestor(%s, %s) = %v, %v; git: %v", from, to, got, gotErr, err)
			}
			limit := rapid.IntRange(1, 20).Draw(rt, "limit")
			want := s.firstParents(from, to, limit)
			log, err := m.Commits(t.Context(), from, to, limit)
			if err != nil {
				rt.Fatal(err)
			}
			var shas []string
			for _, c := range log {
				shas = append(shas, c.SHA)
			}
			if !slices.Equal(shas, want) {
				rt.Fatalf("Commits(%s, %s, %d) = %v, git: %v", from, to, limit, shas, want)
			}
		}
	})
}

// firstParents is the truth about Commits. It asks for all that from reaches:
// git rev-list to ^from itself guesses when clocks went wrong.
func (s *source) firstParents(from, to string, limit int) []string {
	old := strings.Fields(s.git("rev-list", from))
	var line []string
	for _, c := range strings.Fields(s.git("rev-list", "--first-parent", to)) {
		if len(line) == limit || slices.Contains(old, c) {
			break
		}
		line = append(line, c)
	}
	return line
}

// onBranch reports whether a commit was ever fetched: reachable from main.
func (s *source) onBranch(commit string) bool {
	_, err := s.try("merge-base", "--is-ancestor", commit, "main")
	return err == nil
}

// randomHistory makes commits, merges, mode changes, files that turn into
// directories, and clocks that go wrong, and fetches in between.
func randomHistory(rt *rapid.T, s *source, m *git.Mirror) []string {
	names := []string{"a", "d/a", "d/b", "d.x", "d0", "d/a/deep", "e/a/b", "e/c", "d", "e/a", "ü/ä b"}
	var commits []string
	steps := rapid.IntRange(3, 9).Draw(rt, "commits")
	for i := range steps {
		if i > 1 && rapid.Bool().Draw(rt, "merge") {
			old := rapid.SampledFrom(commits).Draw(rt, "side")
			s.git("checkout", "-q", "-B", "side", old)
			s.git("rm", "-q", "-r", "--ignore-unmatch", ".")
			s.write(fmt.Sprint("side", i), "x")
			s.git("add", "-A")
			s.gitAt(rt, "commit", "-q", "-m", "side")
			commits = append(commits, s.git("rev-parse", "HEAD"))
			s.git("checkout", "-q", "main")
			s.gitAt(rt, "merge", "-q", "-s", "ours", "-m", "merge", "side")
		} else {
			for range rapid.IntRange(0, 4).Draw(rt, "edits") {
				s.edit(rt, rapid.SampledFrom(names).Draw(rt, "name"))
			}
			s.git("add", "-A")
			s.gitAt(rt, "commit", "-q", "--allow-empty", "-m", fmt.Sprintf("step %d\n\nbody", i))
		}
		commits = append(commits, s.git("rev-parse", "main"))
		switch rapid.IntRange(0, 5).Draw(rt, "then") {
		case 0:
			s.git("gc", "-q", "--prune=now")
		case 1, 2:
			if got, err := m.Fetch(s.t.Context()); err != nil || got != commits[len(commits)-1] {
				rt.Fatalf("fetch: %s, %v", got, err)
			}
		}
	}
	if _, err := m.Fetch(s.t.Context()); err != nil {
		rt.Fatal(err)
	}
	return commits
}

func (s *source) gitAt(rt *rapid.T, args ...string) {
	env := s.env
	defer func() { s.env = env }()
	date := fmt.Sprintf("%d +0000", 1_700_000_000+rapid.IntRange(0, 1000).Draw(rt, "clock"))
	s.env = append(slices.Clone(env), "GIT_COMMITTER_DATE="+date, "GIT_AUTHOR_DATE="+date)
	s.git(args...)
}

func (s *source) edit(rt *rapid.T, name string) {
	full := filepath.Join(s.dir, name)
	for dir := filepath.Dir(full); dir != s.dir; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
			_ = os.Remove(dir)
		}
	}
	if err := os.RemoveAll(full); err != nil {
		rt.Fatal(err)
	}
	switch rapid.IntRange(0, 5).Draw(rt, "edit") {
	case 0: // deleted
	case 1:
		_ = os.MkdirAll(filepath.Dir(full), 0o755)
		if err := os.Symlink("target", full); err != nil {
			rt.Fatal(err)
		}
	default:
		s.write(name, fmt.Sprint("content ", rapid.IntRange(0, 3).Draw(rt, "content")))
		if rapid.Bool().Draw(rt, "executable") {
			_ = os.Chmod(full, 0o755)
		}
	}
}

func compareFiles(rt *rapid.T, s *source, m *git.Mirror, commit string) {
	want := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(s.git("ls-tree", "-r", "-z", commit), "\x00"), "\x00") {
		meta, name, ok := strings.Cut(line, "\t")
		if fields := strings.Fields(meta); ok {
			want[name] = fields[0] + " " + fields[2]
		}
	}
	got := map[string]string{}
	fsys := m.FS(commit)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		id, err := m.TreeID(commit, name)
		if err != nil {
			return err
		}
		mode := "100644"
		switch {
		case d.Type() == fs.ModeSymlink:
			mode = "120000"
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode()&0o100 != 0 {
				mode = "100755"
			}
			b, err := fs.ReadFile(fsys, name)
			if err != nil || int64(len(b)) != info.Size() {
				return fmt.Errorf("%d bytes of %d: %w", len(b), info.Size(), err)
			}
		}
		got[name] = mode + " " + id
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("files at %s (-git +mirror):\n%s", commit, diff)
	}
}

func compareChanges(rt *rapid.T, s *source, m *git.Mirror, from, to string, paths []string) {
	args := append([]string{"--literal-pathspecs", "diff-tree", "-r", "-z", "--no-renames", "--name-status", from, to, "--"}, paths...)
	fields := strings.Split(strings.TrimSuffix(s.git(args...), "\x00"), "\x00")
	var want []git.Change
	kinds := map[string]git.Kind{"A": git.Added, "M": git.Modified, "T": git.Modified, "D": git.Deleted}
	for i := 0; i+1 < len(fields); i += 2 {
		want = append(want, git.Change{Path: fields[i+1], Kind: kinds[fields[i]]})
	}
	slices.SortFunc(want, func(a, b git.Change) int { return strings.Compare(a.Path, b.Path) })
	got, err := m.Changed(s.t.Context(), from, to, paths)
	if err != nil {
		rt.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("changed from %s to %s in %q (-git +mirror):\n%s", from, to, paths, diff)
	}
}

func TestFilesAtACommit(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.write("bin/run", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(s.dir, "bin/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	head := s.commit("tenants/a.yaml", "a", "tenants/b/c.yaml", "c", "tenants/b.yaml", "b")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, head)
	if err := fstest.TestFS(m.FS(head), "bin/run", "tenants/a.yaml", "tenants/b/c.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(s.dir, "tenants/link.yaml")); err != nil {
		t.Fatal(err)
	}
	s.git("update-index", "--add", "--cacheinfo", "160000,"+head+",tenants/sub")
	s.git("add", "tenants/link.yaml")
	s.git("commit", "-q", "-m", "links")
	head = s.git("rev-parse", "HEAD")
	fetched(t, m, head)
	fsys := m.FS(head)
	for name, want := range map[string]fs.FileMode{
		"bin/run": 0o755, "tenants/a.yaml": 0o644, "tenants": fs.ModeDir | 0o755,
		"tenants/link.yaml": fs.ModeSymlink | 0o777, "tenants/sub": fs.ModeIrregular,
	} {
		info, err := fs.Stat(fsys, name)
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %s is %v (%v), want %v", name, info, err, want)
		}
	}
	for _, name := range []string{"tenants/link.yaml", "tenants/sub"} {
		if _, err := fs.ReadFile(fsys, name); !fault.Is(err, fault.Invalid) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading %s: %v", name, err)
		}
	}
	if to, err := fs.ReadLink(fsys, "tenants/link.yaml"); err != nil || to != "/etc/passwd" {
		t.Errorf("link: %q, %v", to, err)
	}
	for _, name := range []string{"nothing", "tenants/a.yaml/x", "tenants/zzz"} {
		if _, err := fs.Stat(fsys, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if id, err := m.TreeID(head, name); id != "" || err != nil {
			t.Errorf("TreeID of %s: %q, %v", name, id, err)
		}
	}
	if _, err := fs.Stat(m.FS(strings.Repeat("b", 40)), "tenants"); !fault.Is(err, fault.NotFound) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown commit: %v", err)
	}
	if _, err := m.Changed(t.Context(), head, head, []string{"../x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("path that leads out: %v", err)
	}
}

// A hostile repository has trees that git would not make.
func TestHostileTreesAreRefused(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]func(hash string) string{
		"dot dot":   func(h string) string { return "100644 ..\x00" + h },
		"slash":     func(h string) string { return "100644 a/b\x00" + h },
		"empty":     func(h string) string { return "100644 \x00" + h },
		"unsorted":  func(h string) string { return "100644 b\x00" + h + "100644 a\x00" + h },
		"twice":     func(h string) string { return "100644 a\x00" + h + "100644 a\x00" + h },
		"cut short": func(h string) string { return "100644 a\x00" + h[:10] },
		"bad mode":  func(h string) string { return "10x644 a\x00" + h },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			good := s.commit("a", "one")
			m := open(t, git.Config{URL: s.dir})
			fetched(t, m, good)
			blob := s.git("rev-parse", "HEAD:a")
			writeFile(t, filepath.Join(s.dir, "raw"), raw(rawHash(t, blob)))
			tree := s.git("hash-object", "-t", "tree", "-w", "--literally", "raw")
			s.git("update-ref", "refs/heads/main", s.git("commit-tree", "-p", good, "-m", "evil", tree))
			if _, err := m.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), tree) {
				t.Fatalf("fetch: %v", err)
			}
			if m.Head() != good {
				t.Fatalf("head moved to %s", m.Head())
			}
			content(t, m, good, "a", "one")
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	var all []string
	tree := s.git("hash-object", "-t", "tree", "-w", "/dev/null")
	for i := range 200 {
		env := s.env
		s.env = append(slices.Clone(env), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0000", 1_700_000_000+i))
		args := []string{"commit-tree", "-m", fmt.Sprint(i), tree}
		if i > 0 {
			args = append(args, "-p", all[i-1])
		}
		all = append(all, s.git(args...))
		s.env = env
	}
	head := all[len(all)-1]
	s.git("update-ref", "refs/heads/main", head)
	m := open(t, git.Config{URL: s.dir})
	if _, err := m.Resolve(t.Context(), "HEAD"); err == nil {
		t.Error("HEAD before the first fetch resolved")
	}
	fetched(t, m, head)
	for _, rev := range []string{head, head[:12], head[:7], strings.ToUpper(head[:9]), "HEAD", "main"} {
		if got, err := m.Resolve(t.Context(), rev); err != nil || got != head {
			t.Errorf("Resolve(%s) = %s, %v", rev, got, err)
		}
	}
	for _, rev := range []string{"", "abc", "xyzw", "HEAD~1", "../x", head + "00"} {
		if _, err := m.Resolve(t.Context(), rev); !fault.Is(err, fault.Invalid) {
			t.Errorf("Resolve(%s): %v", rev, err)
		}
	}
	counts := map[string]int{}
	for _, sha := range all {
		counts[sha[:4]]++
	}
	for prefix, n := range counts {
		got, err := m.Resolve(t.Context(), prefix)
		if n > 1 && !fault.Is(err, fault.Invalid) || n == 1 && (err != nil || !strings.HasPrefix(got, prefix)) {
			t.Errorf("Resolve(%s), of %d: %s, %v", prefix, n, got, err)
		}
	}
	missing := strings.Repeat("0", 10)
	if _, err := m.Resolve(t.Context(), missing); !fault.Is(err, fault.NotFound) {
		t.Errorf("Resolve(%s): %v", missing, err)
	}
	c, err := m.Commit(head)
	if err != nil || c.SHA != head || c.Subject != "199" || c.Author != "Ann <ann@example.com>" ||
		c.When.Unix() != 1_700_000_199 || !slices.Equal(c.Parents, all[198:199]) {
		t.Errorf("Commit: %+v, %v", c, err)
	}
	a, b := rand.IntN(200), rand.IntN(200)
	if ok, err := m.IsAncestor(t.Context(), all[a], all[b]); err != nil || ok != (a <= b) {
		t.Errorf("IsAncestor(%d, %d) = %v, %v", a, b, ok, err)
	}
	if ok, err := m.IsAncestor(t.Context(), missing+strings.Repeat("0", 30), head); ok || err != nil {
		t.Errorf("IsAncestor of an unknown commit: %v, %v", ok, err)
	}
}
