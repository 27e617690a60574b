package console_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestPages(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	for _, c := range []struct {
		path  string
		state string // what the page says first
		text  []string
		links []string
	}{
		{"/", "", []string{
			"Tenants 6", "Failed 1", "Ready 3", "globex Compile: the app does not compile Failed", "deleted; data is kept until",
			"preview of #12", "acme.localhost:8080 9f86d081884c 111111111111", "#11 Rename globex by eve, draft, from a fork failure Conflicts with main: tenants/globex.yaml",
			"Tidy up by Eve Example held the commit would delete 5 of 12", "superseded by 333333333333", "success 1 deploy: done",
		}, []string{"/tenants/globex", "http://globex.localhost:8080/", "/commits/" + first, "/pulls/12", "?phase=Failed"}},
		{"/commits/" + third, "failure", []string{
			"Greet people by name; give umbrella less memory", third, "by name", "Bob Example", "2 of 5 failed",
			"globex deploy failed in Compile the app does not compile ./main.go:41:9: undefined: greet ./main.go:57:2: missing return What to do: mend it and push again",
			"umbrella failed The file is not valid. tenants/umbrella.yaml:7:11 memory must be at least 64 in MiB", `:12:3 unknown key "databse"`,
			"failed 2 succeeded 2 no change 1", "hooli file deleted; data is kept for 168h0m0s deprovision succeeded", "acme app changed deploy succeeded 9f86d081884c acme.localhost:8080",
		}, []string{"/", "/tenants/acme", "/tenants/initrode", "http://acme.localhost:8080/"}},
		{"/commits/" + fourth, "pending", []string{"1 provision, 1 deploy: in progress", "running 1 queued 1", "initech new tenant provision running EnsureDatabase"}, nil},
		{"/commits/5444", "held", []string{"Held: brake", "more than the brake allows", "gitopsd approve 544444444444"}, nil},
		{"/commits/" + second, "superseded", []string{"A newer commit took its place: 333333333333"}, []string{"/commits/" + third}},
		{"/commits/HEAD", "held", nil, nil},
		{"/tenants/acme", "Ready", []string{
			"acme-0 127.0.0.1:34001 serving 9f86d081884c 111111111111", "deploy succeeded", "took 3.0 s", "AwaitHealthy completed 582 ms 05:06:13.000",
			"provision superseded", "App apps/acme", "Domains app.acme.example", "Environment GREETING", "Secrets STRIPE_KEY", "Database dedicated, 10 connections", "data is kept for 7d",
			"app.acme.example pending app.acme.example CNAME d1.cloudfront.net _x.app.acme.example CNAME _y.acm-validations.aws", "Changed by others 2 to update",
		}, []string{"http://acme.localhost:8080/", "http://app.acme.example:8080/", "/commits/" + first}},
		{"/tenants/acme-pr-12", "Ready", []string{"Preview of pull request #12"}, []string{"/pulls/12"}},
		{"/tenants/globex", "Failed", []string{
			"release abababababab does not serve exited with status 2 before it was healthy", "panic: runtime error: index out of range",
			"gitopsd retry globex", "Compile failed try 2 2.2 s", "undefined: greet",
		}, nil},
		{"/tenants/initech", "Provisioning", []string{"provision running", "Nothing has happened yet."}, nil},
		{"/tenants/hooli", "Stopped", []string{"its data is kept until 2026-03-11 05:06:07 UTC", "by 333333333333", "snapshots/hooli/20260304", "gitopsd restore --write hooli"}, []string{"/commits/" + third}},
		{"/tenants/umbrella", "Ready", []string{"Refused in 333333333333 Give umbrella less memory by Bob Example", "tenants/umbrella.yaml:7:11", "What was accepted before stays"}, nil},
		{"/tenants/vandelay", "Gone", []string{"taken away; the receipt says", "by 333333333333, 3 resources", "snapshots/vandelay/20260304", "role t_vandelay absent"}, nil},
		{"/pulls/12", "failure", []string{
			"Give acme its own database; drop hooli #12", "1 of 4 refused", "Merging it would wait for an approval the commit would delete 4 of 12", "/gitopsd approve",
			"Changes gitopsd.yaml", "acme-pr-12 acme-pr-12.localhost:8080 333333333333 2026-03-05", "refused 1 deprovision 1 provision 1 update 1",
			"umbrella refused invalid file The file is not valid. tenants/umbrella.yaml:7:11", "data-loss After the grace period", "downtime Its addresses stop answering.",
			"restart app.env.GREETING hello → hi The app restarts", "Fields that change app.env.GREETING isolation.database",
			"00007_drop_notes.sql destructive The column notes of tasks is dropped, with what is in it. ALTER TABLE tasks DROP COLUMN notes;", "00008_index.sql safe", "comes back with its data",
		}, []string{"https://github.com/example/tenants/pull/12", "/tenants/hooli", "http://acme-pr-12.localhost:8080/"}},
		{"/pulls/11", "failure", []string{"It is a draft.", "It comes from another repository.", "It conflicts with the branch", "tenants/globex.yaml", "It is not known yet"}, nil},
	} {
		page := a.page(c.path)
		accessible(t, c.path, page)
		text := page.text()
		for _, want := range c.text {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not on %s:\n%s", want, c.path, text)
			}
		}
		for _, want := range c.links {
			if !slices.Contains(page.links(), want) {
				t.Errorf("%s has no link to %s: %q", c.path, want, page.links())
			}
		}
		if c.state != "" && page.byID("state").text() != c.state {
			t.Errorf("the state on %s is %q, want %q", c.path, page.byID("state").text(), c.state)
		}
		for _, secret := range []string{"env-value", a.token} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", c.path, secret)
			}
		}
	}
}

