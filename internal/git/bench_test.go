package git_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/git"
)

// tenants makes a repository of n tenant files with packed history.
func tenants(b *testing.B, n int) *source {
	b.Helper()
	s := newSource(b)
	for i := range n {
		s.write(fmt.Sprintf("tenants/tenant-%05d.yaml", i), fmt.Sprintf("apiVersion: gitopsd.dev/v1\nmetadata: {name: tenant-%05d}\n", i))
		s.write(fmt.Sprintf("apps/a%03d/main.go", i%500), "package main\n")
	}
	s.commit()
	s.git("gc", "-q")
	return s
}

// BenchmarkOneChange measures fetch and Changed after a commit of one file,
// beside git fetch and git diff-tree of the same commit into a mirror of its own.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := tenants(b, n)
			reference := &source{t: b, dir: filepath.Join(filepath.Dir(s.dir), "reference"), env: s.env}
			s.git("clone", "-q", "--mirror", s.dir, reference.dir)
			m := open(b, git.Config{URL: s.dir})
			head := fetch(b, m)
			var git time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				next := s.commit(fmt.Sprintf("tenants/tenant-%05d.yaml", i%n), fmt.Sprintf("changed: %d\n", i))
				start := time.Now()
				reference.git("fetch", "-q")
				reference.git("diff-tree", "-r", "--name-status", head, next, "--", "tenants")
				git += time.Since(start)
				b.StartTimer()
				if got := fetch(b, m); got != next {
					b.Fatalf("fetched %s, want %s", got, next)
				}
				changes, err := m.Changed(b.Context(), head, next, []string{"tenants"})
				if err != nil || len(changes) != 1 {
					b.Fatalf("changed: %v, %v", changes, err)
				}
				head = next
			}
			report(b, git)
		})
	}
}

func report(b *testing.B, git time.Duration) {
	ours := b.Elapsed()
	b.ReportMetric(float64(git.Microseconds())/1000/float64(b.N), "git-ms/op")
	b.ReportMetric(ours.Seconds()/git.Seconds(), "of-git")
}

// BenchmarkNoChange measures a fetch that brings nothing.
func BenchmarkNoChange(b *testing.B) {
	s := tenants(b, 10000)
	m := open(b, git.Config{URL: s.dir})
	fetch(b, m)
	reference := &source{t: b, dir: filepath.Join(filepath.Dir(s.dir), "reference"), env: s.env}
	s.git("clone", "-q", "--mirror", s.dir, reference.dir)
	start := time.Now()
	const rounds = 5
	for range rounds {
		reference.git("fetch", "-q")
	}
	git := time.Since(start) / rounds
	for b.Loop() {
		fetch(b, m)
	}
	report(b, git*time.Duration(b.N))
}

// BenchmarkFirstFetch measures the making of a mirror, beside git clone --mirror.
func BenchmarkFirstFetch(b *testing.B) {
	s := tenants(b, 10000)
	var git time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		start := time.Now()
		s.git("clone", "-q", "--mirror", s.dir, filepath.Join(b.TempDir(), "reference"))
		git += time.Since(start)
		b.StartTimer()
		fetch(b, open(b, configFor(s, filepath.Join(b.TempDir(), "mirror"))))
	}
	report(b, git)
}

func configFor(s *source, dir string) git.Config { return git.Config{URL: s.dir, Dir: dir} }

// BenchmarkOverHTTP measures one change fetched from git's own server.
func BenchmarkOverHTTP(b *testing.B) {
	s := tenants(b, 10000)
	url, _ := s.serve("")
	m := open(b, git.Config{URL: url})
	fetch(b, m)
	reference := &source{t: b, dir: filepath.Join(filepath.Dir(s.dir), "reference"), env: s.env}
	s.git("clone", "-q", "--mirror", url, reference.dir)
	var git time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		s.commit("tenants/tenant-00001.yaml", fmt.Sprint(i))
		start := time.Now()
		reference.git("fetch", "-q")
		git += time.Since(start)
		b.StartTimer()
		fetch(b, m)
	}
	report(b, git)
}

