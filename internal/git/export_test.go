package git_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// exported checks that dir holds exactly the files, and returns their times.
func exported(t testing.TB, dir string, want map[string]string) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	var extra []string
	err := filepath.WalkDir(dir, func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, full)
		b, _ := os.ReadFile(full)
		if w, ok := want[name]; !ok || w != string(b) || !d.Type().IsRegular() {
			extra = append(extra, fmt.Sprintf("%s=%q", name, b))
		}
		info, err := d.Info()
		times[name] = info.ModTime()
		return err
	})
	if err != nil || len(extra) > 0 || len(times) != len(want) {
		t.Fatalf("export has %v; unexpected %v, want %v (%v)", times, extra, want, err)
	}
	return times
}

func TestExport(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.write("apps/x/run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(s.dir, "apps/x/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	first := s.commit("apps/x/main.go", "one", "apps/x/sub/deep/a", "a", "apps/x/gone/b", "b", "other", "no")
	second := s.commit("apps/x/main.go", "two", "apps/x/gone", "", "apps/x/sub/deep", "", "apps/x/sub/new", "new")
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, second)
	dir := filepath.Join(t.TempDir(), "out")
	export := func(commit string) {
		t.Helper()
		if err := m.Export(t.Context(), commit, "apps/x", dir); err != nil {
			t.Fatal(err)
		}
	}
	atFirst := map[string]string{"main.go": "one", "run.sh": "#!/bin/sh\n", "sub/deep/a": "a", "gone/b": "b"}
	atSecond := map[string]string{"main.go": "two", "run.sh": "#!/bin/sh\n", "sub/new": "new"}
	export(first)
	before := exported(t, dir, atFirst)
	export(first)
	if after := exported(t, dir, atFirst); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Fatalf("times moved from %v to %v", before, after)
	}
	export(second)
	after := exported(t, dir, atSecond)
	if !after["run.sh"].Equal(before["run.sh"]) || after["main.go"].Equal(before["main.go"]) {
		t.Fatalf("times went from %v to %v", before, after)
	}
	for _, gone := range []string{"gone", "sub/deep"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if info, _ := os.Stat(filepath.Join(dir, "run.sh")); info.Mode() != 0o755 {
		t.Errorf("mode of run.sh is %v", info.Mode())
	}
}

// Whatever somebody does to the directory or the index, the next export is right.
func TestExportAfterTampering(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("app/main.go", "12345", "app/sub/a", "a", "app/b", "b")
	want := map[string]string{"main.go": "12345", "sub/a": "a", "b": "b"}
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, head)
	for name, tamper := range map[string]func(t *testing.T, dir, outside string){
		"edited":            func(t *testing.T, dir, _ string) { writeFile(t, filepath.Join(dir, "main.go"), "changed!") },
		"edited, same size": func(t *testing.T, dir, _ string) { writeFile(t, filepath.Join(dir, "main.go"), "54321") },
		"edited, same size and time": func(t *testing.T, dir, _ string) {
			info, _ := os.Stat(filepath.Join(dir, "b"))
			writeFile(t, filepath.Join(dir, "b"), "x")
			_ = os.Chtimes(filepath.Join(dir, "b"), info.ModTime(), info.ModTime()) // racy: just written
		},
		"deleted":   func(_ *testing.T, dir, _ string) { _ = os.Remove(filepath.Join(dir, "b")) },
		"added":     func(t *testing.T, dir, _ string) { writeFile(t, filepath.Join(dir, "x/y/z"), "z") },
		"all gone":  func(_ *testing.T, dir, _ string) { _ = os.RemoveAll(dir) },
		"no index":  func(_ *testing.T, dir, _ string) { _ = os.Remove(dir + ".index") },
		"bad index": func(t *testing.T, dir, _ string) { writeFile(t, dir+".index", "gitopsd-export 1\nx y z\n\xff") },
		"mode":      func(_ *testing.T, dir, _ string) { _ = os.Chmod(filepath.Join(dir, "b"), 0o777) },
		"file is a directory": func(t *testing.T, dir, _ string) {
			_ = os.Remove(filepath.Join(dir, "b"))
			writeFile(t, filepath.Join(dir, "b/c"), "c")
		},
		"directory is a file": func(t *testing.T, dir, _ string) {
			_ = os.RemoveAll(filepath.Join(dir, "sub"))
			writeFile(t, filepath.Join(dir, "sub"), "c")
		},
		"file is a link": func(_ *testing.T, dir, outside string) {
			_ = os.Remove(filepath.Join(dir, "b"))
			_ = os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "b"))
		},
		"directory is a link": func(_ *testing.T, dir, outside string) {
			_ = os.RemoveAll(filepath.Join(dir, "sub"))
			_ = os.Symlink(outside, filepath.Join(dir, "sub"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, outside := filepath.Join(t.TempDir(), "out"), t.TempDir()
			writeFile(t, filepath.Join(outside, "secret"), "secret")
			for range 2 {
				if err := m.Export(t.Context(), head, "app", dir); err != nil {
					t.Fatal(err)
				}
				exported(t, dir, want)
				tamper(t, dir, outside)
			}
			if err := m.Export(t.Context(), head, "app", dir); err != nil {
				t.Fatal(err)
			}
			exported(t, dir, want)
			if info, _ := os.Stat(filepath.Join(dir, "b")); info.Mode() != 0o644 {
				t.Errorf("mode is %v", info.Mode())
			}
			exported(t, outside, map[string]string{"secret": "secret"})
		})
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(s *source){
		"link": func(s *source) {
			if err := os.Symlink("/etc", filepath.Join(s.dir, "app/link")); err != nil {
				t.Fatal(err)
			}
			s.git("add", "-A")
		},
		"git directory": func(s *source) {
			blob := s.git("rev-parse", "HEAD:app/a")
			app := s.tree("40000", "app", s.tree("100644", ".GIT", blob))
			s.git("update-ref", "refs/heads/main", s.git("commit-tree", "-p", "HEAD", "-m", "evil", app))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			first := s.commit("app/a", "a")
			make(s)
			if s.git("rev-parse", "main") == first {
				s.git("commit", "-q", "-m", "evil")
			}
			head := s.git("rev-parse", "main")
			m := open(t, git.Config{URL: s.dir})
			fetched(t, m, head)
			dir := filepath.Join(t.TempDir(), "out")
			if err := m.Export(t.Context(), first, "app", dir); err != nil {
				t.Fatal(err)
			}
			if err := m.Export(t.Context(), head, "app", dir); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "app") {
				t.Fatalf("export: %v", err)
			}
			exported(t, dir, map[string]string{"a": "a"})
			if err := m.Export(t.Context(), head, "nowhere", dir); !fault.Is(err, fault.NotFound) {
				t.Fatalf("export of nothing: %v", err)
			}
			exported(t, dir, map[string]string{"a": "a"})
		})
	}
}

func TestConcurrentExports(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	commits := []string{s.commit("app/a", "1", "app/b/c", "1"), s.commit("app/a", "2", "app/b", "", "app/c", "2")}
	m := open(t, git.Config{URL: s.dir})
	fetched(t, m, commits[1])
	dir := filepath.Join(t.TempDir(), "out")
	errs := make(chan error)
	for i := range 8 {
		go func() { errs <- m.Export(t.Context(), commits[i%2], "app", dir) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := m.Export(t.Context(), commits[0], "app", dir); err != nil {
		t.Fatal(err)
	}
	exported(t, dir, map[string]string{"a": "1", "b/c": "1"})
}
