package git_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/git"
)

// fetchForever is set for a child process that fetches until it is killed.
const fetchForever = "GITOPSD_TEST_FETCH"

func runFetchForever(args string) {
	url, dir, _ := strings.Cut(args, "|")
	for {
		m, err := git.Open(context.Background(), git.Config{URL: url, Dir: dir, Branch: "main"})
		if err != nil {
			panic(err)
		}
		if _, err := m.Fetch(context.Background()); err != nil {
			panic(err)
		}
		if err := m.Close(); err != nil {
			panic(err)
		}
	}
}

// A fetch that is killed anywhere leaves a mirror that is whole and goes on.
func TestKilledFetches(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "0")
	url, _ := s.serve("")
	for name, url := range map[string]string{"path": s.dir, "http": url} {
		dir := filepath.Join(t.TempDir(), "mirror")
		var last string
		for i := range 6 {
			cmd := exec.Command(os.Args[0])
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Env = append(environment(), fetchForever+"="+url+"|"+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for j := range 3 {
				for k := range 20 {
					s.write(fmt.Sprintf("d%d/f%d", j, k), fmt.Sprint(name, i, j, k))
				}
				head = s.commit()
			}
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // any moment will do
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if _ = cmd.Wait(); strings.Contains(stderr.String(), "panic") || strings.Contains(stderr.String(), "rebuilding") {
				t.Fatalf("%s: fetching failed by itself: %s", name, &stderr)
			}
			m := open(t, git.Config{URL: url, Dir: dir})
			if last = m.Head(); last == "" {
				continue // killed before the first fetch ended
			}
			readAll(t, m, last)
			sound(t, dir)
		}
		m := open(t, git.Config{URL: url, Dir: dir})
		fetched(t, m, head)
		readAll(t, m, head)
		sound(t, dir)
		if left, _ := filepath.Glob(filepath.Join(dir, "incoming-*")); left != nil {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func readAll(t testing.TB, m *git.Mirror, commit string) {
	t.Helper()
	fsys := m.FS(commit)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = fs.ReadFile(fsys, name)
		}
		return err
	})
	if err != nil {
		t.Errorf("read %s: %v", commit, err)
	}
}

// Readers go on while fetches bring commits, the mirror is compacted and, once
// it is damaged, rebuilt.
func TestReadersAreNotDisturbed(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	first := s.commit("a", "0")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: s.dir, Dir: dir})
	fetched(t, m, first)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				head := m.Head()
				readAll(t, m, head)
				if ok, err := m.IsAncestor(t.Context(), first, head); !ok || err != nil {
					t.Errorf("IsAncestor: %v, %v", ok, err)
				}
				if _, err := m.Changed(t.Context(), first, head, []string{"."}); err != nil {
					t.Errorf("Changed: %v", err)
				}
			}
		})
	}
	var heads []string
	for i := range 4 {
		for k := range 300 {
			s.write(fmt.Sprintf("d%d/f%d", k%20, k), fmt.Sprint(i, k))
		}
		heads = append(heads, s.commit())
		fetched(t, m, heads[i])
	}
	packs := func() int {
		found, _ := filepath.Glob(filepath.Join(dir, "objects/pack/*.pack"))
		return len(found)
	}
	eventually(t, "loose objects are packed", func() bool { return packs() > 0 })
	close(stop)
	readers.Wait()
	eventually(t, "loose objects are gone", func() bool {
		loose, _ := filepath.Glob(filepath.Join(dir, "objects/??/*"))
		return len(loose) < 1000
	})
	heads = append(heads, s.commit("a", "last"))
	fetched(t, m, heads[4])
	for _, head := range heads {
		readAll(t, m, head)
	}
	sound(t, dir)

	if err := os.RemoveAll(filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, git.Config{URL: s.dir, Dir: dir})
	fetched(t, fresh, heads[4])
	for _, head := range heads {
		readAll(t, m, head) // opened before the rebuild, by another Mirror
	}
}

// What git-upload-pack must be asked for is still mirrored.
func TestUnusualAlternates(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	shared := &source{t: t, dir: filepath.Join(filepath.Dir(s.dir), "shared"), env: s.env}
	s.git("clone", "-q", "--shared", s.dir, shared.dir)
	writeFile(t, filepath.Join(shared.dir, ".git/objects/info/alternates"), fmt.Sprintf("%q\n", filepath.Join(s.dir, ".git/objects")))
	m := open(t, git.Config{URL: shared.dir, Interval: slowPoll})
	fetched(t, m, head)
	content(t, m, head, "a", "one")
	ch := m.Watch(t.Context())
	rung(t, ch, "the first look")
	head = shared.commit("a", "two")
	shared.git("pack-refs", "--all")
	rung(t, ch, "packed-refs changed")
	fetched(t, m, head)
	content(t, m, head, "a", "two")
}