func BenchmarkReadDir(b *testing.B) {
	s := tenants(b, 10000)
	m := open(b, git.Config{URL: s.dir})
	head := fetch(b, m)
	for b.Loop() {
		list, err := fs.ReadDir(m.FS(head), "tenants")
		if err != nil || len(list) != 10000 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkReadAllFiles(b *testing.B) {
	s := tenants(b, 10000)
	m := open(b, git.Config{URL: s.dir})
	head := fetch(b, m)
	for b.Loop() {
		for i := range 10000 {
			if _, err := fs.ReadFile(m.FS(head), fmt.Sprintf("tenants/tenant-%05d.yaml", i)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkManyPaths measures Changed with a path for each of 10,000 tenants.
func BenchmarkManyPaths(b *testing.B) {
	s := tenants(b, 10000)
	first := s.git("rev-parse", "HEAD")
	second := s.commit("apps/a007/main.go", "package main // changed\n")
	m := open(b, git.Config{URL: s.dir})
	fetch(b, m)
	paths := []string{"tenants"}
	for i := range 10000 {
		paths = append(paths, fmt.Sprintf("apps/a%03d", i))
	}
	for b.Loop() {
		changes, err := m.Changed(b.Context(), first, second, paths)
		if err != nil || len(changes) != 1 {
			b.Fatal(changes, err)
		}
	}
}

// BenchmarkExport measures an export of 400 files, of which one changed.
func BenchmarkExport(b *testing.B) {
	s := newSource(b)
	for i := range 400 {
		s.write(fmt.Sprintf("app/d%02d/f%03d.go", i%20, i), fmt.Sprintf("package d%02d\n", i%20))
	}
	commits := []string{s.commit(), s.commit("app/d00/f000.go", "package changed\n")}
	m := open(b, git.Config{URL: s.dir})
	fetch(b, m)
	dir := filepath.Join(b.TempDir(), "out")
	old := time.Now().Add(-time.Hour)
	for range 2 { // the second finds nothing racy
		if err := m.Export(b.Context(), commits[0], "app", dir); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "d00/f000.go"), old, old); err != nil {
			b.Fatal(err)
		}
	}
	for i := 1; b.Loop(); i++ {
		if err := m.Export(b.Context(), commits[i%2], "app", dir); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMerge measures the merge of a pull request that changes one tenant
// into a branch where another one changed, beside git merge-tree in a clone.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := tenants(b, n)
			base := s.git("rev-parse", "HEAD")
			m := open(b, git.Config{URL: s.dir})
			fetch(b, m)
			var git time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				head := s.pull(1, base, "tenants/tenant-00001.yaml", fmt.Sprintf("theirs: %d\n", i))
				main := s.commit("tenants/tenant-00500.yaml", fmt.Sprintf("ours: %d\n", i))
				fetch(b, m)
				obtain(b, m, 1, head)
				start := time.Now()
				s.git("merge-tree", "--write-tree", main, head)
				git += time.Since(start)
				b.StartTimer()
				if got, err := m.Merge(b.Context(), main, head); err != nil || got.SHA == "" {
					b.Fatalf("%+v, %v", got, err)
				}
			}
			report(b, git)
		})
	}
}

// BenchmarkObtain measures 1,000 open pull requests that a new daemon meets.
func BenchmarkObtain(b *testing.B) {
	const pulls = 1000
	for _, way := range []string{"path", "http"} {
		b.Run(way, func(b *testing.B) {
			s := tenants(b, 1000)
			at := s.dir
			if way == "http" {
				at, _ = s.serve("")
			}
			in := &stream{}
			in.WriteString("reset refs/heads/base\nfrom refs/heads/main\n\n")
			for i := range pulls {
				fmt.Fprintf(in, "commit %s\ncommitter Ann <ann@example.com> %d +0000\ndata 1\nx\nfrom refs/heads/base\n", pullRef(i), 2000000000+i)
				fmt.Fprintf(in, "M 100644 inline tenants/tenant-%05d.yaml\ndata 5\n%05d\n\n", i, i)
			}
			var mirrors []*git.Mirror
			for range b.N {
				m := open(b, git.Config{URL: at})
				fetch(b, m)
				mirrors = append(mirrors, m)
			}
			s.fastImport(in)
			var wanted []git.Wanted
			for line := range strings.Lines(s.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/pull/")) {
				ref, sha, _ := strings.Cut(strings.TrimSpace(line), " ")
				wanted = append(wanted, git.Wanted{Ref: ref, SHA: sha})
			}
			b.ResetTimer()
			for _, m := range mirrors {
				if failed, err := m.ObtainAll(b.Context(), wanted); err != nil || len(failed) > 0 || len(wanted) != pulls {
					b.Fatal(err, failed, len(wanted))
				}
			}
		})
	}
}
