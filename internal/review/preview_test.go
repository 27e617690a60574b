package review_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const label = "preview"

// label sets the label in a later second than everything before.
func (w *world) label(pull int, by string) {
	w.t.Helper()
	w.tick()
	w.must(w.hub.TakeLabel(pull, label, by))
	w.must(w.hub.SetLabel(pull, label, by))
}

func (w *world) wantPreviews(want ...string) {
	w.t.Helper()
	if got := w.previews(); !slices.Equal(got, want) {
		w.t.Errorf("previews %q, want %q", got, want)
	}
}

// wantEvents checks what was made real since the last look.
func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	got := w.events
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("made real: %q, want %q", got, want)
	}
	w.events = nil
}

// TestPreview takes a preview from its label to its end.
func TestPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base", "gone"})
	w.events = nil
	big := file("acme", "hello", "domains: [acme.example]", "isolation: {database: dedicated}", "compute: {scale: {min: 2, max: 4}}", "deletion: {protect: true}")
	n, head := w.open("add", map[string]string{
		path("acme"): strings.Replace(big, "    env:", "    secrets: [STRIPE_KEY]\n    env:", 1), path("gone"): "", path("base"): file("base", "two"),
	})
	w.look()
	w.wantPreviews()
	w.label(n, ann)
	w.look()
	w.wantPreviews("acme-pr-1", "base-pr-1")
	previews, err := w.ledger.Previews(w.ctx)
	w.must(err)
	p := previews[0]
	if p.Head != head || p.By != ann || p.Of != "acme" || time.Until(p.Expires) > 72*time.Hour || time.Until(p.Expires) < 71*time.Hour {
		t.Errorf("preview %+v", p)
	}
	small := tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared}
	if s := p.Tenant; len(s.App.Secrets)+len(s.Domains) > 0 || s.Isolation != small || s.Compute.Scale.Max != 1 || s.Deletion != (tenant.Deletion{}) ||
		s.App.Env["GREETING"] != "hello" || s.Name != "acme-pr-1" {
		t.Errorf("preview of %+v", s)
	}
	w.done()
	w.look()
	w.wantEvents("provision acme-pr-1", "provision base-pr-1")
	c := w.said(n, "Preview of "+head[:7]+": <https://acme-pr-1.apps.example/>, until ")
	w.wantDeployment("acme-pr-1", head, "success", true)
	w.nothing(func() { w.look(); w.done(); w.restart(); w.look() })

	// Another head has to be asked for again; meanwhile the old one stays.
	second := w.push("add", map[string]string{path("base"): file("base", "one")})
	w.look()
	w.wantPreviews("acme-pr-1", "base-pr-1")
	if again := w.said(n, "Preview of "+head[:7], "was set before "+second[:7]+" was pushed"); again.ID != c.ID {
		t.Errorf("another comment %+v", again)
	}
	w.label(n, bob)
	w.look()
	w.wantPreviews("acme-pr-1") // base is not touched any more
	w.done()
	w.look()
	w.wantEvents("provision acme-pr-1", "deprovision base-pr-1")
	w.wantDeployment("base-pr-1", head, "inactive", true)
	if said := w.said(n, "Preview of "+second[:7]); strings.Contains(said.Body, "take it off") {
		t.Errorf("the comment says %s", said.Body)
	}

	// Closing it ends the preview.
	w.must(w.hub.ClosePull(n))
	w.look()
	w.wantPreviews()
	w.done()
	w.look()
	w.wantEvents("deprovision acme-pr-1")
	if all, err := w.ledger.Previews(w.ctx); err != nil || len(all) > 0 {
		t.Errorf("left are %+v, %v", all, err)
	}
	w.wantDeployment("acme-pr-1", second, "inactive", true)
	receipts, err := w.ledger.Applied(w.ctx, []string{"acme-pr-1"})
	if err != nil || len(receipts) > 0 {
		t.Errorf("applied is %+v, %v", receipts, err)
	}

	// Opened again with the label on, it is shown again: that very head was asked for.
	w.must(w.hub.Reopen(n))
	w.look()
	w.wantPreviews("acme-pr-1")
	w.must(w.hub.TakeLabel(n, label, rita))
	w.look()
	w.wantPreviews()
}

// wantDeployment checks the last word on an environment's newest deployment of a
// commit.
func (w *world) wantDeployment(environment, sha, state string, transient bool) {
	w.t.Helper()
	var last *githubtest.Deployment
	for _, d := range w.hub.Deployments() {
		if d.Environment == environment && d.SHA == sha {
			last = &d
		}
	}
	if last == nil || len(last.Statuses) == 0 {
		w.t.Fatalf("%s has no deployment of %s", environment, sha[:7])
	}
	got := last.Statuses[len(last.Statuses)-1]
	url := "https://" + environment + ".apps.example/"
	if state == "inactive" {
		url = ""
	}
	if got.State != state || last.Transient != transient || last.Production == transient || got.URL != url ||
		got.LogURL != "https://console.example/tenants/"+environment {
		w.t.Errorf("the deployment of %s is %+v", environment, last)
	}
}