// accessible fails the test if a page lacks what readers find their way by.
func accessible(t *testing.T, path string, page document) {
	t.Helper()
	for _, tag := range []string{"h1", "main", "header", "title"} {
		if n := len(page.elements(tag)); n != 1 {
			t.Errorf("%s has %d elements %s", path, n, tag)
		}
	}
	if page.elements("html")[0].attribute("lang") == "" {
		t.Errorf("%s has no language", path)
	}
	ids, labelled := map[string]bool{}, map[string]bool{}
	for _, e := range page.elements("") {
		if id := e.attribute("id"); id != "" {
			if ids[id] {
				t.Errorf("%s has the id %s twice", path, id)
			}
			ids[id] = true
		}
		labelled[e.attribute("for")] = e.Data == "label"
		if e.Data == "th" && e.attribute("scope") == "" {
			t.Errorf("%s has a table header without scope: %s", path, e.text())
		}
	}
	for _, e := range page.elements("") {
		if by := e.attribute("aria-labelledby"); by != "" && !ids[by] {
			t.Errorf("%s names a part by %s, which is not there", path, by)
		}
		if (e.Data == "input" || e.Data == "select") && !labelled[e.attribute("id")] {
			t.Errorf("%s has a field without a label: %s", path, e.attribute("name"))
		}
		if e.Data == "a" && e.text() == "" {
			t.Errorf("%s has a link without text to %s", path, e.attribute("href"))
		}
	}
}

func TestPagesThatAreNotThere(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	browser := func(r *http.Request) { r.Header.Set("Accept", "text/html,*/*") }
	for path, code := range map[string]int{
		"/tenants/none": 404, "/commits/abcdef": 404, "/commits/xyz": 422, "/pulls/99": 404, "/pulls/x": 422, "/pulls/012": 422,
		"/nothing": 404, "/?page=0": 422, "/assets/none.css": 404, "/assets/..%2fpages%2fpage.html": 404,
	} {
		res := a.request(http.MethodGet, path, "", browser)
		if strings.HasPrefix(path, "/assets/") {
			if res.StatusCode != code {
				t.Errorf("%s answers %s", path, res.Status)
			}
			continue
		}
		text := a.parsed(res, code).text()
		if !strings.Contains(text, "That did not work") || path != "/nothing" && !strings.Contains(text, "What to do:") {
			t.Errorf("%s says %s", path, text)
		}
	}
	a.world.Update(func(s *consoletest.State) { s.Fails = fault.Errorf(fault.Transient, "the ledger is at 10.1.2.3") })
	if text := a.parsed(a.request(http.MethodGet, "/", "", browser), 503).text(); !strings.Contains(text, "the ledger is at 10.1.2.3") {
		t.Errorf("a ledger that fails is told as %s", text)
	}
	without := serve(t, everyState(), func(c *console.Config) { c.Reviews = nil })
	if text := without.page("/").text(); strings.Contains(text, "pull requests") {
		t.Errorf("without a forge the overview says %s", text)
	}
	without.parsed(without.request(http.MethodGet, "/pulls/12", "", browser), 404)
}

