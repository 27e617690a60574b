package review_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

// impatient gives each request little time.
type impatient struct{ next http.RoundTripper }

func (i impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 700*time.Millisecond)
	resp, err := i.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(r.Context(), cancel)
	return resp, nil
}

// below matches requests to a part of the API that change something.
func below(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method != http.MethodGet && strings.Contains(r.URL.Path, part) }
}

// TestForgeFails: whatever fails for a while, in the end each thing is shown once,
// and the last word on it is the newest.
func TestForgeFails(t *testing.T) {
	t.Parallel()
	for _, kind := range []githubtest.FaultKind{githubtest.ServerError, githubtest.Hold, githubtest.Reset, githubtest.Lost} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, names(6), asApp, impatiently)
			w.look()
			for _, part := range []string{"/statuses/", "/comments", "/check-runs", "/deployments", "/reactions"} {
				defer w.hub.Fail(githubtest.Fault{Kind: kind, Times: 2, Match: below(part)})()
			}
			for _, part := range []string{"/pulls", "/permission"} { // what is read
				defer w.hub.Fail(githubtest.Fault{Kind: kind, Times: 2, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, part) }})()
			}
			n, first := w.open("purge", without("t0", "t1", "t2", "t3"))
			w.until("the plan is shown", func() bool { w.trouble(); return len(w.statuses(first, review.ContextPlan)) > 0 })
			second := w.push("purge", map[string]string{path("new"): file("new", "one")})
			w.trouble()
			w.tick()
			id := w.comment(n, ann, approve)
			w.until("the comment is obeyed", func() bool { w.trouble(); return w.signs(n, id) != "" })
			merged, err := w.hub.Merge(n, githubtest.Squash)
			w.must(err)
			w.until("all is shown", func() bool {
				w.trouble()
				due, err := w.ledger.DueNotices(w.ctx, time.Now().Add(time.Hour), 10)
				out, err2 := w.ledger.Outbox(w.ctx, time.Now().Add(time.Hour), 10)
				w.must(err)
				w.must(err2)
				return len(due)+len(out) == 0 && w.carriedOut(merged)
			})
			w.shownOnce(n, first, second, merged)
			w.want(first, "failure", "Needs /gitopsd approve")
			if got := w.signs(n, id); got != "+1" {
				t.Errorf("the comment is answered %q", got)
			}
		})
	}
}

// impatiently has the client wait for no answer long.
func impatiently(w *world, _ *githubtest.Options) {
	w.client = func(c *github.Config) { c.Transport = impatient{http.DefaultTransport} }
}

// trouble takes turns that may fail.
func (w *world) trouble() {
	w.t.Helper()
	w.must(w.sync.Turn(w.ctx, true))
	w.must(w.sync.Deliver(w.ctx))
	_ = w.review.Turn(w.ctx, nil, true) // the forge may be down
	w.must(w.review.Deliver(w.ctx))
	w.finish()
}

func (w *world) carriedOut(sha string) bool {
	p, err := w.ledger.Commit(w.ctx, sha)
	return err == nil && p.Status != nil && p.Status.State == "success"
}

// shownOnce checks what was shown of a pull request that was approved and merged.
func (w *world) shownOnce(n int, first, second, merged string) {
	w.t.Helper()
	distinct := func(what string, all []string) {
		w.t.Helper()
		for i := 1; i < len(all); i++ {
			if all[i] == all[i-1] {
				w.t.Errorf("%s: %q is shown twice", what, all[i])
			}
		}
	}
	for _, sha := range []string{first, second, merged} {
		var plans, syncs []string
		for _, s := range w.hub.Statuses(sha) {
			line := s.State + " " + s.Description
			if s.Context == review.ContextPlan {
				plans = append(plans, line)
			} else {
				syncs = append(syncs, line)
			}
		}
		distinct("plans of "+sha[:7], plans)
		distinct("the way of "+sha[:7], syncs)
		for _, name := range []string{review.ContextPlan, review.ContextSync} {
			last := map[string]bool{}
			for _, c := range w.hub.Checks(sha) {
				if c.Name == name && last[c.ExternalID] {
					w.t.Errorf("two check runs %s of %s are the same", name, sha[:7])
				}
				last[c.ExternalID] = true
			}
		}
	}
	w.wantSync(merged, "success", "done")
	if c := w.said(n); !strings.Contains(c.Body, second[:7]) {
		w.t.Errorf("the comment is of another head:\n%s", c.Body)
	}
	runs := map[string]int{}
	for _, d := range w.hub.Deployments() {
		runs[string(d.Payload)]++
		var said []string
		for _, s := range d.Statuses {
			said = append(said, s.State)
		}
		distinct("deployment of "+d.Environment, said)
		if len(said) == 0 || said[len(said)-1] == "in_progress" {
			w.t.Errorf("the deployment of %s ends with %q", d.Environment, said)
		}
	}
	for run, times := range runs {
		if times > 1 {
			w.t.Errorf("%s has %d deployments", run, times)
		}
	}
}

// TestRetryAfter: nothing is sent before the time that the forge names, also not
// what is read, and then everything is shown.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var mu gosync.Mutex
	var met time.Time
	early := 0
	end := w.hub.Fail(githubtest.Fault{
		Kind: githubtest.Limited, RetryAfter: 3 * time.Second,
		Match: func(r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case met.IsZero() && strings.Contains(r.URL.Path, "/statuses/") && r.Method == http.MethodPost:
				met = time.Now()
				return true
			case !met.IsZero() && time.Since(met) < 2900*time.Millisecond:
				early++
			}
			return false
		},
	})
	defer end()
	heads := map[int]string{}
	for i := range 4 {
		name := fmt.Sprintf("t%d", i)
		n, head := w.open(name, map[string]string{path(name): file(name, "one")})
		heads[n] = head
	}
	w.look()
	w.until("all is shown", func() bool {
		w.trouble()
		due, err := w.ledger.DueNotices(w.ctx, time.Now().Add(time.Hour), 10)
		w.must(err)
		return len(due) == 0
	})
	for n, head := range heads {
		w.want(head, "success", "1 provision")
		w.said(n)
		if s := w.statuses(head, review.ContextPlan); len(s) != 1 {
			t.Errorf("statuses %+v", s)
		}
	}
	if early > 0 || met.IsZero() {
		t.Errorf("%d requests came early", early)
	}
}
