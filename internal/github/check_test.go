package github_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// annotations makes as many remarks.
func annotations(n int) []review.Annotation {
	var all []review.Annotation
	for i := range n {
		all = append(all, review.Annotation{Path: "tenants/acme.yaml", Line: i + 1, Column: i % 2, Level: "failure", Message: fmt.Sprint("remark ", i+1)})
	}
	return all
}

func TestCheck(t *testing.T) {
	bothWays(t, func(t *testing.T, w world, retry func(review.Notice, string) int64) {
		sha := w.Head("main")
		say := func(state sync.CommitState, remarks int, remote int64) review.Notice {
			n := notice(t, review.NoticeCheck, review.Check{
				SHA: sha, Name: review.ContextPlan, State: state, Title: "plan", Summary: strings.Repeat("ü", 70000),
				URL: "https://console.example/", Annotations: annotations(remarks),
			})
			n.Remote = remote
			return n
		}
		shows := func(what string, id int64, runs int, status, conclusion string, remarks int) {
			t.Helper()
			all := w.Checks(sha)
			last := all[len(all)-1]
			if len(all) != runs || last.ID != id || last.Status != status || last.Conclusion != conclusion || len(last.Annotations) != remarks {
				t.Fatalf("%s: %d runs, the last %d is %s %s with %d remarks", what, len(all), last.ID, last.Status, last.Conclusion, len(last.Annotations))
			}
			for i, a := range last.Annotations {
				if a.Line != i+1 || a.EndLine != i+1 || a.Message != fmt.Sprint("remark ", i+1) {
					t.Errorf("%s: the remark %d is %+v", what, i, a)
				}
			}
		}
		id := retry(say(sync.StatePending, 0, 0), "/check-runs")
		shows("pending", id, 1, "in_progress", "", 0)

		// The second of three requests is done, and its answer lost.
		ended := retry(say(sync.StateFailure, 120, id), fmt.Sprint("/check-runs/", id))
		shows("failed", ended, 1, "completed", "failure", 120)
		shows("failed", id, 1, "completed", "failure", 120)
		w.deliver(t, say(sync.StateFailure, 120, id))
		shows("said again", id, 1, "completed", "failure", 120)

		next := w.deliver(t, say(sync.StatePending, 0, id))
		shows("planned anew", next, 2, "in_progress", "", 0)
		w.deliver(t, say(sync.StateSuccess, 1, next))
		shows("succeeded", next, 2, "completed", "success", 1)
		other := w.deliver(t, say(sync.StateFailure, 2, next))
		shows("failed with others", other, 3, "completed", "failure", 2)
	})
}

// TestCheckIsContinued loses the answers of the requests between.
func TestCheckIsContinued(t *testing.T) {
	t.Parallel()
	o, app := asApp()
	w := start(t, o, app)
	sha := w.Head("main")
	n := notice(t, review.NoticeCheck, review.Check{SHA: sha, Name: "gitopsd/plan", State: sync.StateFailure, Title: "t", Summary: "s", Annotations: annotations(170)})
	for ; ; n.Tries++ {
		w.Fail(githubtest.Fault{Kind: githubtest.Lost, Times: 1, Match: func(r *http.Request) bool {
			return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/check-runs")
		}})
		if _, err := w.open(t, app).Deliver(t.Context(), n); err == nil {
			t.Fatal("no answer was lost")
		}
		if all := w.Checks(sha); len(all) > 0 && all[0].Status == "completed" {
			break
		}
		if n.Tries == 10 {
			t.Fatal("it does not come to its end")
		}
	}
	id := w.deliver(t, n)
	if all := w.Checks(sha); len(all) != 1 || all[0].ID != id || len(all[0].Annotations) != 170 || all[0].Conclusion != "failure" {
		t.Errorf("%d runs, the first with %d remarks", len(all), len(all[0].Annotations))
	}
}

func TestChecksAreForApps(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	if w.forge.Checks() {
		t.Error("a token may show checks")
	}
	n := notice(t, review.NoticeCheck, review.Check{SHA: w.Head("main"), Name: "gitopsd/plan", State: sync.StateSuccess, Title: "t", Summary: "s"})
	if id := w.deliver(t, n); id != 0 || len(w.Checks(w.Head("main"))) != 0 {
		t.Errorf("a check run %d", id)
	}
}
