package git_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// files is a commit's content: by path, the mode and what it holds.
type files map[string]file

type file struct{ mode, content string }

// set puts a file where another one, or a directory, may be.
func (f files) set(name string, to file) {
	for other := range f {
		if strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			delete(f, other)
		}
	}
	f[name] = to
}

// stream writes commits for git fast-import.
type stream struct {
	bytes.Buffer
	marks int
}

func (s *stream) commit(ref string, when int64, content files, parents ...int) int {
	s.marks++
	fmt.Fprintf(s, "reset %s\ncommit %s\nmark :%d\ncommitter Ann <ann@example.com> %d +0000\ndata 1\nx\n", ref, ref, s.marks, when)
	for i, p := range parents {
		fmt.Fprintf(s, "%s :%d\n", []string{"from", "merge"}[min(i, 1)], p)
	}
	s.WriteString("deleteall\n")
	for _, name := range slices.Sorted(maps.Keys(content)) {
		f := content[name]
		if f.mode == "160000" {
			fmt.Fprintf(s, "M 160000 %s %s\n", f.content, name)
			continue
		}
		fmt.Fprintf(s, "M %s inline %s\ndata %d\n%s\n", f.mode, name, len(f.content), f.content)
	}
	s.WriteString("\n")
	return s.marks
}

func (s *source) fastImport(in *stream) {
	s.t.Helper()
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, s.env, in
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("git fast-import: %v\n%s", err, out)
	}
}

// all obtains what every ref below refs/t/ is at.
func (s *source) all(m *git.Mirror) map[string]string {
	s.t.Helper()
	byRef := map[string]string{}
	var wanted []git.Wanted
	for line := range strings.Lines(s.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/t/")) {
		sha, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		byRef[ref] = sha
		wanted = append(wanted, git.Wanted{Ref: ref, SHA: sha})
	}
	if failed, err := m.ObtainAll(s.t.Context(), wanted); err != nil || len(failed) > 0 {
		s.t.Fatal(err, failed)
	}
	return byRef
}

// gitMerge is what git merge-tree says: a tree, or the paths that conflict.
func (s *source) gitMerge(base, head string) (tree string, conflicts []string) {
	s.t.Helper()
	cmd := exec.Command("git", "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "--no-messages", base, head)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		s.t.Fatalf("git merge-tree: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err == nil {
		return lines[0], nil
	}
	for _, name := range lines[1:] {
		name, _, _ = strings.Cut(name, "~") // where git puts a file that is in the way
		conflicts = append(conflicts, name)
	}
	slices.Sort(conflicts)
	return "", slices.Compact(conflicts)
}

var mergedPaths = []string{"a", "b", "a.b", "d/a", "d/b", "d/e/a", "d/e/b", "d.x", "a/x", "d/e", "z"}

// randomText has lines of which many are the same, and none is in another file:
// git 2.39 cannot be told not to look for renames.
func randomText(r *rand.Rand, name string) string {
	var b strings.Builder
	kinds := 1 + r.IntN(30)
	for range r.IntN(40) {
		b.WriteString(line(name, r.IntN(kinds)))
	}
	if r.IntN(6) == 0 {
		b.WriteString("no end")
	}
	return b.String()
}

func line(name string, n int) string { return fmt.Sprintf("%s line %d\n", name, n) }

func longText(r *rand.Rand) string {
	var b strings.Builder
	kinds := 10 + r.IntN(200)
	for range 20 + r.IntN(400) {
		b.WriteString(line("a", r.IntN(kinds)))
	}
	return b.String()
}

func editText(r *rand.Rand, name, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 1 + r.IntN(4) {
		i := r.IntN(len(lines))
		n := min(1+r.IntN(3), len(lines)-i)
		switch r.IntN(5) {
		case 0:
			lines = slices.Insert(lines, i, line(name, r.IntN(30)))
		case 1:
			lines = slices.Delete(lines, i, i+n)
		case 2:
			lines[i] = line(name, r.IntN(30))
		case 3:
			lines = slices.Insert(lines, i, slices.Clone(lines[i:i+n])...)
		default:
			moved := slices.Clone(lines[i : i+n])
			lines = slices.Delete(lines, i, i+n)
			lines = slices.Insert(lines, r.IntN(len(lines)+1), moved...)
		}
		if len(lines) == 0 {
			lines = []string{""}
		}
	}
	return strings.Join(lines, "")
}

func randomFile(r *rand.Rand, name string) file {
	switch r.IntN(12) {
	case 0:
		return file{"120000", line(name, r.IntN(3))}
	case 1:
		return file{"160000", fmt.Sprintf("%020x%020x", name, r.IntN(3))}
	case 2:
		return file{"100644", name + "\x00" + randomText(r, name)}
	case 3:
		return file{"100755", randomText(r, name)}
	default:
		return file{"100644", randomText(r, name)}
	}
}

func (f files) mutate(r *rand.Rand) {
	name := mergedPaths[r.IntN(len(mergedPaths))]
	if existing := slices.Sorted(maps.Keys(f)); len(existing) > 0 && r.IntN(4) > 0 {
		name = existing[r.IntN(len(existing))]
	}
	old, exists := f[name]
	switch k := r.IntN(10); {
	case exists && k == 0:
		delete(f, name)
	case exists && k == 1 && strings.HasPrefix(old.mode, "100"):
		f[name] = file{map[string]string{"100644": "100755", "100755": "100644"}[old.mode], old.content}
	case exists && k < 9 && strings.HasPrefix(old.mode, "100"):
		f[name] = file{old.mode, editText(r, name, old.content)}
	default:
		f.set(name, randomFile(r, name))
	}
}

// A merge is what git's is: the same tree, or a conflict at the same paths.
func TestMergeAsGitDoes(t *testing.T) {
	t.Parallel()
	const cases = 200
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := newSource(t)
	in := &stream{}
	for i := range cases {
		base := files{}
		if i%2 == 0 { // one long file
			base["a"] = file{"100644", longText(r)}
		}
		for range (1 + r.IntN(6)) * (i % 2) {
			name := mergedPaths[r.IntN(len(mergedPaths))]
			base.set(name, randomFile(r, name))
		}
		root := in.commit("refs/heads/main", 1000, base)
		both := maps.Clone(base) // what both sides did alike
		for range r.IntN(2) {
			both.mutate(r)
		}
		for j, ref := range []string{"ours", "theirs"} {
			side := maps.Clone(both)
			for range 1 + r.IntN(3) {
				side.mutate(r)
			}
			in.commit(fmt.Sprintf("refs/t/%d/%s", i, ref), int64(2000+j), side, root)
		}
	}
	s.fastImport(in)
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: s.dir, Dir: dir})
	fetch(t, m)
	refs := s.all(m)
	clean := 0
	for i := range cases {
		ours, theirs := refs[fmt.Sprintf("refs/t/%d/ours", i)], refs[fmt.Sprintf("refs/t/%d/theirs", i)]
		if s.sameAsGit(m, ours, theirs) {
			clean++
		}
	}
	t.Logf("%d of %d are clean", clean, cases)
	if clean < cases/10 || clean > cases*9/10 {
		t.Error("the cases show little")
	}
	sound(t, dir)
}