// TestDeployments: runs of tenants are announced, once each.
func TestDeployments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a", "b"})
	w.look()
	first := w.hub.Head("main")
	w.wantDeployment("a", first, "success", false)
	w.failing = []string{"a"}
	second := w.push("main", map[string]string{path("a"): file("a", "broken"), path("b"): ""})
	w.follow()
	w.look()
	w.wantDeployment("a", second, "in_progress", false)
	w.done()
	w.look()
	w.wantDeployment("a", second, "failure", false)
	w.wantDeployment("b", first, "inactive", false)
	w.nothing(func() { w.look(); w.restart(); w.look() })
}

// TestRefusedPreviews: what a label does not do.
func TestRefusedPreviews(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files    map[string]string
		by       string
		says     string
		previews []string
	}{
		"a reader's label":    {map[string]string{path("acme"): file("acme", "hello")}, rita, "rita may not write", nil},
		"a stranger's label":  {map[string]string{path("acme"): file("acme", "hello")}, mallory, "mallory may not write", nil},
		"only a deletion":     {without("gone"), ann, "changes no tenant that could be shown", nil},
		"no tenant":           {map[string]string{"README.md": "More.\n"}, ann, "changes no tenant that could be shown", nil},
		"an invalid file":     {map[string]string{path("acme"): "{"}, ann, "changes no tenant that could be shown", nil},
		"too many":            {map[string]string{path("u"): file("u", "one"), path("v"): file("v", "one"), path("w"): file("w", "one"), path("x"): file("x", "one"), path("y"): file("y", "one")}, ann, "there is room for 4", nil},
		"a conflict":          {map[string]string{path("base"): file("base", "theirs")}, ann, "changes no tenant that could be shown", nil},
		"a suspended tenant":  {map[string]string{path("acme"): file("acme", "hello", "suspend: true")}, ann, "changes no tenant that could be shown", nil},
		"two, of which one":   {map[string]string{path("acme"): file("acme", "hello"), path("gone"): ""}, bob, "Preview of ", []string{"acme"}},
		"what is refused":     {map[string]string{path("acme"): file("acme", "rude")}, ann, "changes no tenant that could be shown", nil},
		"an invalid policy":   {map[string]string{path("acme"): file("acme", "hello"), "gitopsd.yaml": "{"}, ann, "the plan failed", nil},
		"its own policy":      {map[string]string{path("u"): file("u", "one"), path("v"): file("v", "one"), path("w"): file("w", "one"), path("x"): file("x", "one"), path("y"): file("y", "one"), "gitopsd.yaml": rules(9)}, ann, "there is room for 4", nil},
		"upper case in label": {map[string]string{path("acme"): file("acme", "hello")}, "PREVIEW", "Preview of ", []string{"acme"}},
	}
	w := newWorld(t, []string{"base", "gone"})
	w.push("main", map[string]string{"gitopsd.yaml": rules(4)})
	w.done()
	pulls := map[string]int{}
	for name, test := range tests {
		branch := strings.ReplaceAll(name, " ", "-")
		w.push(branch, test.files)
		pulls[name] = w.pull(githubtest.Pull{Branch: branch, Author: mallory})
	}
	w.push("main", map[string]string{path("base"): file("base", "ours")})
	w.all()
	w.tick()
	var want []string
	for name, test := range tests {
		for _, of := range test.previews {
			want = append(want, review.PreviewName(of, pulls[name]))
		}
		if test.by == "PREVIEW" {
			w.must(w.hub.SetLabel(pulls[name], test.by, ann))
		} else {
			w.must(w.hub.SetLabel(pulls[name], label, test.by))
		}
	}
	w.look()
	w.look() // those that were before the ones with a preview have less room now
	slices.Sort(want)
	w.wantPreviews(want...)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			if said := w.said(pulls[name], test.says); len(test.previews) == 0 && !strings.Contains(unjoined(said.Body), "No preview: ") {
				t.Errorf("the comment says %s", said.Body)
			}
		})
	}
	w.nothing(func() { w.look(); w.look() })
}

// rules is a policy that allows so many previews.
func rules(most int) string {
	return fmt.Sprintf("apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  preview: {max: %d}\n  rules:\n"+
		"    - {name: greeting, expect: \"tenant.app.env['GREETING'] != 'rude'\", message: Be polite.}\n", most)
}

// shortLived has previews end soon.
type shortLived struct {
	review.Planner
	age time.Duration
}