// hostile is in every text that comes from Git, an app or a tenant's file.
const hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"\u202e\x1b[31mred\x00"

func TestHostileText(t *testing.T) {
	t.Parallel()
	failure := &fault.Record{Kind: fault.Invalid, Message: hostile, Hint: hostile, Detail: "x" + hostile}
	problems := tenant.Problems{{File: hostile, Line: 1, Column: 1, Message: hostile, Hint: hostile}}
	spec := sized("acme")
	spec.App = tenant.App{Git: &tenant.GitSource{URL: "javascript:" + hostile, Ref: hostile, Path: hostile}, Health: hostile, Env: map[string]string{hostile: hostile}, Secrets: []string{hostile}}
	spec.Labels, spec.Domains = map[string]string{hostile: hostile}, []string{hostile}
	commit := sync.Commit{SHA: first, Subject: hostile, Author: hostile, When: began}
	run := pipeline.Run{ID: "r", Tenant: "acme", Commit: first, Operation: plan.Restore, Argument: hostile, Status: pipeline.Failed, State: hostile, Failure: failure, Queued: began}
	s := everyState()
	s.Health.Failing = hostile
	s.Records = []console.Record{{Name: "acme", Phase: "Failed", Applied: plan.Applied{Tenant: spec, Commit: first, Release: hostile, Failing: true}, Run: &run}}
	s.Refusals = map[string]console.Refusal{"acme": {Commit: commit, Failure: failure, Problems: problems}}
	s.Runs, s.Events = []pipeline.Run{run}, []pipeline.Event{{Run: "r", State: hostile, Kind: pipeline.Errored, Message: hostile, At: began}}
	s.Receipts[0].Tenant, s.Receipts[0].Snapshot, s.Receipts[0].Resources[0].Name = "acme", hostile, hostile
	s.Tombstones[0].Tenant, s.Tombstones[0].Snapshot = "acme", hostile
	for i := range s.Instances {
		s.Instances[i].Name, s.Instances[i].Addr = "acme-"+hostile, hostile
		s.Instances[i].Report.Phase, s.Instances[i].Report.Failure, s.Instances[i].Report.FailureTail = hostile, hostile, []string{hostile, hostile}
		s.Instances[i].Report.Release, s.Instances[i].Report.Commit, s.Instances[i].Report.Failed = hostile, hostile, hostile
	}
	s.Commits = []sync.Progress{
		{Commit: commit, Items: []sync.ItemProgress{{Item: sync.Item{Tenant: "acme", Operation: plan.Deploy, Reason: hostile}, Status: pipeline.Failed, State: hostile, Cause: failure, Release: hostile}}},
		{Commit: sync.Commit{SHA: second, Subject: hostile}, Hold: &sync.Hold{Reason: hostile, Message: hostile}},
	}
	s.Reports = []review.Report{{
		Pull: review.Pull{Number: 12, Title: hostile, Author: hostile, URL: "javascript:alert(3)", Head: hostile, Branch: hostile, Labels: []string{hostile}},
		Base: hostile, State: hostile, Description: hostile, Conflicts: []string{hostile}, Notes: []string{hostile}, Hold: hostile, Approved: hostile, Failure: failure,
		Previews: []review.PreviewShown{{Tenant: hostile, URL: "javascript:alert(4)", Head: hostile, Refused: hostile}},
		Steps: []review.StepShown{{
			Step: plan.Step{Tenant: hostile, Operation: plan.Update, Reason: hostile, Changes: []string{hostile}}, Problems: problems,
			Consequences: []plan.Consequence{{Effect: hostile, Field: hostile, From: hostile, To: hostile, Text: hostile}},
			Migrations:   []review.Migration{{Name: hostile, SQL: hostile, Verdict: hostile, Why: []string{hostile}}},
		}},
	}}
	a := serve(t, s)
	for _, path := range []string{"/", "/?q=%3Cscript%3E&phase=%3Cscript%3E", "/commits/" + first, "/commits/" + second, "/tenants/acme", "/pulls/12", "/tenants/" + "%3Cscript%3Ealert(1)%3C%2Fscript%3E"} {
		res := a.request(http.MethodGet, path, "", func(r *http.Request) { r.Header.Set("Accept", "text/html") })
		page := a.parsed(res, res.StatusCode)
		if !strings.Contains(page.text(), "<script>") && path[1] != '?' {
			t.Errorf("%s does not show what it was given: %s", path, page.text())
		}
		for _, r := range page.text() {
			if unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) {
				t.Errorf("%s has the character %U", path, r)
			}
		}
		inert(t, path, page)
	}
}

