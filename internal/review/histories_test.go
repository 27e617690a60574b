package review_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
)

// TestRandomHistories: whatever people do, and whatever gets lost or fails between,
// in the end every open pull request shows what a fresh plan says, in one comment at
// most, its previews are what its label asks for, and nothing was carried out that
// nobody with write access asked for.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	// A history takes seconds; more are tried with -rapid.checks.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("5"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{
			world: newWorld(t, names(6)), rt: rt, heads: map[int][]string{}, branches: map[int]string{}, open: map[int]bool{},
			may: map[string]bool{ann: true, carol: false}, asked: map[string]bool{},
		}
		for range rapid.IntRange(10, 30).Draw(rt, "acts") {
			h.act()
			if rapid.IntRange(0, 3).Draw(rt, "look") > 0 {
				h.turn()
			}
		}
		h.rest()
		h.check()
	})
}

// carol is given write access, and it is taken from her.
const carol = "carol"

// history is a world where people act at random.
type history struct {
	*world
	rt       *rapid.T
	n        int
	heads    map[int][]string // of each pull request, that it ever had
	branches map[int]string
	open     map[int]bool
	may      map[string]bool // who ever could write
	asked    map[string]bool // "<pull> <head>": somebody who ever could write labelled it
	approved bool            // somebody who ever could write commented so
	hints    []review.Hint
	ends     []func() // of faults
}

func (h *history) pick(what string, from ...string) string {
	return rapid.SampledFrom(from).Draw(h.rt, what)
}

// tell makes a webhook of what happened, unless it is lost.
func (h *history) tell(hint review.Hint) {
	if rapid.Bool().Draw(h.rt, "told") {
		h.review.Hint(hint)
		h.hints = append(h.hints, hint)
	}
}

// edits are changes of some tenants' files.
func (h *history) edits() map[string]string {
	h.n++
	files := map[string]string{"README.md": fmt.Sprintf("%d\n", h.n)}
	switch h.pick("edit", "readme", "edit", "edit", "add", "remove", "purge", "bad") {
	case "edit":
		name := h.pick("name", names(6)...)
		files[path(name)] = file(name, fmt.Sprintf("g%d", h.n))
	case "add":
		name := h.pick("name", "u", "v")
		files[path(name)] = file(name, fmt.Sprintf("g%d", h.n))
	case "remove":
		maps.Copy(files, without(h.pick("name", names(6)...)))
	case "purge":
		maps.Copy(files, without(names(6)[:rapid.IntRange(4, 5).Draw(h.rt, "purged")]...))
	case "bad":
		files[path("u")] = "{"
	}
	return files
}

// some returns a pull request that is open, or not, 0 if there is none.
func (h *history) some(open bool) int {
	var all []int
	for n := range h.branches {
		if h.open[n] == open {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return rapid.SampledFrom(all).Draw(h.rt, "pull")
}

func (h *history) head(n int) string { return h.heads[n][len(h.heads[n])-1] }

func (h *history) act() {
	act := h.pick("act", "open", "open", "push", "push", "back", "merge", "close", "reopen", "label", "label", "unlabel",
		"comment", "comment", "main", "draft", "permission", "fault", "restart")
	n := h.some(act != "reopen")
	switch {
	case act == "open" && len(h.branches) < 5:
		branch := fmt.Sprintf("b%d", h.n)
		if rapid.Bool().Draw(h.rt, "fork") {
			branch = "mallory:" + branch
		}
		head := h.push(branch, h.edits())
		n := h.pull(githubtest.Pull{Branch: branch, Author: mallory, Draft: h.pick("draft", "no", "no", "yes") == "yes"})
		h.branches[n], h.heads[n], h.open[n] = branch, []string{head}, true
		h.tell(review.Hint{Kind: review.HintPull, Pull: n})
	case act == "main":
		h.push("main", h.edits())
		h.tell(review.Hint{Kind: review.HintPush})
	case act == "permission":
		to := h.pick("permission", "write", "read")
		h.hub.SetPermission(carol, to)
		h.may[carol] = h.may[carol] || to == "write"
	case act == "fault":
		kind := rapid.SampledFrom([]githubtest.FaultKind{githubtest.ServerError, githubtest.Reset, githubtest.Lost}).Draw(h.rt, "fault")
		part := h.pick("part", "/statuses/", "/comments", "/pulls", "/events", "/permission", "/repos/")
		h.ends = append(h.ends, h.hub.Fail(githubtest.Fault{
			Kind: kind, Times: rapid.IntRange(1, 3).Draw(h.rt, "times"),
			Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) },
		}))
	case act == "restart":
		h.hints = nil
		h.restart()
	case n != 0:
		h.change(act, n)
	}
}

