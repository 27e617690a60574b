package github_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

func TestComments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := direct(t, githubtest.Options{})
		n, _ := w.pull(t, "first")
		begin := time.Now()
		say := func(by, body string) int64 {
			t.Helper()
			time.Sleep(time.Minute) // of the bubble
			id, err := w.Comment(n, by, body)
			do(t, err)
			return id
		}
		one, two := say("ann", "/gitopsd plan"), say("bob", "hello")
		w.CommentOnIssue("bob", "/gitopsd approve")
		time.Sleep(time.Minute)
		do(t, w.EditComment(one, "/gitopsd approve"))

		got, err := w.forge.Comments(t.Context(), time.Time{})
		do(t, err)
		want := []review.Comment{
			{ID: two, Pull: n, Author: "bob", Body: "hello", Updated: begin.Add(2 * time.Minute)},
			{ID: one, Pull: n, Author: "ann", Body: "/gitopsd approve", Updated: begin.Add(3 * time.Minute), Edited: true},
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Second)); diff != "" {
			t.Errorf("comments (-want +got):\n%s", diff)
		}
		got, err = w.forge.Comments(t.Context(), want[1].Updated)
		if err != nil || len(got) != 1 || got[0].ID != one {
			t.Errorf("since the last one: %+v, %v; want that one again", got, err)
		}
		used := w.Used(githubtest.Bot)
		if _, err := w.forge.Comments(t.Context(), want[1].Updated); err != nil || w.Used(githubtest.Bot) != used {
			t.Errorf("asking again costs %d of the limit, %v", w.Used(githubtest.Bot)-used, err)
		}
		got, err = w.forge.Comments(t.Context(), time.Now().Add(time.Hour))
		if err != nil || len(got) != 0 {
			t.Errorf("none are from the future: %+v, %v", got, err)
		}
	})
}

// TestManyComments holds that whoever asks again from the last one's time comes to
// the end, though many are of the same second, and though hundreds are not on pull
// requests.
func TestManyComments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := direct(t, githubtest.Options{})
		n, _ := w.pull(t, "first")
		for range 250 {
			w.CommentOnIssue("bob", "me too")
		}
		const many = 520
		for i := range many {
			if i%260 == 0 {
				time.Sleep(time.Minute)
			}
			_, err := w.Comment(n, "ann", fmt.Sprint(i))
			do(t, err)
		}
		seen := map[int64]bool{}
		var since time.Time
		for range 10 {
			got, err := w.forge.Comments(t.Context(), since)
			do(t, err)
			if len(got) > 0 && got[len(got)-1].Updated.After(since) {
				since = got[len(got)-1].Updated
			}
			for _, c := range got {
				seen[c.ID] = true
			}
		}
		if len(seen) != many {
			t.Errorf("%d of %d comments seen", len(seen), many)
		}
	})
}

func TestMayWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := direct(t, githubtest.Options{})
		for login, want := range map[string]bool{
			"admin": true, "maintain": true, "write": true, "triage": false, "read": false, "none": false,
		} {
			w.SetPermission(login, login)
			if got, err := w.forge.MayWrite(t.Context(), login); err != nil || got != want {
				t.Errorf("%s may write: %v, %v", login, got, err)
			}
		}
		for _, login := range []string{"stranger", "dependabot[bot]", "", "a/b", "../../user", "a?x=y", strings.Repeat("-", 3)} {
			if got, err := w.forge.MayWrite(t.Context(), login); err != nil || got {
				t.Errorf("%q may write: %v, %v", login, got, err)
			}
		}

		asked := w.asked("GET")
		if got, err := w.forge.MayWrite(t.Context(), "Write"); err != nil || !got || w.asked("GET") != asked {
			t.Errorf("within a minute: %v, %v, and %d requests", got, err, w.asked("GET")-asked)
		}
		w.SetPermission("write", "read")
		time.Sleep(time.Minute)
		if got, err := w.forge.MayWrite(t.Context(), "write"); err != nil || got {
			t.Errorf("a minute after it was taken: %v, %v", got, err)
		}
	})
}

func TestMayWriteIsNotGuessed(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	defer w.Fail(githubtest.Fault{Kind: githubtest.ServerError})()
	if got, err := w.forge.MayWrite(t.Context(), "acme"); got || !fault.Is(err, fault.Transient) {
		t.Errorf("while GitHub is down: %v, %v", got, err)
	}
}

func TestLabelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := direct(t, githubtest.Options{})
		n, _ := w.pull(t, "first")
		is := func(what string, want review.Labelling) {
			t.Helper()
			got, err := w.forge.Labelled(t.Context(), n, "preview")
			if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Second)); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
			}
		}
		is("never set", review.Labelling{})
		do(t, w.SetLabel(n, "preview", "ann"))
		first := time.Now()
		do(t, w.SetLabel(n, "bug", "bob"))
		is("set", review.Labelling{By: "ann", At: first})
		time.Sleep(time.Minute)
		do(t, w.TakeLabel(n, "preview", "bob"))
		is("taken off", review.Labelling{})
		do(t, w.SetLabel(n, "Preview", "bob"))
		is("set again", review.Labelling{By: "bob", At: time.Now()})
		last := time.Now()
		for range 130 { // more than a page after, and again
			do(t, w.SetLabel(n, "bug-2", "carol"))
			do(t, w.TakeLabel(n, "bug-2", "carol"))
		}
		is("long ago", review.Labelling{By: "bob", At: last})
		if _, err := w.forge.Labelled(t.Context(), 999, "preview"); !fault.Is(err, fault.NotFound) {
			t.Errorf("of no pull request: %v", err)
		}
	})
}
