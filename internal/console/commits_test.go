package console_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
)

// deploying is a commit with one run.
func deploying(sha string, status pipeline.Status) sync.Progress {
	return sync.Progress{Commit: sync.Commit{SHA: sha}, Items: []sync.ItemProgress{{
		Item:   sync.Item{Tenant: "acme", Operation: plan.Deploy, Reason: "app changed", Spec: &tenant.Tenant{Name: "acme"}},
		Status: status,
	}}}
}

func held(sha string) sync.Progress {
	return sync.Progress{Commit: sync.Commit{SHA: sha}, Hold: &sync.Hold{Reason: "brake", Message: "too many"}}
}

type reply struct {
	res *http.Response
	at  time.Time
}

// asking asks in the background, and returns once the server waits.
func (a *api) asking(path string, change ...func(*http.Request)) <-chan reply {
	a.t.Helper()
	out := make(chan reply, 1)
	go func() {
		res := a.request(http.MethodGet, path, "", change...)
		out <- reply{res, time.Now()}
	}()
	select {
	case r := <-out:
		a.t.Fatalf("%s answers %s at once", path, r.res.Status)
	case <-time.After(50 * time.Millisecond): // waits; were it not to, the test would only be weaker
	}
	return out
}

func TestWaitForACommit(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	waiting := a.asking("/api/v1/commits/" + first + "?wait=30s") // not known yet
	a.world.Update(func(s *consoletest.State) {
		s.Commits, s.Head = []sync.Progress{deploying(first, pipeline.Running)}, first
	})
	select {
	case r := <-waiting:
		t.Fatalf("a commit under way answers %s", r.res.Status)
	case <-time.After(50 * time.Millisecond):
	}
	begin := time.Now()
	a.world.Update(func(s *consoletest.State) { s.Commits = []sync.Progress{deploying(first, pipeline.Succeeded)} })
	r := <-waiting
	c := decoded[console.Commit](a, r.res, 200)
	if c.State != sync.StateSuccess || !c.Settled() || c.Items[0].Spec != nil {
		t.Errorf("answers %+v", c)
	}
	if took := r.at.Sub(begin); took > time.Second {
		t.Errorf("answered %s after the change", took)
	}
	for _, path := range []string{"/api/v1/commits/1111?wait=30s", "/api/v1/commits/HEAD?wait=30s", "/api/v1/commits/HEAD"} {
		if c := get[console.Commit](a, path); c.Commit.SHA != first {
			t.Errorf("%s answers %s", path, c.Commit.SHA)
		}
	}
}

func TestWaitEndsWhenNothingHappens(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Commits: []sync.Progress{deploying(first, pipeline.Running)}, Head: first})
	if c := get[console.Commit](a, "/api/v1/commits/"+first+"?wait=20ms"); c.State != sync.StatePending {
		t.Errorf("answers %+v", c)
	}
	r := decoded[fault.Record](a, a.request(http.MethodGet, "/api/v1/commits/"+second+"?wait=20ms", ""), 404)
	if r.Kind != fault.NotFound || r.Hint == "" {
		t.Errorf("an unknown commit answers %+v", r)
	}
}

func TestWaitForAnyNews(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Commits: []sync.Progress{deploying(first, pipeline.Queued)}, Head: first})
	res := a.request(http.MethodGet, "/api/v1/commits/"+first, "")
	tag := res.Header.Get("ETag")
	seen := func(r *http.Request) { r.Header.Set("If-None-Match", tag) }
	if tag == "" {
		t.Fatal("a commit has no ETag")
	}
	if res := a.request(http.MethodGet, "/api/v1/commits/"+first+"?wait=20ms", "", seen); res.StatusCode != http.StatusNotModified {
		t.Errorf("without news it answers %s", res.Status)
	}
	waiting := a.asking("/api/v1/commits/"+first+"?wait=30s", seen)
	a.world.Update(func(s *consoletest.State) { s.Commits = []sync.Progress{deploying(first, pipeline.Running)} })
	c := decoded[console.Commit](a, (<-waiting).res, 200)
	if c.Items[0].Status != pipeline.Running {
		t.Errorf("answers %+v", c)
	}
}

func TestWaitEndsWithTheServer(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	waiting := a.asking("/api/v1/commits/" + first + "?wait=60s")
	begin := time.Now()
	a.stop()
	r := <-waiting
	if took := r.at.Sub(begin); r.res.StatusCode != http.StatusNotFound || took > 3*time.Second {
		t.Errorf("answers %s after %s", r.res.Status, took)
	}
}

func TestHeadIsTheNewest(t *testing.T) {
	t.Parallel()
	superseded := held(second)
	superseded.SupersededBy = first
	for _, c := range []struct {
		name    string
		commits []sync.Progress
		want    string
	}{
		{"accepted", []sync.Progress{deploying(first, pipeline.Running)}, first},
		{"held after the accepted one", []sync.Progress{held(second), deploying(first, pipeline.Succeeded)}, second},
		{"held, then passed over", []sync.Progress{superseded, deploying(first, pipeline.Succeeded)}, first},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, consoletest.State{Commits: c.commits, Head: first})
			if got := get[console.Commit](a, "/api/v1/commits/HEAD?wait=1ms"); got.Commit.SHA != c.want {
				t.Errorf("HEAD is %s, want %s", got.Commit.SHA, c.want)
			}
		})
	}
}

