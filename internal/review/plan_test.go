package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
)

// TestPlan plays a pull request from its opening to a push and a restart.
func TestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"}, overHTTP)
	n, head := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	w.look()
	w.want(head, "success", "1 provision")
	c := w.said(n, "<b>acme</b>: provision", review.Marker, head[:7], "**safe**")

	second := w.push("add", map[string]string{path("zeta"): file("zeta", "hello")})
	w.look()
	w.want(second, "success", "2 provision")
	if again := w.said(n, "<b>zeta</b>: provision", second[:7]); again.ID != c.ID {
		t.Errorf("comment %d was made beside %d", again.ID, c.ID)
	}
	w.nothing(func() { w.look(); w.done(); w.look() })
	w.nothing(func() { w.restart(); w.look(); w.look() })
	if s := w.statuses(head, review.ContextPlan); len(s) != 1 {
		t.Errorf("the first head has the statuses %+v", s)
	}
	if s := w.statuses(second, review.ContextPlan); len(s) != 1 || s[0].URL != "https://console.example/pulls/1" {
		t.Errorf("the second head has the statuses %+v", s)
	}

	forced := w.push("add", map[string]string{path("other"): file("other", "hello")}, "main")
	w.look()
	w.want(forced, "success", "1 provision")
	if again := w.said(n, "<b>other</b>"); again.ID != c.ID || strings.Contains(again.Body, "zeta") {
		t.Errorf("after a forced push there is %+v", again)
	}
}

// nothing checks that what is done changes nothing at the forge.
func (w *world) nothing(do func()) {
	w.t.Helper()
	before := w.changes()
	do()
	if n := w.changes() - before; n != 0 {
		w.t.Errorf("%d requests that change something, of %v", n, w.hub.Requests())
	}
}

// TestPlansOfChanges shows what single changes look like.
func TestPlansOfChanges(t *testing.T) {
	t.Parallel()
	many := []string{"base", "two", "three", "four", "five", "six", "seven", "eight"}
	protected := "deletion: {protect: true}"
	tests := map[string]struct {
		files     map[string]string
		state     string
		status    []string
		comment   []string // none: there is to be no comment
		annotated []githubtest.Annotation
	}{
		"no tenant": {
			files: map[string]string{"README.md": "More.\n"}, state: "success", status: []string{"No tenant is touched"},
		},
		"a comment in a file": {
			files: map[string]string{path("two"): "# two\n" + file("two", "one")}, state: "success", status: []string{"No tenant is touched"},
		},
		"app": {
			files: map[string]string{path("two"): file("two", "changed")}, state: "success", status: []string{"1 deploy"},
			comment: []string{"<b>two</b>: deploy, app changed", "`app.env`: Environment: GREETING changes."},
		},
		"infrastructure": {
			files: map[string]string{path("two"): file("two", "one", "domains: [two.example]")}, state: "success", status: []string{"1 update"},
			comment: []string{"<b>two</b>: update", "two.example", "**action**"},
		},
		"deletion": {
			files: map[string]string{path("two"): ""}, state: "success", status: []string{"1 deprovision: deletes data of two"},
			comment: []string{"⚠️", "<details open><summary><b>two</b>: deprovision", "**downtime**"},
		},
		"rename": {
			files: map[string]string{path("two"): "", path("zwei"): file("zwei", "one")}, state: "success",
			status:  []string{"1 provision, 1 deprovision: deletes data of two"},
			comment: []string{"zwei starts empty", "two is deleted"},
		},
		"protected": {
			files: map[string]string{path("guarded"): ""}, state: "failure", status: []string{"1 of 1 refused: guarded: guarded is protected from deletion"},
			comment: []string{"<details open><summary><b>guarded</b>: refused", "spec.deletion.protect: false"},
		},
		"invalid": {
			files: map[string]string{path("bad"): file("bad", "one", "compote: {}", "replicas: 3"), path("good"): file("good", "one")},
			state: "failure", status: []string{"1 of 2 refused: bad: tenants/bad.yaml:8:3"},
			comment: []string{"<b>bad</b>: refused, invalid file", "tenants/bad.yaml:9:3", "<b>good</b>: provision"},
			annotated: []githubtest.Annotation{
				{Path: path("bad"), Line: 8, EndLine: 8, Column: 3, EndColumn: 3, Level: "failure"},
				{Path: path("bad"), Line: 9, EndLine: 9, Column: 3, EndColumn: 3, Level: "failure"},
			},
		},
		"brake": {
			files: map[string]string{path("two"): "", path("three"): "", path("four"): "", path("five"): ""},
			state: "failure", status: []string{"Needs /gitopsd approve: the commit would delete 4 of 9 tenants"},
			comment: []string{"[!CAUTION]", "`/gitopsd approve`", "<b>five</b>: deprovision"},
		},
	}
	w := newWorld(t, many, asApp)
	w.push("main", map[string]string{path("guarded"): file("guarded", "one", protected)})
	w.done()
	pulls, heads := map[string]int{}, map[string]string{}
	for name, test := range tests {
		pulls[name], heads[name] = w.open(strings.ReplaceAll(name, " ", "-"), test.files)
	}
	w.look()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			n, head := pulls[name], heads[name]
			w.want(head, test.state, test.status...)
			if test.comment == nil && len(w.ours(n)) > 0 {
				t.Errorf("there are comments: %v", w.ours(n))
			} else if test.comment != nil {
				w.said(n, test.comment...)
			}
			checks := w.hub.Checks(head)
			if len(checks) != 1 || checks[0].Name != review.ContextPlan || checks[0].Conclusion != test.state {
				t.Fatalf("checks %+v", checks)
			}
			var got []githubtest.Annotation
			for _, a := range checks[0].Annotations {
				a.Message = ""
				got = append(got, a)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.annotated) {
				t.Errorf("annotations %+v, want %+v", checks[0].Annotations, test.annotated)
			}
		})
	}
}