// inert fails the test if a page brings a script or a style along.
func inert(t *testing.T, path string, page document) {
	t.Helper()
	for _, e := range page.elements("") {
		if e.Data == "img" || e.Data == "style" || e.Data == "script" && !strings.HasPrefix(e.attribute("src"), "/assets/") {
			t.Errorf("%s has an element %s", path, e.Data)
		}
		for _, attr := range e.Attr {
			value := strings.ToLower(strings.TrimSpace(attr.Val))
			if strings.HasPrefix(attr.Key, "on") || attr.Key == "style" || (attr.Key == "href" || attr.Key == "src" || attr.Key == "action") && strings.Contains(value, "script:") {
				t.Errorf("%s has %s=%q", path, attr.Key, attr.Val)
			}
		}
	}
}

func TestPagesAreGuarded(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	anonymous := func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Set("Accept", "text/html") }
	for _, path := range []string{"/", "/commits/" + third, "/tenants/acme", "/pulls/12", "/login", "/nothing", "/commits/" + third + "?news=1", "/assets/console.css"} {
		for _, change := range []func(*http.Request){func(*http.Request) {}, anonymous} {
			h := a.request(http.MethodGet, path, "", change).Header
			for name, want := range map[string]string{
				"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if h.Get(name) != want {
					t.Errorf("%s has %s: %q", path, name, h.Get(name))
				}
			}
			if kept := strings.HasPrefix(path, "/assets/"); (h.Get("Cache-Control") == "no-store") == kept {
				t.Errorf("%s has Cache-Control: %s", path, h.Get("Cache-Control"))
			}
		}
	}
	page := a.page("/")
	inert(t, "/", page)
	for _, e := range append(page.elements("link"), page.elements("script")...) {
		path := e.attribute("href") + e.attribute("src")
		if res := a.request(http.MethodGet, path, "", anonymous); res.StatusCode != http.StatusOK || !strings.Contains(path, "?") {
			t.Errorf("%s answers %s", path, res.Status)
		}
	}
}