// change does something to a pull request.
func (h *history) change(act string, n int) {
	hint := review.Hint{Kind: review.HintPull, Pull: n}
	switch act {
	case "push":
		h.heads[n] = append(h.heads[n], h.push(h.branches[n], h.edits()))
	case "back": // by force, to a head that it had
		head := rapid.SampledFrom(h.heads[n]).Draw(h.rt, "head")
		ref := "refs/heads/" + h.branches[n]
		if login, name, ok := strings.Cut(h.branches[n], ":"); ok {
			ref = "refs/forks/" + login + "/" + name
		}
		h.gitRun("update-ref", ref, head)
		h.must(h.hub.Refresh())
		h.heads[n] = append(h.heads[n], head)
	case "merge":
		method := rapid.SampledFrom([]githubtest.Method{githubtest.MergeCommit, githubtest.Squash, githubtest.Rebase}).Draw(h.rt, "method")
		if _, err := h.hub.Merge(n, method); err != nil {
			return // a conflict
		}
		delete(h.open, n)
		delete(h.branches, n)
		h.tell(review.Hint{Kind: review.HintPush})
	case "close", "reopen":
		do := map[string]func(int) error{"close": h.hub.ClosePull, "reopen": h.hub.Reopen}[act]
		h.must(do(n))
		if act == "reopen" { // GitHub moves its head only while it is open
			h.heads[n] = append(h.heads[n], must(h.forge.Pull(h.ctx, n)).Head)
		}
		h.open[n] = act == "reopen"
	case "label":
		by := h.pick("by", ann, rita, mallory, carol)
		hint.Label = label
		if !slices.Contains(h.hub.Labels(n), label) {
			h.must(h.hub.SetLabel(n, label, by))
			if h.may[by] {
				h.asked[fmt.Sprint(n, " ", h.head(n))] = true
			}
			hint.Labelled = &review.Labelling{By: by, At: time.Now().Truncate(time.Second), Head: h.head(n)}
		}
	case "unlabel":
		hint.Label = label
		h.must(h.hub.TakeLabel(n, label, rita))
	case "comment":
		by := h.pick("by", ann, rita, mallory, carol)
		body := h.pick("body", approve, approve, "/gitopsd plan", "Nice.", "> "+approve)
		h.comment(n, by, body)
		h.approved = h.approved || h.may[by] && body == approve
		hint.Kind = review.HintComment
	case "draft":
		h.must(h.hub.SetDraft(n, rapid.Bool().Draw(h.rt, "draft")))
	}
	h.tell(hint)
}

// turn has the loops take turns, of which some fail.
func (h *history) turn() {
	h.must(h.sync.Turn(h.ctx, true))
	h.must(h.sync.Deliver(h.ctx))
	_ = h.review.Turn(h.ctx, h.hints, rapid.Bool().Draw(h.rt, "poll")) // the forge may be down
	h.hints = nil
	h.must(h.review.Deliver(h.ctx))
	if rapid.Bool().Draw(h.rt, "finish") {
		h.finish()
	}
}

// rest ends what fails, and has everything come to rest.
func (h *history) rest() {
	for _, end := range h.ends {
		end()
	}
	h.restart()
	h.until("all is shown", func() bool {
		h.done()
		h.look()
		due, err := h.ledger.DueNotices(h.ctx, time.Now().Add(time.Hour), 10)
		h.must(err)
		out, err := h.ledger.Outbox(h.ctx, time.Now().Add(time.Hour), 10)
		h.must(err)
		return len(due)+len(out)+len(h.engine.started()) == 0
	})
}