// sameAsGit merges, and reports whether that is clean.
func (s *source) sameAsGit(m *git.Mirror, ours, theirs string) bool {
	s.t.Helper()
	tree, conflicts := s.gitMerge(ours, theirs)
	got, err := m.Merge(s.t.Context(), ours, theirs)
	if err != nil {
		s.t.Fatal(err)
	}
	if !slices.Equal(got.Conflicts, conflicts) {
		s.t.Errorf("merge of %s and %s: conflicts at %q, git says %q\n%s\n\n%s", ours, theirs, got.Conflicts, conflicts,
			s.git("diff-tree", "-r", "-p", got.Base, ours), s.git("diff-tree", "-r", "-p", got.Base, theirs))
		return false
	}
	if (got.SHA == "") != (len(conflicts) > 0) {
		s.t.Errorf("merge of %s and %s is %+v", ours, theirs, got)
	}
	if got.SHA == "" {
		return false
	}
	id, err := m.TreeID(got.SHA, ".")
	if err != nil || id != tree {
		s.t.Errorf("merge of %s and %s gives tree %s, git %s (%v)", ours, theirs, id, tree, err)
	}
	return true
}

func TestMerge(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "1\n2\n3\n4\n5\n", "d/b", "b")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: s.dir, Dir: dir})
	fetched(t, m, base)
	head := s.pull(1, base, "a", "one\n2\n3\n4\n5\n")
	main := s.commit("a", "1\n2\n3\n4\nfive\n")
	fetched(t, m, main)
	if _, err := m.Merge(t.Context(), main, head); !fault.Is(err, fault.NotFound) {
		t.Errorf("before it is obtained: %v", err)
	}
	obtain(t, m, 1, head)
	got, err := m.Merge(t.Context(), main, head)
	if err != nil || got.Base != base || got.Conflicts != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	content(t, m, got.SHA, "a", "one\n2\n3\n4\nfive\n")
	content(t, m, got.SHA, "d/b", "b")
	c, err := m.Commit(got.SHA)
	if err != nil || !slices.Equal(c.Parents, []string{main, head}) {
		t.Errorf("%+v, %v", c, err)
	}
	if m.Head() != main {
		t.Errorf("head moved to %s", m.Head())
	}
	if ok, err := m.IsAncestor(t.Context(), head, got.SHA); err != nil || !ok {
		t.Errorf("head is in the merge: %v, %v", ok, err)
	}
	before := objects(t, dir)
	again, err := open(t, git.Config{URL: s.dir, Dir: dir}).Merge(t.Context(), main, head)
	if err != nil || again.SHA != got.SHA || objects(t, dir) != before {
		t.Errorf("again: %+v, %v", again, err)
	}
	sound(t, dir)

	// What one contains of the other.
	for _, c := range []struct{ base, head, want, ancestor string }{
		{main, base, main, base}, {base, main, main, base}, {main, main, main, main}, {got.SHA, head, got.SHA, head},
	} {
		got, err := m.Merge(t.Context(), c.base, c.head)
		if err != nil || got.SHA != c.want || got.Base != c.ancestor {
			t.Errorf("merge of %s into %s: %+v, %v", c.head, c.base, got, err)
		}
	}
	clash := s.pull(2, base, "a", "1\n2\n3\n4\nfünf\n", "d/b", "")
	obtain(t, m, 2, clash)
	if got, err = m.Merge(t.Context(), main, clash); err != nil || got.SHA != "" || !slices.Equal(got.Conflicts, []string{"a"}) {
		t.Errorf("conflict: %+v, %v", got, err)
	}
	s.git("checkout", "-q", "--orphan", "other")
	lone := s.commit("a", "lone")
	s.git("update-ref", pullRef(3), lone)
	obtain(t, m, 3, lone)
	if _, err := m.Merge(t.Context(), main, lone); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "no common history") {
		t.Errorf("unrelated: %v", err)
	}
}

