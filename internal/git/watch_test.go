package git_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/git"
)

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func rung(t testing.TB, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("no wake-up: %s", what)
	}
}

func quiet(t testing.TB, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
		t.Fatalf("woken up without reason: %s", what)
	case <-time.After(150 * time.Millisecond):
	}
}

// slowPoll keeps the fallback out of tests of file system events.
const slowPoll = time.Hour

func TestWatchSeesEveryWayARefMoves(t *testing.T) {
	t.Parallel()
	for _, branch := range []string{"main", "team/deep/live"} {
		t.Run(filepath.Base(branch), func(t *testing.T) {
			t.Parallel()
			s := newSource(t)
			head := s.commit("a", "0")
			bare := &source{t: t, dir: filepath.Join(filepath.Dir(s.dir), "bare"), env: s.env}
			s.git("clone", "-q", "--bare", s.dir, bare.dir)
			if branch != "main" {
				bare.git("branch", "-m", "main", branch)
				bare.git("pack-refs", "--all") // no directory leads to the ref
			}
			m := open(t, git.Config{URL: bare.dir, Branch: branch, Interval: slowPoll})
			fetched(t, m, head)
			ch := m.Watch(t.Context())
			next := func(i int) string {
				tree := bare.git("rev-parse", head+"^{tree}")
				return bare.git("commit-tree", "-p", head, "-m", fmt.Sprint(i), tree)
			}
			quiet(t, ch, "nothing happened")
			for i := range 3 {
				head = next(i)
				bare.git("update-ref", "refs/heads/"+branch, head)
				rung(t, ch, "update-ref")
				fetched(t, m, head)
				bare.git("pack-refs", "--all")
				quiet(t, ch, "pack-refs")
			}
			bare.git("update-ref", "refs/heads/unrelated", head)
			quiet(t, ch, "another branch")
			bare.git("update-ref", "-d", "refs/heads/"+branch)
			rung(t, ch, "deletion")
			head = next(9)
			bare.git("update-ref", "refs/heads/"+branch, head)
			rung(t, ch, "creation")
			fetched(t, m, head)
		})
	}
}

func TestWatchOfALinkedWorktree(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "0")
	tree := filepath.Join(filepath.Dir(s.dir), "tree")
	s.git("worktree", "add", "-q", "-b", "side", tree)
	m := open(t, git.Config{URL: tree, Interval: slowPoll})
	fetched(t, m, head)
	ch := m.Watch(t.Context())
	head = s.commit("a", "1")
	rung(t, ch, "commit in the main worktree")
	fetched(t, m, head)
}

func TestWatchStartsFromWhatWasFetched(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "0")
	m := open(t, git.Config{URL: s.dir, Interval: slowPoll})
	fetched(t, m, head)
	s.commit("a", "1") // between fetch and watch
	ch := m.Watch(t.Context())
	rung(t, ch, "a commit before watching")
	quiet(t, ch, "it was seen")
}

func TestWatchPollsWakesAndEnds(t *testing.T) {
	t.Parallel()
	m := open(t, git.Config{URL: "https://127.0.0.1:1/x", Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ch := m.Watch(ctx)
	for range 3 {
		rung(t, ch, "poll")
	}
	cancel()
	eventually(t, "the channel closes", func() bool {
		select {
		case _, ok := <-ch:
			return !ok
		default:
			return false
		}
	})
	m.Wake() // nobody listens

	slow := open(t, git.Config{URL: "https://127.0.0.1:1/x", Interval: slowPoll})
	one, two := slow.Watch(t.Context()), slow.Watch(t.Context())
	for range 5 {
		slow.Wake()
	}
	for _, ch := range []<-chan struct{}{one, two} {
		rung(t, ch, "wake")
		quiet(t, ch, "five wakes are one")
	}
}

// A repository that appears only later, or is replaced as a whole, is seen by
// the poll.
func TestWatchFallsBackToPolling(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "0")
	path := filepath.Join(filepath.Dir(s.dir), "later")
	m := open(t, git.Config{URL: path, Interval: 20 * time.Millisecond})
	ch := m.Watch(t.Context())
	rung(t, ch, "there is no repository")
	s.git("clone", "-q", s.dir, path)
	rung(t, ch, "it was cloned")
	eventually(t, "it can be fetched", func() bool {
		got, err := m.Fetch(t.Context())
		return err == nil && got == head
	})
}

func TestWatchLatency(t *testing.T) {
	s := newSource(t)
	head := s.commit("a", "0")
	m := open(t, git.Config{URL: s.dir, Interval: slowPoll})
	fetched(t, m, head)
	ch := m.Watch(t.Context())
	ref := filepath.Join(s.dir, ".git/refs/heads/main")
	tree := s.git("rev-parse", "HEAD^{tree}")
	var took []time.Duration
	for i := range 20 {
		head = s.git("commit-tree", "-p", head, "-m", fmt.Sprint(i), tree)
		start := time.Now()
		writeFile(t, ref+".lock", head+"\n")
		if err := os.Rename(ref+".lock", ref); err != nil {
			t.Fatal(err)
		}
		rung(t, ch, "rename")
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("ref moved → seen: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 50*time.Millisecond {
		t.Errorf("median of %v", took)
	}
}