func (s shortLived) Settings(ctx ctxt, commit string) (sync.Settings, error) {
	settings, err := s.Planner.Settings(ctx, commit)
	settings.Preview.MaxAge = s.age
	return settings, err
}

// TestPreviewsEndInTime: by age, and then the label must be set again.
func TestPreviewsEndInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, with(func(c *review.Config) { c.Planner = shortLived{c.Planner, 3 * time.Second} }))
	n, _ := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	w.look()
	for range 2 { // the second time is like the first
		w.events = nil
		w.label(n, ann)
		w.look()
		w.wantPreviews("acme-pr-1")
		w.done()
		for range 4 {
			w.tick()
		}
		end := w.hub.Fail(githubtest.Fault{Kind: githubtest.ServerError, Match: removesLabel})
		w.must(w.review.Turn(w.ctx, nil, true))
		w.must(w.review.Deliver(w.ctx))
		w.wantPreviews()
		w.said(n, "No preview: ", "set it again")
		w.done()
		w.must(w.review.Turn(w.ctx, nil, true))
		w.wantPreviews()
		w.wantEvents("provision acme-pr-1", "deprovision acme-pr-1")
		end()
		w.until("the label is off", func() bool { w.look(); return !slices.Contains(w.hub.Labels(n), label) })
		w.look()
		if said := w.said(n); strings.Contains(said.Body, "review:") {
			t.Errorf("without the label the comment says %s", said.Body)
		}
	}
}

// until waits for a condition.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			w.t.Fatalf("it never came that %s", what)
		}
		select {
		case <-w.ctx.Done():
			w.t.Fatal(w.ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestPreviewsOutliveTrouble: neither a restart while the forge is down nor an
// answer that makes no sense ends a preview or a review.
func TestPreviewsOutliveTrouble(t *testing.T) {
	t.Parallel()
	odd := &oddForge{}
	w := newWorld(t, nil, with(func(c *review.Config) { odd.Forge, c.Forge = c.Forge, odd }))
	n, _ := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	w.look()
	w.label(n, ann)
	w.look()
	w.wantPreviews("acme-pr-1")
	turn := func() {
		t.Helper()
		if err := w.review.Turn(w.ctx, nil, true); err == nil {
			t.Error("nothing was noticed")
		}
		w.wantPreviews("acme-pr-1")
		if open := must(w.ledger.Reports(w.ctx)); len(open) != 1 {
			t.Errorf("reviewed are %+v", open)
		}
	}
	for what, change := range map[string]func(){
		"an error":               func() { odd.err = errors.New("down") },
		"an error after a start": func() { odd.err = errors.New("down"); w.restart() },
		"nothing open":           func() { odd.list = []review.Pull{} },
		"nothing that makes sense": func() {
			odd.list, odd.one = []review.Pull{{}, {Number: -1}, {Number: n}}, &review.Pull{}
		},
		"another one": func() { odd.list, odd.one = []review.Pull{}, &review.Pull{Number: 77, Closed: true} },
		"no branch":   func() { odd.list, odd.one = []review.Pull{}, &review.Pull{Number: n} },
	} {
		*odd = oddForge{Forge: odd.Forge}
		change()
		if what == "nothing open" { // each is looked at by itself, and is there
			w.must(w.review.Turn(w.ctx, nil, true))
			w.wantPreviews("acme-pr-1")
			continue
		}
		turn()
	}
	*odd = oddForge{Forge: odd.Forge}
	w.look()
	w.wantPreviews("acme-pr-1")
}

// oddForge answers what it is told to.
type oddForge struct {
	review.Forge
	err  error
	list []review.Pull
	one  *review.Pull
}

func (o *oddForge) Pulls(ctx ctxt, branch string) ([]review.Pull, error) {
	if o.err != nil || o.list != nil {
		return o.list, o.err
	}
	return o.Forge.Pulls(ctx, branch)
}

func (o *oddForge) Pull(ctx ctxt, n int) (review.Pull, error) {
	if o.err != nil || o.one != nil {
		if o.one == nil {
			return review.Pull{}, o.err
		}
		return *o.one, o.err
	}
	return o.Forge.Pull(ctx, n)
}

func TestPreviewName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 36)
	seen := map[string]string{}
	for _, name := range []string{"a", "acme", long, long + "b", long + "c", strings.Repeat("x-", 20)} {
		for _, n := range []int{1, 12, 123456} {
			got := review.PreviewName(name, n)
			if len(got) > tenant.MaxName || !strings.HasSuffix(got, fmt.Sprintf("-pr-%d", n)) || seen[got] != "" {
				t.Errorf("%s of %d is %s, as %s", name, n, got, seen[got])
			}
			seen[got] = name
		}
	}
}
