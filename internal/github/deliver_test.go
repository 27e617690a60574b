package github_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// retried delivers a notice whose first answer is lost, then again: by this
// process, or by another that knows nothing of the first try.
func retried(t *testing.T, w world, n review.Notice, suffix string, again func() *github.Client) int64 {
	t.Helper()
	w.Fail(githubtest.Fault{Kind: githubtest.Lost, Times: 1, Match: mutations(suffix)})
	if _, err := w.forge.Deliver(t.Context(), n); !fault.Is(err, fault.Transient) {
		t.Fatalf("a lost answer: %v", err)
	}
	if again != nil {
		w.forge = again()
	} else {
		n.Tries = 1
	}
	return w.deliver(t, n)
}

// bothWays runs a test of a retry by the same process and by another.
func bothWays(t *testing.T, test func(t *testing.T, w world, retry func(n review.Notice, suffix string) int64)) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		t.Run(map[bool]string{false: "same process", true: "after kill -9"}[restarted], func(t *testing.T) {
			t.Parallel()
			o, app := asApp()
			w := start(t, o, app)
			var again func() *github.Client
			if restarted {
				again = func() *github.Client { return w.open(t, app) }
			}
			test(t, w, func(n review.Notice, suffix string) int64 {
				t.Helper()
				return retried(t, w, n, suffix, again)
			})
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	sha := w.Head("main")
	say := func(state sync.CommitState, description string) review.Notice {
		return notice(t, review.NoticeStatus, review.Status{
			SHA: sha, Context: review.ContextSync, State: state, Description: description, URL: "https://console.example/commits/" + sha,
		})
	}
	shows := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range w.Statuses(sha) {
			got = append(got, s.State+" "+s.Description)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("shown:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	w.deliver(t, say(sync.StatePending, "1 deploy: in progress"))
	w.deliver(t, say(sync.StatePending, "1 deploy: in progress"))
	shows("pending 1 deploy: in progress")
	longest := strings.Repeat("ü", sync.MaxDescription)
	w.deliver(t, say(sync.StateSuccess, longest))
	shows("pending 1 deploy: in progress", "success "+longest)
	if s := w.Statuses(sha)[0]; s.Context != "gitopsd/sync" || s.URL != "https://console.example/commits/"+sha || s.By != githubtest.Bot {
		t.Errorf("the status is %+v", s)
	}

	for name, n := range map[string]review.Notice{
		"a description too long": say(sync.StateSuccess, longest+"x"),
		"a commit that is not there": notice(t, review.NoticeStatus, review.Status{
			SHA: strings.Repeat("1", 40), Context: review.ContextSync, State: sync.StateSuccess,
		}),
		"a body that is none": {Key: "x", Kind: review.NoticeStatus, Body: json.RawMessage(`{"sha": 7}`)},
		"an unknown kind":     {Key: "x", Kind: "carrier pigeon", Body: json.RawMessage(`{}`)},
	} {
		if _, err := w.forge.Deliver(t.Context(), n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	_, err := w.forge.Deliver(t.Context(), notice(t, review.NoticeStatus, review.Status{SHA: strings.Repeat("1", 40), State: sync.StateSuccess}))
	if err == nil || !strings.Contains(err.Error(), "No commit found for SHA") {
		t.Errorf("the error does not say what GitHub says: %v", err)
	}
}

func TestStatusIsNotDoubled(t *testing.T) {
	bothWays(t, func(t *testing.T, w world, retry func(review.Notice, string) int64) {
		sha := w.Head("main")
		status := review.Status{SHA: sha, Context: review.ContextPlan, State: sync.StateSuccess, Description: "done"}
		retry(notice(t, review.NoticeStatus, status), "/statuses/"+sha)
		if got := w.Statuses(sha); len(got) != 1 {
			t.Errorf("%d statuses: %+v", len(got), got)
		}
	})
}

// TestStatusIsSaidAgain holds that only the newest status of our context counts.
func TestStatusIsSaidAgain(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	sha := w.Head("main")
	for i, state := range []sync.CommitState{sync.StateSuccess, sync.StatePending, sync.StateSuccess} {
		n := notice(t, review.NoticeStatus, review.Status{SHA: sha, Context: review.ContextPlan, State: state})
		n.Tries = 1
		w.deliver(t, n)
		if got := len(w.Statuses(sha)); got != i+1 {
			t.Fatalf("%d statuses after %d", got, i+1)
		}
	}
}

func TestStatusesOfCommitAreBounded(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{StatusesOfContext: 3})
	sha := w.Head("main")
	for i := range 4 {
		n := notice(t, review.NoticeStatus, review.Status{SHA: sha, Context: review.ContextPlan, State: sync.StatePending, Description: fmt.Sprint(i)})
		if _, err := w.forge.Deliver(t.Context(), n); (i < 3) != (err == nil) || (err != nil && !fault.Is(err, fault.Invalid)) {
			t.Errorf("the status %d: %v", i+1, err)
		}
	}
}

func TestComment(t *testing.T) {
	bothWays(t, func(t *testing.T, w world, retry func(review.Notice, string) int64) {
		n, _ := w.pull(t, "first")
		for range 35 { // ours is not on the first page
			_, err := w.Comment(n, "mallory", review.Marker+" not by us")
			do(t, err)
		}
		say := func(body string, remote int64) review.Notice {
			c := notice(t, review.NoticeComment, review.PullComment{Pull: n, Body: body})
			c.Remote = remote
			return c
		}
		ours := func() []githubtest.Comment {
			var list []githubtest.Comment
			for _, c := range w.CommentsOf(n) {
				if c.By != "mallory" {
					list = append(list, c)
				}
			}
			return list
		}
		shows := func(what string, id int64, part string) {
			t.Helper()
			got := ours()
			if len(got) != 1 || got[0].ID != id || !strings.Contains(got[0].Body, review.Marker) || !strings.Contains(got[0].Body, part) {
				t.Errorf("%s: %d comments: %.200v; want %d with %q", what, len(got), got, id, part)
			}
		}
		id := retry(say("the plan", 0), "/comments")
		shows("created", id, "the plan")
		if again := w.deliver(t, say("the second plan", id)); again != id {
			t.Errorf("edited %d, not %d", again, id)
		}
		shows("edited", id, "the second plan")
		w.DeleteComment(id)
		id = w.deliver(t, say(review.Marker+"\nthe third plan", id))
		shows("made anew", id, "the third plan")
		w.deliver(t, say(strings.Repeat("ü", review.MaxComment), id))
		shows("the longest", id, "ü…")
		for _, c := range w.CommentsOf(n) {
			if c.By == "mallory" && c.Body != review.Marker+" not by us" {
				t.Errorf("another's comment is changed: %+v", c)
			}
		}
		_, err := w.forge.Deliver(t.Context(), notice(t, review.NoticeComment, review.PullComment{Pull: 999, Body: "x"}))
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("on no pull request: %v", err)
		}
	})
}

// TestCommentOfTokens: who we are is told by a user's token, and not by a workflow's.
func TestCommentOfTokens(t *testing.T) {
	t.Parallel()
	for name, account := range map[string]githubtest.Account{
		"user":     {Login: "robot", Scopes: githubtest.AllScopes()},
		"workflow": {Login: "github-actions[bot]", Scopes: githubtest.AllScopes(), Nameless: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, githubtest.Options{Tokens: map[string]githubtest.Account{githubtest.Token: account}})
			n, _ := w.pull(t, "first")
			_, err := w.Comment(n, "mallory", review.Marker)
			do(t, err)
			var first int64
			for i := range 3 {
				id := w.deliver(t, notice(t, review.NoticeComment, review.PullComment{Pull: n, Body: fmt.Sprint("plan ", i)}))
				if i == 0 {
					first = id
				}
				if got := w.CommentsOf(n); id != first || len(got) != 2 || got[0].Body != review.Marker || got[1].By != account.Login {
					t.Errorf("after %d: comment %d of %+v", i, id, got)
				}
			}
		})
	}
}

func TestReaction(t *testing.T) {
	bothWays(t, func(t *testing.T, w world, retry func(review.Notice, string) int64) {
		n, _ := w.pull(t, "first")
		id, err := w.Comment(n, "ann", "/gitopsd plan")
		do(t, err)
		retry(notice(t, review.NoticeReaction, review.Reaction{Comment: id, Content: "+1"}), "/reactions")
		w.deliver(t, notice(t, review.NoticeReaction, review.Reaction{Comment: id, Content: "eyes"}))
		if got := w.CommentsOf(n)[0].Signs; strings.Join(got, " ") != "+1 eyes" {
			t.Errorf("signs %v", got)
		}
		w.DeleteComment(id)
		_, err = w.forge.Deliver(t.Context(), notice(t, review.NoticeReaction, review.Reaction{Comment: id, Content: "+1"}))
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("on a deleted comment: %v, want NotFound", err)
		}
	})
}

func TestUnlabel(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	n, _ := w.pull(t, "first")
	for _, label := range []string{"preview", "area/db: slow?", "größe%20"} {
		do(t, w.SetLabel(n, label, "ann"))
		for range 2 { // once more changes nothing
			w.deliver(t, notice(t, review.NoticeUnlabel, review.Unlabel{Pull: n, Label: label}))
			if left := w.Labels(n); len(left) > 0 {
				t.Errorf("left of %q: %v", label, left)
			}
		}
	}
}