// TestConflict: merging is not possible until a push makes it so.
func TestConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a", "b"})
	n, head := w.open("edit", map[string]string{path("a"): file("a", "theirs")})
	w.look()
	w.want(head, "success", "1 deploy")
	w.push("main", map[string]string{path("a"): file("a", "ours")})
	w.all()
	w.want(head, "failure", "Conflicts with main: tenants/a.yaml")
	w.said(n, "onto `main`", "- `tenants/a.yaml`")
	w.nothing(func() { w.look() })
	head = w.push("edit", map[string]string{path("a"): file("a", "theirs"), path("b"): file("b", "theirs")}, "main")
	w.look()
	w.want(head, "success", "2 deploy")
	w.said(n, "<b>b</b>: deploy")
}

// TestLife takes pull requests through what can happen to one.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"})
	// A fork's draft is planned, and commented upon when it is ready.
	head := w.push("mallory:evil", map[string]string{path("acme"): file("acme", "hello")})
	n := w.pull(githubtest.Pull{Branch: "mallory:evil", Author: mallory, Draft: true})
	w.look()
	w.want(head, "success", "1 provision")
	if c := w.ours(n); len(c) > 0 {
		t.Errorf("a draft has the comments %v", c)
	}
	w.must(w.hub.SetDraft(n, false))
	w.look()
	first := w.said(n, "<b>acme</b>")
	w.must(w.hub.SetDraft(n, true))
	w.nothing(func() { w.look() })

	// Onto another branch it is none of ours; back again it is, with its comment.
	w.push("release", map[string]string{"x": "y"})
	w.must(w.hub.SetBase(n, "release"))
	w.look()
	if open, err := w.ledger.Reports(w.ctx); err != nil || len(open) != 0 {
		t.Errorf("reviewed are %+v, %v", open, err)
	}
	later := w.push("mallory:evil", map[string]string{path("acme"): "", "README.md": "Nothing for a tenant.\n"})
	w.nothing(func() { w.look() })
	w.must(w.hub.SetBase(n, "main"))
	w.hinted(review.Hint{Kind: review.HintPull, Pull: n})
	w.want(later, "success", "No tenant is touched")
	if c := w.said(n, "No tenant is touched"); c.ID != first.ID {
		t.Errorf("there is another comment: %+v", c)
	}

	// Closed, and opened again after a restart.
	w.must(w.hub.ClosePull(n))
	w.look()
	w.push("mallory:evil", map[string]string{path("zeta"): file("zeta", "hello")})
	w.nothing(func() { w.look(); w.restart(); w.look() })
	w.must(w.hub.Reopen(n))
	last := w.push("mallory:evil", map[string]string{path("beta"): file("beta", "hello")})
	w.look()
	w.want(last, "success", "2 provision")
	if c := w.said(n, "<b>beta</b>"); c.ID != first.ID {
		t.Errorf("there is another comment: %+v", c)
	}

	// One that was closed before it was planned leaves nothing.
	w.push("main", map[string]string{"README.md": "More.\n"})
	w.must(w.mirrorFetched())
	short, _ := w.open("short", map[string]string{path("short"): file("short", "hello")})
	w.look() // and nothing is planned before the branch's new commit is
	w.must(w.hub.ClosePull(short))
	w.look()
	w.done()
	all, err := w.ledger.Pulls(w.ctx, 10)
	if err != nil || len(all) != 1 || all[0].Pull.Number != n {
		t.Errorf("reports %+v, %v", all, err)
	}
}