func objects(t testing.TB, dir string) int {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "objects/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// A rename on one side is a conflict where the other side edited the file.
func TestMergeLooksForNoRenames(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "1\n2\n3\n4\n5\n", "b", "b")
	s.git("checkout", "-q", "--detach")
	s.git("mv", "a", "c")
	renamed := s.commit()
	s.git("update-ref", pullRef(1), renamed)
	s.git("checkout", "-q", "main")
	edited := s.commit("a", "1\n2\n3\n4\nfive\n")
	other := s.pull(2, base, "b", "bb")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, edited)
	obtain(t, m, 1, renamed)
	obtain(t, m, 2, other)
	if got, err := m.Merge(t.Context(), edited, renamed); err != nil || !slices.Equal(got.Conflicts, []string{"a"}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := m.Merge(t.Context(), other, renamed)
	if err != nil || got.SHA == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	content(t, m, got.SHA, "c", "1\n2\n3\n4\n5\n")
	content(t, m, got.SHA, "b", "bb")
}

func TestMergeOfLargeFiles(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	repeated := strings.Repeat("same\n", 1000) // no line is rare
	large := strings.Repeat("a line of a large file\n", 50_000)
	base := s.commit("repeated", repeated, "large", "begin\n"+large)
	for i, files := range [][]string{
		{"repeated", "first\n" + repeated},
		{"repeated", repeated + "last\n"},
		{"large", "Begin\n" + large},
		{"large", "begin\n" + large + "end\n"},
	} {
		s.pull(i, base, files...)
	}
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, base)
	head := func(i int) string {
		sha := s.git("rev-parse", pullRef(i))
		obtain(t, m, i, sha)
		return sha
	}
	s.sameAsGit(m, head(0), head(1))
	if got, err := m.Merge(t.Context(), head(2), head(3)); err != nil || !slices.Equal(got.Conflicts, []string{"large"}) {
		t.Errorf("above 1 MiB: %+v, %v", got, err)
	}
	s.sameAsGit(m, head(0), head(3))
}

// Histories that cross, with clocks that are wrong.
func TestMergeBaseAsGitDoes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	s := newSource(t)
	in := &stream{}
	for i := range 60 {
		var parents []int
		for range r.IntN(3) + min(1, r.IntN(20)) {
			if p := max(1, in.marks-r.IntN(8)); in.marks > 0 && !slices.Contains(parents, p) {
				parents = append(parents, p)
			}
		}
		in.commit(fmt.Sprintf("refs/t/%d", i), int64(1000+10*i-r.IntN(100)), files{"a": {"100644", fmt.Sprint(i)}}, parents...)
	}
	in.commit("refs/heads/main", 1, files{})
	s.fastImport(in)
	m := open(t, git.Config{URL: s.dir})
	fetch(t, m)
	refs := s.all(m)
	several, none := 0, 0
	for range 250 {
		a, b := refs[fmt.Sprintf("refs/t/%d", r.IntN(60))], refs[fmt.Sprintf("refs/t/%d", r.IntN(60))]
		out, _ := s.try("merge-base", "--all", a, b)
		want := strings.Fields(out)
		got, err := m.MergeBase(t.Context(), a, b)
		switch {
		case len(want) == 0:
			none++
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("base of %s and %s: %s, %v; git knows none", a, b, got, err)
			}
		case err != nil || !slices.Contains(want, got):
			t.Errorf("base of %s and %s: %s, %v; git says %v", a, b, got, err, want)
		case len(want) > 1:
			several++
		}
	}
	t.Logf("%d with several bases, %d with none", several, none)
}
