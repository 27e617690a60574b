package git_test

import (
	"context"
	"errors"
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

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

// obtainForever is set for a child process that fetches, obtains what a file
// names, and merges that, until it is killed.
const obtainForever = "GITOPSD_TEST_OBTAIN"

func runObtainForever(args string) {
	url, dir, _ := strings.Cut(args, "|")
	for {
		m, err := git.Open(context.Background(), git.Config{URL: url, Dir: dir, Branch: "main"})
		if err != nil {
			panic(err)
		}
		head, err := m.Fetch(context.Background())
		if err != nil {
			panic(err)
		}
		sha, err := os.ReadFile(dir + ".want")
		if err != nil {
			continue // not written yet
		}
		if err := m.Obtain(context.Background(), pullRef(1), string(sha)); err != nil {
			panic(err)
		}
		if _, err := m.Merge(context.Background(), head, string(sha)); err != nil {
			panic(err)
		}
		if err := m.Close(); err != nil {
			panic(err)
		}
	}
}

// An obtain or a merge that is killed anywhere leaves nothing that is taken for
// complete and is not.
func TestKilledObtains(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, s *source, url string) {
		base := s.commit("a", "0")
		cfg := git.Config{URL: url, Dir: filepath.Join(t.TempDir(), "mirror")}
		for i := range 5 {
			cmd := exec.Command(os.Args[0])
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Env = append(environment(), obtainForever+"="+cfg.URL+"|"+cfg.Dir)
			s.git("checkout", "-q", "--detach", base)
			for j := range 20 {
				s.write(fmt.Sprintf("d%d/f%d", i, j), fmt.Sprint(i, j))
			}
			pulled := s.commit()
			s.git("update-ref", pullRef(1), pulled)
			s.git("checkout", "-q", "main")
			main := s.commit("a", fmt.Sprint(i+1))
			writeFile(t, cfg.Dir+".want.new", pulled)
			if err := os.Rename(cfg.Dir+".want.new", cfg.Dir+".want"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond) // any moment will do
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if _ = cmd.Wait(); strings.Contains(stderr.String(), "panic") || strings.Contains(stderr.String(), "rebuilding") {
				t.Fatalf("obtaining failed by itself: %s", &stderr)
			}
			if _, err := os.Stat(filepath.Join(cfg.Dir, "HEAD")); err == nil {
				sound(t, cfg.Dir) // checks what the mirror's own refs reach, too
			}
			m := open(t, cfg)
			fetched(t, m, main)
			obtain(t, m, 1, pulled)
			merged, err := m.Merge(t.Context(), main, pulled)
			if err != nil || merged.SHA == "" {
				t.Fatalf("%+v, %v", merged, err)
			}
			readAll(t, m, merged.SHA)
			sound(t, cfg.Dir)
		}
	})
}

// Fetches, obtains, merges, compactions and rebuilds of two processes' mirrors at
// once: what was merged can be read, or is gone as a whole after a rebuild.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	base := s.commit("a", "0")
	dir := filepath.Join(t.TempDir(), "mirror")
	const pulls, rounds = 12, 6
	var heads []string
	for i := range pulls {
		var edit []string
		for j := range 30 { // enough for compactions
			edit = append(edit, fmt.Sprintf("p%d/f%d", i, j), fmt.Sprint(i, j))
		}
		heads = append(heads, s.pull(i, base, edit...))
	}
	mirrors := []*git.Mirror{open(t, git.Config{URL: s.dir, Dir: dir}), open(t, git.Config{URL: "file://" + s.dir, Dir: dir})}
	for _, m := range mirrors {
		fetch(t, m)
	}
	var work sync.WaitGroup
	for _, m := range mirrors {
		for i := range pulls {
			work.Go(func() {
				for range rounds {
					err := obtainMerged(t.Context(), m, i, heads[i])
					if errors.Is(err, git.ErrDamaged) || err != nil && !fault.Is(err, fault.NotFound) {
						t.Error(err)
					}
				}
			})
		}
	}
	for i := range rounds {
		main := s.commit("a", fmt.Sprint(i+1))
		if i%2 == 1 {
			writeFile(t, filepath.Join(dir, "HEAD"), "")
			fetched(t, open(t, git.Config{URL: s.dir, Dir: dir}), main) // rebuilds it, as a third process
		}
		for _, m := range mirrors {
			if got := fetch(t, m); got != main {
				t.Errorf("fetched %s, want %s", got, main)
			}
		}
	}
	work.Wait()
	for i, m := range []*git.Mirror{mirrors[0], mirrors[1]} {
		if err := obtainMerged(t.Context(), m, i, heads[i]); err != nil {
			t.Error(err)
		}
	}
	sound(t, dir)
}

func obtainMerged(ctx context.Context, m *git.Mirror, number int, head string) error {
	if err := m.Obtain(ctx, pullRef(number), head); err != nil {
		return err
	}
	got, err := m.Merge(ctx, m.Head(), head)
	if err != nil {
		return err
	}
	_, err = fs.ReadFile(m.FS(got.SHA), fmt.Sprintf("p%d/f29", number))
	return err
}
