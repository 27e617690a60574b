package github_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

func TestPulls(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	before := time.Now().Add(-time.Second)
	first, head := w.pull(t, "first")
	fork, forkHead := w.pull(t, "mallory:evil")
	w.commit(t, "release", "x", "y")
	other := w.opened(t, githubtest.Pull{Branch: "first", Base: "release"})
	draft := w.opened(t, githubtest.Pull{Branch: "first", Draft: true, Labels: []string{"preview", "good first"}})
	closed := w.opened(t, githubtest.Pull{Branch: "first"})
	do(t, w.ClosePull(closed))

	got, err := w.forge.Pulls(t.Context(), "main")
	do(t, err)
	want := []review.Pull{
		{Number: first, Title: "Change first", Author: "octocat", Head: head, Ref: fmt.Sprintf("refs/pull/%d/head", first), Branch: "main"},
		{Number: fork, Title: "Change mallory:evil", Author: "octocat", Head: forkHead, Ref: fmt.Sprintf("refs/pull/%d/head", fork), Branch: "main", Fork: true},
		{
			Number: draft, Title: "Change first", Author: "octocat", Head: head, Ref: fmt.Sprintf("refs/pull/%d/head", draft), Branch: "main",
			Draft: true, Labels: []string{"preview", "good first"},
		},
	}
	times := cmpopts.IgnoreFields(review.Pull{}, "Pushed", "Updated", "Seen", "URL")
	if diff := cmp.Diff(want, got, times); diff != "" {
		t.Errorf("pulls (-want +got):\n%s", diff)
	}
	for _, p := range got {
		if p.Seen.Before(before) || p.Pushed.Before(before) || p.Updated.Before(before) || !strings.HasSuffix(p.URL, fmt.Sprintf("/pull/%d", p.Number)) {
			t.Errorf("times and address of %+v", p)
		}
	}

	one, err := w.forge.Pull(t.Context(), closed)
	if err != nil || !one.Closed || one.Merged != "" {
		t.Errorf("the closed one is %+v, %v", one, err)
	}
	one, err = w.forge.Pull(t.Context(), other)
	if err != nil || one.Closed || one.Number != other || one.Branch != "release" || one.Seen.IsZero() {
		t.Errorf("the one onto another branch is %+v, %v", one, err)
	}
	if _, err := w.forge.Pull(t.Context(), 999); !fault.Is(err, fault.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestPullsAfterPushes(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	n, _ := w.pull(t, "first")
	head := w.commit(t, "first", "more", "more")
	sees := func(what, want string) {
		t.Helper()
		got, err := w.forge.Pulls(t.Context(), "main")
		if err != nil || len(got) != 1 || got[0].Head != want {
			t.Errorf("after %s: %+v, %v; want the head %s", what, got, err, want)
		}
	}
	sees("a push", head)
	forced, err := w.Commit("first", githubtest.Commit{From: "main", Files: map[string]string{"other": "x"}})
	do(t, err)
	sees("a forced push", forced)
	do(t, w.SetBase(n, "release"))
	if got, err := w.forge.Pulls(t.Context(), "main"); err != nil || len(got) != 0 {
		t.Errorf("after it went to another branch: %+v, %v", got, err)
	}
}

func TestMergedPull(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	for _, method := range []githubtest.Method{githubtest.MergeCommit, githubtest.Squash, githubtest.Rebase} {
		n, head := w.pull(t, "by-"+string(method))
		w.commit(t, "main", "meanwhile-"+string(method), "x")
		sha, err := w.Merge(n, method)
		do(t, err)
		got, err := w.forge.Pull(t.Context(), n)
		if err != nil || !got.Closed || got.Merged != sha || got.Head != head || sha != w.Head("main") || sha == head {
			t.Errorf("%s: %+v, %v; want merged by %s", method, got, err, sha)
		}
	}
	n, _ := w.pull(t, "clash")
	w.commit(t, "main", "tenants/clash.yaml", "other")
	if _, err := w.Merge(n, githubtest.MergeCommit); err == nil {
		t.Error("a conflict is merged")
	}
}

// TestManyPulls also holds that asking again costs nothing while nothing changes.
func TestManyPulls(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	w.commit(t, "many", "x", "y")
	const many = 205
	for range many {
		w.opened(t, githubtest.Pull{Branch: "many"})
	}
	count := func() []int {
		t.Helper()
		pulls, err := w.forge.Pulls(t.Context(), "main")
		do(t, err)
		var numbers []int
		for _, p := range pulls {
			numbers = append(numbers, p.Number)
		}
		if !slices.IsSorted(numbers) {
			t.Errorf("not by number: %v", numbers)
		}
		return numbers
	}
	if n := len(count()); n != many {
		t.Fatalf("%d of %d", n, many)
	}
	used := w.Used(githubtest.Bot)
	for range 3 {
		if n := len(count()); n != many {
			t.Fatalf("%d of %d", n, many)
		}
	}
	if again := w.Used(githubtest.Bot); again != used {
		t.Errorf("asking again costs %d requests of the limit", again-used)
	}
	do(t, w.ClosePull(120))
	if got := count(); len(got) != many-1 || slices.Contains(got, 120) {
		t.Errorf("%d after one was closed", len(got))
	}
	w.opened(t, githubtest.Pull{Branch: "many"})
	if got := count(); len(got) != many {
		t.Errorf("%d after another was opened", len(got))
	}
}

// after calls a function after the first answer to a request.
type after struct {
	next http.RoundTripper
	n    atomic.Int32
	call func(n int)
}

func (a *after) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	a.call(int(a.n.Add(1)))
	return resp, err
}

// TestPullClosedWhileListing: one on the first page is closed before the second is
// read, and so the 101st is on neither.
func TestPullClosedWhileListing(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	w.commit(t, "many", "x", "y")
	for range 110 {
		w.opened(t, githubtest.Pull{Branch: "many"})
	}
	forge := w.open(t, func(c *github.Config) {
		c.Transport = &after{next: http.DefaultTransport, call: func(n int) {
			if n == 1 {
				do(t, w.ClosePull(1))
			}
		}}
	})
	pulls, err := forge.Pulls(t.Context(), "main")
	do(t, err)
	seen := map[int]bool{}
	for _, p := range pulls {
		seen[p.Number] = true
	}
	if !seen[101] || len(seen) != 109 {
		t.Errorf("%d pull requests, the 101st: %v", len(seen), seen[101])
	}
}