func (h *history) check() {
	h.wantNothingUnasked()
	for n := range h.branches {
		if list := h.ours(n); len(list) > 1 {
			h.rt.Fatalf("pull request %d has %d comments", n, len(list))
		}
		if h.open[n] {
			h.checkPlan(n)
		}
	}
	// Every label is set anew by somebody who may: then there are previews of all
	// heads, and of nothing else.
	for n := range h.branches {
		if h.open[n] {
			h.must(h.hub.TakeLabel(n, label, ann))
		}
	}
	h.look()
	if got := h.previews(); len(got) > 0 {
		h.rt.Fatalf("without a label there are the previews %q", got)
	}
	h.tick()
	var want []string
	for _, n := range slices.Sorted(maps.Keys(h.branches)) {
		if h.open[n] && len(want) == 0 { // more than there is room for is another test's
			h.must(h.hub.SetLabel(n, label, ann))
			want = h.previewable(n)
		}
	}
	h.look()
	if got := h.previews(); !slices.Equal(got, want) && len(want) <= 5 {
		h.rt.Fatalf("previews %q, want %q", got, want)
	}
	before := h.changes()
	h.restart()
	h.look()
	if h.changes() != before {
		h.rt.Fatalf("something is shown again: %v", h.hub.Requests())
	}
}

// fresh is the plan of a pull request, made anew, nil on conflict.
func (h *history) fresh(n int) *plan.Plan {
	m, err := h.mirror.Merge(h.ctx, h.mirror.Head(), h.head(n))
	h.must(err)
	if m.SHA == "" {
		return nil
	}
	_, p, err := h.sync.Preview(h.ctx, m.SHA)
	h.must(err)
	return &p
}

func (h *history) checkPlan(n int) {
	p, state, text := h.fresh(n), "success", ""
	switch {
	case p == nil:
		state, text = "failure", "Conflicts with main"
	case slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Failure != nil }):
		state, text = "failure", "refused"
	case p.Hold != "":
		_, ok, err := h.ledger.PlanApproved(h.ctx, p.Fingerprint())
		h.must(err)
		if !ok {
			state, text = "failure", "Needs /gitopsd approve"
		}
	default:
		steps := slices.DeleteFunc(p.Steps, func(s plan.Step) bool { return s.Operation == "" && len(s.Changes) == 0 })
		text = plan.Plan{Steps: steps}.Summary()
	}
	last := h.status(h.head(n))
	if last.State != state || !strings.Contains(last.Description, text) {
		h.rt.Fatalf("the plan of %d is %+v, want %s with %q", n, last, state, text)
	}
}

// previewable names the previews that a pull request's label asks for.
func (h *history) previewable(n int) (all []string) {
	p := h.fresh(n)
	if p == nil {
		return nil
	}
	for _, s := range p.Steps {
		if s.Failure == nil && s.Desired != nil && (s.Operation == plan.Provision || s.Operation == plan.Update || s.Operation == plan.Deploy) {
			all = append(all, review.PreviewName(s.Tenant, n))
		}
	}
	return all
}

// wantNothingUnasked checks all that was ever carried out.
func (h *history) wantNothingUnasked() {
	deleted := map[string]int{}
	main := strings.Fields(h.gitRun("rev-list", "main"))
	for _, run := range h.ran {
		name, number, preview := strings.Cut(run.Tenant, "-pr-")
		switch {
		case preview && run.Operation == plan.Provision:
			if !h.asked[number+" "+run.Commit] {
				h.rt.Fatalf("nobody asked for a preview of %s in %s at %s", name, number, run.Commit)
			}
		case !preview && !slices.Contains(main, run.Commit):
			h.rt.Fatalf("%s of %s at %s, which is not on the branch", run.Operation, run.Tenant, run.Commit)
		case !preview && run.Operation == plan.Deprovision:
			deleted[run.Commit]++
		}
	}
	for commit, n := range deleted {
		if n > 3 && !h.approved {
			h.rt.Fatalf("%d tenants were deleted by %s, which nobody approved", n, commit)
		}
	}
}