// late is a repository where a commit is not found for a while, or never.
type late struct {
	review.Source
	sha string
	err error
}

func (l *late) Obtain(ctx ctxt, wanted []review.Wanted) error {
	rest := slices.DeleteFunc(slices.Clone(wanted), func(w review.Wanted) bool { return w.SHA == l.sha })
	if err := l.Source.Obtain(ctx, rest); err != nil || len(rest) == len(wanted) {
		return err
	}
	return l.err
}

func (l *late) Has(ctx ctxt, sha string) (bool, error) {
	if sha == l.sha {
		return false, nil
	}
	return l.Source.Has(ctx, sha)
}

// TestOneHeadCannotBeHad: it keeps no other from a plan. One whose ref does not lead
// there yet is looked for again; one that can never be had is refused.
func TestOneHeadCannotBeHad(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err   error
		state string // while it cannot be had
	}{
		"its ref leads elsewhere": {nil, ""},
		"there is none":           {fault.Errorf(fault.NotFound, "no such commit"), ""},
		"it is too large":         {fault.Errorf(fault.Invalid, "it is too large"), "failure"},
		"a broken connection":     {fault.Errorf(fault.Transient, "the connection broke"), ""},
		"another one fetches":     {fault.Errorf(fault.Conflict, "another process is using it"), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &late{}
			w := newWorld(t, []string{"base"}, with(func(c *review.Config) { l.Source, c.Source = c.Source, l }))
			_, bad := w.open("bad", map[string]string{path("bad"): file("bad", "hello")})
			_, good := w.open("good", map[string]string{path("good"): file("good", "hello")})
			l.sha, l.err = bad, test.err
			for range 2 {
				err := w.review.Turn(w.ctx, nil, true)
				if fault.Is(err, fault.Conflict) || (err != nil) != (test.err != nil && fault.KindOf(test.err).Retryable()) {
					t.Errorf("the turn ends with %v", err)
				}
				w.must(w.review.Deliver(w.ctx))
			}
			w.want(good, "success", "1 provision")
			if test.state != "" {
				w.want(bad, test.state, "it is too large")
			} else if s := w.statuses(bad, review.ContextPlan); len(s) > 0 {
				t.Errorf("statuses %+v", s)
			}
			l.sha = ""
			if test.state != "" {
				w.restart()
			}
			w.look()
			w.want(bad, "success", "1 provision")
		})
	}
}

// TestOldBranch plans a branch that is far behind, and one that has nothing in
// common with the branch that is followed.
func TestOldBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"})
	_, head := w.open("old", map[string]string{path("acme"): file("acme", "hello")})
	for i := range 30 {
		w.push("main", map[string]string{path(fmt.Sprintf("t%d", i)): file(fmt.Sprintf("t%d", i), "one")})
	}
	w.all()
	w.want(head, "success", "1 provision")
	orphan := strings.Fields(w.gitRun("commit-tree", "-m", "Begin anew", w.gitRun("rev-parse", "main^{tree}")))[0]
	w.gitRun("update-ref", "refs/heads/orphan", orphan)
	w.must(w.hub.Refresh())
	n := w.pull(githubtest.Pull{Branch: "orphan"})
	w.look()
	w.want(orphan, "failure", "common")
	w.said(n, "common")
	w.nothing(func() { w.look(); w.done(); w.look() })
	_, last := w.open("last", map[string]string{path("last"): file("last", "hello")})
	w.look()
	w.want(last, "success", "1 provision")
}

// TestMoves: a plan follows what it is made of, and its comment only if it says
// something else.
func TestMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a", "b", "c"})
	edit, editHead := w.open("edit", map[string]string{path("a"): file("a", "two")})
	other, otherHead := w.open("other", map[string]string{path("new"): file("new", "one")})
	w.look()
	w.want(editHead, "success", "1 deploy")

	// Main makes the same change: the first has nothing left to do.
	w.push("main", map[string]string{path("a"): file("a", "two")})
	before := w.said(other)
	w.follow()
	w.look()
	w.done()
	w.look()
	w.want(editHead, "success", "No tenant is touched")
	w.said(edit, "No tenant is touched")
	if after := w.said(other); after.Body != before.Body || len(w.statuses(otherHead, review.ContextPlan)) != 1 {
		t.Errorf("the other's plan was shown again: %v", w.statuses(otherHead, review.ContextPlan))
	}
	// A change that main brings and the loop has not looked at yet is not the pull
	// request's: it is waited for.
	w.push("main", map[string]string{path("b"): file("b", "two")})
	_, err := w.mirror.Fetch(w.ctx)
	w.must(err)
	w.nothing(func() { w.look() })
	w.done()
	w.look()
	if after := w.said(other); after.Body != before.Body || len(w.statuses(otherHead, review.ContextPlan)) != 1 {
		t.Errorf("the other's plan was shown again: %v", w.statuses(otherHead, review.ContextPlan))
	}

	// The live state moves: what failed would be tried again.
	w.failing = []string{"c"}
	w.push("main", map[string]string{path("c"): file("c", "broken")})
	w.done()
	third, thirdHead := w.open("third", map[string]string{path("c"): "# more\n" + file("c", "broken")})
	w.look()
	w.want(thirdHead, "success", "1 deploy")
	w.said(third, "The last run failed and is tried again")
	w.failing = nil
	w.must(w.sync.Retry(w.ctx, "c"))
	w.done()
	w.look()
	w.want(thirdHead, "success", "No tenant is touched")
}

