package github_test

import (
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

func TestDeployment(t *testing.T) {
	bothWays(t, func(t *testing.T, w world, retry func(review.Notice, string) int64) {
		sha := w.Head("main")
		say := func(run string, state review.DeploymentState, remote int64) review.Notice {
			n := notice(t, review.NoticeDeployment, review.Deployment{
				ID: run, SHA: sha, Environment: "acme", URL: "https://acme.example/", LogURL: "https://console.example/acme",
				State: state, Description: strings.Repeat("ü", 200),
			})
			n.Remote = remote
			return n
		}
		shows := func(what string, want ...string) {
			t.Helper()
			var got []string
			for _, d := range w.Deployments() {
				var states []string
				for _, s := range d.Statuses {
					states = append(states, s.State)
				}
				got = append(got, string(d.Payload)+" "+strings.Join(states, " "))
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		id := retry(say("run-1", review.DeploymentInProgress, 0), "/deployments")
		shows("created", `{"gitopsd":"run-1"} in_progress`)
		if again := retry(say("run-1", review.DeploymentSuccess, id), "/statuses"); again != id {
			t.Errorf("it is %d, was %d", again, id)
		}
		shows("succeeded", `{"gitopsd":"run-1"} in_progress success`)
		if d := w.Deployments()[0]; d.Environment != "acme" || d.Transient || !d.Production || d.SHA != sha ||
			d.Statuses[1].URL != "https://acme.example/" || d.Statuses[1].LogURL != "https://console.example/acme" {
			t.Errorf("the deployment is %+v", d)
		}
		w.deliver(t, say("run-2", review.DeploymentFailure, 0))
		shows("the next failed", `{"gitopsd":"run-1"} in_progress success`, `{"gitopsd":"run-2"} failure`)

		gone := retry(say("run-3", review.DeploymentInProgress, 0), "/deployments")
		retry(say("run-3", review.DeploymentInactive, gone), "/statuses")
		w.deliver(t, say("run-3", review.DeploymentInactive, gone))
		shows("gone", `{"gitopsd":"run-1"} in_progress success inactive`, `{"gitopsd":"run-2"} failure`, `{"gitopsd":"run-3"} in_progress inactive`)
	})
}

func TestPreviewDeployment(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	_, head := w.pull(t, "first")
	d := review.Deployment{ID: "run-1", SHA: head, Environment: "acme-pr-1", State: review.DeploymentSuccess, Transient: true, URL: "https://acme-pr-1.example/"}
	w.deliver(t, notice(t, review.NoticeDeployment, d))
	if all := w.Deployments(); len(all) != 1 || !all[0].Transient || all[0].Production {
		t.Fatalf("deployments: %+v", all)
	}
	// The run that takes it away was never announced before its end.
	d.ID, d.State, d.URL = "run-2", review.DeploymentInactive, ""
	w.deliver(t, notice(t, review.NoticeDeployment, d))
	if all := w.Deployments(); len(all) != 1 || all[0].Statuses[len(all[0].Statuses)-1].State != "inactive" {
		t.Errorf("deployments: %+v", all)
	}
}

func TestDeploymentWithoutCommit(t *testing.T) {
	t.Parallel()
	w := start(t, githubtest.Options{})
	for _, state := range []review.DeploymentState{review.DeploymentInProgress, review.DeploymentInactive} {
		n := notice(t, review.NoticeDeployment, review.Deployment{ID: "purge-1", Environment: "acme", State: state})
		if id := w.deliver(t, n); id != 0 || len(w.Deployments()) != 0 {
			t.Errorf("%s: a deployment %d of nothing", state, id)
		}
	}
	n := notice(t, review.NoticeDeployment, review.Deployment{ID: "x", SHA: strings.Repeat("1", 40), Environment: "acme", State: review.DeploymentSuccess})
	if _, err := w.forge.Deliver(t.Context(), n); !fault.Is(err, fault.Invalid) {
		t.Errorf("of a commit that is not there: %v", err)
	}
}