func TestLongListsAreCut(t *testing.T) {
	t.Parallel()
	long := &fault.Record{Kind: fault.Invalid, Message: strings.Repeat("m", 100_000), Detail: "first" + strings.Repeat("x", 1<<20) + "last"}
	var s consoletest.State
	c := sync.Progress{Commit: sync.Commit{SHA: first, Subject: strings.Repeat("s", 100_000)}}
	report := review.Report{Pull: review.Pull{Number: 1}, Conflicts: slices.Repeat([]string{"tenants/x.yaml"}, 3000)}
	for i := range 1000 {
		name := fmt.Sprintf("t%04d", i)
		c.Items = append(c.Items, sync.ItemProgress{Item: sync.Item{Tenant: name, Operation: plan.Deploy}, Status: pipeline.Failed, Cause: long})
		s.Records = append(s.Records, console.Record{Name: name, Phase: "Ready"})
		report.Steps = append(report.Steps, review.StepShown{
			Step:       plan.Step{Tenant: name, Operation: plan.Deploy},
			Migrations: slices.Repeat([]review.Migration{{Name: "a.sql", SQL: strings.Repeat("SELECT 1;\n", 10_000)}}, 100),
		})
	}
	c.Items[500].Status, c.Items[500].Cause = pipeline.Running, nil
	s.Commits, s.Reports = []sync.Progress{c}, []review.Report{report}
	a := serve(t, s)
	for _, path := range []string{"/", "/commits/" + first, "/pulls/1"} {
		page := a.page(path)
		if size := len(page.text()); size > 2<<20 {
			t.Errorf("%s is %d bytes long", path, size)
		}
		if !strings.Contains(page.text(), "1 to 100 of 1000") || !slices.Contains(page.links(), "?page=2") {
			t.Errorf("%s does not say that there is more: %q", path, page.links())
		}
		last := a.page(path + "?page=10")
		if !strings.Contains(last.text(), "901 to 1000 of 1000") || !slices.Contains(last.links(), "?page=9") || slices.Contains(last.links(), "?page=11") {
			t.Errorf("the last page of %s leads to %q", path, last.links())
		}
	}
	text := a.page("/commits/" + first).text()
	if !strings.Contains(text, "first") || !strings.Contains(text, "last") || !strings.Contains(text, "left out") || !strings.Contains(text, "failed 999 running 1") {
		t.Error("an output does not show its beginning and its end")
	}
	if found := a.page("/?q=T0042").text(); !strings.Contains(found, "t0042") || strings.Contains(found, "t0043") {
		t.Error("a search finds other tenants")
	}
}

func TestNews(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Commits: []sync.Progress{deploying(first, pipeline.Running)}, Head: first})
	path := "/commits/" + first
	part := a.page(path).byID("part")
	if part.attribute("data-live") != "yes" || len(a.page(path).elements("noscript")) != 1 {
		t.Error("a page of a commit under way stays as it is")
	}
	tag := part.attribute("data-tag")
	seen := func(r *http.Request) { r.Header.Set("If-None-Match", tag) }
	if res := a.request(http.MethodGet, path+"?news=1&wait=20ms", "", seen); res.StatusCode != http.StatusNotModified {
		t.Errorf("without news it answers %s", res.Status)
	}
	waiting := a.asking(path+"?news=1&wait=30s", seen)
	a.world.Update(func(*consoletest.State) {}) // of something else
	begin := time.Now()
	a.world.Update(func(s *consoletest.State) { s.Commits = []sync.Progress{deploying(first, pipeline.Succeeded)} })
	r := <-waiting
	news := a.parsed(r.res, 200)
	if got := news.byID("state").text(); got != "success" || news.byID("part").attribute("data-live") != "" || r.at.Sub(begin) > 2*time.Second {
		t.Errorf("the news is %s, after %s", got, r.at.Sub(begin))
	}
	if len(news.elements("script")) != 0 || news.byID("part").attribute("data-tag") == tag {
		t.Error("the news is a whole page, or has the tag of the page before")
	}
	if len(a.page(path).elements("noscript")) != 0 {
		t.Error("a page of a settled commit asks for itself again")
	}
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	if res := a.request(http.MethodGet, path+"?news=1&wait=30s", "", anonymous); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %s", res.Status)
	}
}

func TestManyMayWaitForNews(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Commits: []sync.Progress{deploying(first, pipeline.Running)}, Head: first})
	path := "/commits/" + first
	tag := a.page(path).byID("part").attribute("data-tag")
	seen := func(r *http.Request) { r.Header.Set("If-None-Match", tag) }
	const places = 100
	waiting := make(chan reply, places+1)
	for range cap(waiting) {
		go func() { waiting <- reply{res: a.request(http.MethodGet, path+"?news=1&wait=60s", "", seen)} }()
	}
	if r := <-waiting; r.res.StatusCode != http.StatusNotModified {
		t.Errorf("one too many gets %s", r.res.Status)
	}
	a.world.Update(func(s *consoletest.State) { s.Commits = []sync.Progress{deploying(first, pipeline.Succeeded)} })
	for range places {
		if r := <-waiting; r.res.StatusCode != http.StatusOK {
			t.Errorf("one that waited gets %s", r.res.Status)
		}
	}
}
