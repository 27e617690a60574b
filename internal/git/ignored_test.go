package git_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gitopsd/gitopsd/internal/git"
)

const pointerFile = "version https://git-lfs.github.com/spec/v1\noid sha256:" +
	"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// logged is a log to be read while it is written.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) lines(containing string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, containing) {
			n++
		}
	}
	return n
}

func (s *source) submodule(name, commit string) {
	s.t.Helper()
	s.git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+name)
	s.git("commit", "-q", "-m", "submodule")
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	clean := s.commit("apps/x/main.go", "package main", "apps/y/a", "y", "other/big.bin", pointerFile)
	s.commit("apps/x/big.bin", pointerFile, "apps/x/not.bin", pointerFile+strings.Repeat(" ", 1024), "apps/x/z/deep.bin", pointerFile)
	s.submodule("apps/x/lib", clean)
	head := s.git("rev-parse", "HEAD")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, head)
	inX := []string{"LFS file apps/x/big.bin", "submodule apps/x/lib", "LFS file apps/x/z/deep.bin"}
	for _, test := range []struct {
		commit string
		paths  []string
		want   []string
	}{
		{head, []string{"apps/x"}, inX},
		{head, []string{"apps"}, inX},
		{head, []string{"apps/x", "apps/y"}, inX},
		{head, []string{"."}, append(slices.Clone(inX), "LFS file other/big.bin")},
		{head, []string{"apps/x/lib"}, inX[1:2]},
		{head, []string{"apps/y", "none"}, nil},
		{head, nil, nil},
		{clean, []string{"apps"}, nil},
	} {
		for range 2 { // what is remembered says the same
			got, err := m.Ignored(t.Context(), test.commit, test.paths)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%.7s %v: %q, %v, want %q", test.commit, test.paths, got, err, test.want)
			}
		}
	}
}

func TestIgnoredIsBounded(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	in := &stream{}
	many := files{}
	for i := range 10_100 {
		many[fmt.Sprintf("d%d/f%d", i%7, i)] = file{"100644", fmt.Sprint(i)}
	}
	many["z"] = file{"100644", pointerFile}
	in.commit("refs/heads/main", 1, many)
	s.fastImport(in)
	m := open(t, git.Config{URL: s.dir})
	head := fetch(t, m)
	if got, err := m.Ignored(t.Context(), head, []string{"."}); err != nil || len(got) > 0 {
		t.Errorf("behind 10,000 entries: %v, %v", got, err)
	}
	if got, err := m.Ignored(t.Context(), head, []string{"."}); err != nil || !slices.Equal(got, []string{"LFS file z"}) {
		t.Errorf("behind directories that are known: %v, %v", got, err)
	}
}

// An export leaves submodules out, and says once what it did.
func TestExportWarnsOfWhatIsIgnored(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("apps/x/main.go", "one", "apps/x/big.bin", pointerFile)
	s.submodule("apps/x/lib", base)
	head := s.git("rev-parse", "HEAD")
	log := &logged{}
	m := open(t, git.Config{URL: s.dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
	fetched(t, m, head)
	dir := filepath.Join(t.TempDir(), "out")
	want := map[string]string{"main.go": "one", "big.bin": pointerFile}
	for range 2 {
		for _, out := range []string{dir, dir + "2"} {
			if err := m.Export(t.Context(), head, "apps/x", out); err != nil {
				t.Fatal(err)
			}
			exported(t, out, want)
		}
	}
	s.git("rm", "-q", "--cached", "apps/x/lib")
	s.submodule("apps/x/lib", head) // at another commit
	next := s.git("rev-parse", "HEAD")
	fetched(t, m, next)
	for _, sha := range []string{next, next} {
		if err := m.Export(t.Context(), sha, "apps/x", dir); err != nil {
			t.Fatal(err)
		}
	}
	for path, n := range map[string]int{"path=apps/x/lib": 2, "path=apps/x/big.bin": 1, "level=WARN": 3, "commit=" + head: 2} {
		if got := log.lines(path); got != n {
			t.Errorf("%d lines with %s, want %d:\n%s", got, path, n, log.b.String())
		}
	}
}