// TestLiveMovesWhatIsNotTouched: a plan without a step becomes one with a step when
// a run fails that no commit asked for.
func TestLiveMovesWhatIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a"})
	n, head := w.open("remark", map[string]string{path("a"): "# remark\n" + file("a", "one")})
	w.look()
	w.want(head, "success", "No tenant is touched")
	applied, err := w.ledger.Applied(w.ctx, []string{"a"})
	w.must(err)
	a := applied["a"]
	w.must(w.ledger.Enqueue(w.ctx, pipeline.Run{
		ID: "again", Tenant: "a", Commit: a.Commit, Operation: plan.Deploy, Spec: a.Tenant, Infra: a.Infra, App: a.App, Status: pipeline.Queued,
	}))
	w.failing = []string{"a"}
	w.done()
	w.look()
	w.want(head, "success", "1 deploy")
	w.said(n, "The last run failed and is tried again")
}

// TestPolicy: what the repository says of itself decides.
func TestPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a", "b"}, asApp)
	rules := "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  rules:\n" +
		"    - {name: greeting, expect: \"tenant.app.env['GREETING'] != 'rude'\", message: Be polite.}\n"
	w.push("main", map[string]string{"gitopsd.yaml": rules})
	w.done()
	refused, head := w.open("rude", map[string]string{path("a"): file("a", "rude"), path("b"): file("b", "kind")})
	change, changeHead := w.open("policy", map[string]string{"gitopsd.yaml": rules + "  brake: {tenants: 1}\n"})
	invalid, invalidHead := w.open("invalid", map[string]string{"gitopsd.yaml": rules + "  brakes: {}\n"})
	w.look()
	w.want(head, "failure", "1 of 2 refused: a: policy:", "Be polite.")
	w.said(refused, "Be polite.", "<b>b</b>: deploy")
	w.want(changeHead, "success", "gitopsd.yaml")
	w.said(change, "Changes gitopsd.yaml")
	w.want(invalidHead, "failure", "gitopsd.yaml:6:3")
	w.said(invalid, "gitopsd.yaml:6:3")
	checks := w.hub.Checks(invalidHead)
	if len(checks) != 1 || len(checks[0].Annotations) != 1 || checks[0].Annotations[0].Path != "gitopsd.yaml" || checks[0].Annotations[0].Line != 6 {
		t.Errorf("checks %+v", checks)
	}
	w.push("main", map[string]string{"README.md": "More.\n"})
	w.all()
	for _, head := range []string{head, changeHead, invalidHead} {
		if s := w.statuses(head, review.ContextPlan); len(s) != 1 {
			t.Errorf("%s has the statuses %+v", head[:7], s)
		}
	}

	// Once main itself has an invalid policy, a pull request that corrects it is
	// planned all the same.
	w.push("main", map[string]string{"gitopsd.yaml": rules + "  brakes: {}\n"})
	w.done()
	_, fixed := w.open("fixed", map[string]string{"gitopsd.yaml": rules, path("a"): file("a", "nice")})
	w.look()
	w.want(fixed, "success", "1 deploy")
}

// TestSignatures: commits must be signed by the keys of what was accepted.
func TestSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"a"})
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Qb3ZrHnwBCjRvDxzIZG0pzU8Yc5lHgSmzW7bXp1Qk ann"
	w.push("main", map[string]string{
		"gitopsd.yaml": "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n  signatures: {required: true, keys: [{name: ann, key: " + key + "}]}\n",
	})
	w.done()
	n, head := w.open("unsigned", map[string]string{path("a"): file("a", "two")})
	_, loose := w.open("loose", map[string]string{"gitopsd.yaml": "", path("a"): file("a", "two")})
	w.look()
	w.want(head, "failure", "is not signed")
	w.want(loose, "failure", "is not signed")
	w.said(n, "sign the commits", "<b>a</b>: deploy")
}

// gitRun runs git in the forge's repository.
func (w *world) gitRun(args ...string) string {
	w.t.Helper()
	out, err := gitIn(w.hub.GitDir(), args...)
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}