func TestApprove(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Commits: []sync.Progress{held(second), deploying(first, pipeline.Succeeded)}, Head: first})
	go func() { // the loop
		<-a.world.Woken()
		a.world.Update(func(s *consoletest.State) { s.Commits[0] = deploying(second, pipeline.Queued) })
	}()
	res := a.request(http.MethodPost, "/api/v1/commits/2222/approve", `{"who": "ann"}`)
	c := decoded[console.Commit](a, res, 200)
	if c.Commit.SHA != second || c.Hold != nil {
		t.Errorf("answers %+v: still held, though the loop went on", c)
	}
	if who := a.world.State().Approvals[second]; who != "ann" {
		t.Errorf("approved by %q", who)
	}
	r := decoded[fault.Record](a, a.request(http.MethodPost, "/api/v1/commits/1111/approve", `{"who": "ann"}`), 409)
	if r.Kind != fault.Conflict {
		t.Errorf("a commit that is not held answers %+v", r)
	}
}

func TestApplied(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Head: first, Records: []console.Record{{
		Name: "acme", Applied: plan.Applied{Tenant: &tenant.Tenant{Name: "acme"}, Infra: "i", App: "a", DoneInfra: "i"},
	}}})
	got := get[console.Applied](a, "/api/v1/applied")
	if got.Head != first || got.Domain != "localhost" || got.Tenants["acme"].Tenant.Name != "acme" || got.Tenants["acme"].App != "a" {
		t.Errorf("applied is %+v", got)
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	purge := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	failed := &pipeline.Run{Status: pipeline.Failed, State: "Deploy/Compile", Failure: &fault.Record{Message: "main.go:3: no\nmore"}}
	a := serve(t, consoletest.State{
		Records: []console.Record{
			{Name: "failing", Phase: "Failed", Run: failed, Applied: plan.Applied{Failing: true}},
			{Name: "gone-soon", Phase: "Stopped", Applied: plan.Applied{Deleted: true, PurgeAfter: purge}},
			{Name: "moving", Phase: "Deploying", Run: &pipeline.Run{Status: pipeline.Running, Operation: plan.Deploy, State: "Compile"}},
			{Name: "refused", Phase: "Ready"},
			{Name: "waiting", Phase: "Pending", Run: &pipeline.Run{Status: pipeline.Queued, Operation: plan.Update}},
		},
		Refusals: map[string]console.Refusal{
			"refused": {Commit: sync.Commit{SHA: second}, Failure: &fault.Record{Message: "tenants/refused.yaml:1:1: no\nmore"}},
			"never":   {Commit: sync.Commit{SHA: second}, Failure: &fault.Record{Message: "no"}},
			"purged":  {Commit: sync.Commit{SHA: first}, Failure: &fault.Record{Message: "long ago"}},
		},
		Receipts: []pipeline.Receipt{{Tenant: "purged", Commit: first, At: purge}},
		Runs:     []pipeline.Run{{ID: "r2", Tenant: "purged", Spec: &tenant.Tenant{}}, {ID: "r1", Tenant: "purged"}},
		Events:   []pipeline.Event{{Run: "r2", Seq: 1, State: "Snapshot"}},
	})
	want := map[string]console.Summary{
		"failing":   {Phase: "Failed", Message: "Deploy/Compile: main.go:3: no", URL: "http://failing.localhost:8080/"},
		"gone-soon": {Phase: "Stopped", Message: "deleted; data is kept until 2026-03-04 05:06:07 UTC"},
		"moving":    {Phase: "Deploying", Message: "deploy: Compile", URL: "http://moving.localhost:8080/"},
		"refused":   {Phase: "Ready", Message: "refused in 2222222: tenants/refused.yaml:1:1: no", URL: "http://refused.localhost:8080/"},
		"waiting":   {Phase: "Pending", Message: "update waits for its turn", URL: "http://waiting.localhost:8080/"},
	}
	list := get[[]console.Summary](a, "/api/v1/tenants")
	for _, s := range list {
		w := want[s.Name]
		if w.Name = s.Name; s != w {
			t.Errorf("tenant is %+v, want %+v", s, w)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d tenants, want %d", len(list), len(want))
	}
	gone := get[console.Detail](a, "/api/v1/tenants/purged")
	if gone.Phase != console.PhaseGone || len(gone.Runs) != 2 || len(gone.Runs[0].Events) != 1 || gone.Runs[0].Spec != nil || len(gone.Receipts) != 1 {
		t.Errorf("a tenant that is gone is %+v", gone)
	}
	if gone.Refused != nil {
		t.Errorf("a tenant that is gone is shown as refused: %+v", gone.Refused)
	}
	never := get[console.Detail](a, "/api/v1/tenants/never")
	if never.Phase != console.PhaseRefused || never.Refused == nil || never.Message != "refused in 2222222: no" {
		t.Errorf("a tenant that was never accepted is %+v", never)
	}
	if res := a.request(http.MethodPost, "/api/v1/tenants/failing/retry", ""); res.StatusCode != http.StatusOK {
		t.Errorf("retry answers %s", res.Status)
	}
	if res := a.request(http.MethodPost, "/api/v1/tenants/moving/retry", ""); res.StatusCode != http.StatusConflict {
		t.Errorf("retry of what did not fail answers %s", res.Status)
	}
	if got := a.world.State().Retried; len(got) != 1 || got[0] != "failing" {
		t.Errorf("retried: %v", got)
	}
}
