package review_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

const approve = "/gitopsd approve"

// names are enough tenants for the brake.
func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("t%d", i))
	}
	return all
}

// without removes tenants' files.
func without(names ...string) map[string]string {
	files := map[string]string{}
	for _, name := range names {
		files[path(name)] = ""
	}
	return files
}

// obeyed writes a comment in a later second than everything before, and has it
// looked at.
func (w *world) asks(pull int, by, body string) (sign string) {
	w.t.Helper()
	w.tick()
	id := w.comment(pull, by, body)
	w.look()
	return w.signs(pull, id)
}

// TestApprove: what was approved in the pull request needs no approval when it is
// merged, however that is done, once.
func TestApprove(t *testing.T) {
	t.Parallel()
	for _, method := range []githubtest.Method{githubtest.MergeCommit, githubtest.Squash, githubtest.Rebase} {
		t.Run(string(method), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, names(12))
			n, head := w.open("purge", without("t0", "t1", "t2", "t3"))
			w.look()
			w.want(head, "failure", "Needs /gitopsd approve: the commit would delete 4 of 12 tenants")
			if sign := w.asks(n, ann, "Fine.\n\n"+approve+"\n"); sign != "+1" {
				t.Errorf("the approval is answered %q", sign)
			}
			w.want(head, "success", "4 deprovision: deletes data of t0, t1, t2, t3")
			w.said(n, "Approved by ann", "⚠️")

			w.push("main", map[string]string{"README.md": "More.\n"}) // so that a rebase makes another commit
			w.all()
			w.want(head, "success", "4 deprovision")
			merged, err := w.hub.Merge(n, method)
			w.must(err)
			w.all()
			w.wantSync(merged, "success", "4 deprovision: done")
			if open, err := w.ledger.Reports(w.ctx); err != nil || len(open) > 0 {
				t.Errorf("still reviewed: %v, %v", open, err)
			}

			// Neither for others nor for the same ones, once they are back.
			other := w.push("main", without("t4", "t5", "t6", "t7"))
			w.done()
			w.wantSync(other, "pending", "Held: needs gitopsd approve")
			back := map[string]string{}
			for _, name := range names(12) {
				back[path(name)] = file(name, "one")
			}
			w.push("main", back)
			w.done()
			again := w.push("main", without("t0", "t1", "t2", "t3"))
			w.done()
			w.wantSync(again, "pending", "Held: needs gitopsd approve")
		})
	}
}

// TestRefusedCommands: who may not, and what is no command.
func TestRefusedCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, names(6))
	n := func() int {
		w.push("mallory:purge", without("t0", "t1", "t2", "t3"))
		return w.pull(githubtest.Pull{Branch: "mallory:purge", Author: mallory})
	}()
	head := w.hub.Head("mallory:purge")
	w.look()
	w.want(head, "failure", "Needs /gitopsd approve")
	w.tick()
	tests := []struct{ by, body, sign string }{
		{rita, approve, "confused"},
		{mallory, approve, "confused"},
		{"nobody", approve, "confused"},
		{ann, "> " + approve, ""},
		{ann, "```\n" + approve + "\n```", ""},
		{ann, "````\n```\n" + approve + "\n````", ""},
		{ann, "~~~ sh\n```\n" + approve + "\n~~~", ""},
		{ann, "```\nnever closed\n" + approve, ""},
		{ann, "    " + approve, ""},
		{ann, "Say `" + approve + "` to approve.", ""},
		{ann, "/gitopsdapprove", ""},
		{ann, review.Marker + "\n" + approve, ""},
		{ann, "/gitopsd approve everything", "confused"},
		{ann, "/gitopsd destroy", "confused"},
		{rita, "/gitopsd plan", "confused"},
		{ann, "/gitopsd plan", "+1"},
	}
	var ids []int64
	for _, test := range tests {
		ids = append(ids, w.comment(n, test.by, test.body))
	}
	edited := w.comment(n, ann, "Looks good.")
	w.hub.CommentOnIssue(ann, approve)
	w.tick()
	w.must(w.hub.EditComment(edited, approve))
	w.look()
	for i, test := range tests {
		if got := w.signs(n, ids[i]); got != test.sign {
			t.Errorf("%s's %q is answered %q, want %q", test.by, test.body, got, test.sign)
		}
	}
	if got := w.signs(n, edited); got != "confused" {
		t.Errorf("an edited comment is answered %q", got)
	}
	// One that was looked at as what it was is not looked at again as something else.
	w.tick()
	w.must(w.hub.EditComment(ids[3], approve))
	w.nothing(func() { w.look(); w.restart(); w.look() })
	w.want(head, "failure", "Needs /gitopsd approve")
	// Code ends where its fence does.
	if sign := w.asks(n, ann, "```\ncode\n```\n"+approve); sign != "+1" {
		t.Errorf("behind code it is answered %q", sign)
	}
	w.want(head, "success")
}

// TestApprovers: who may approve is what the branch says.
func TestApprovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, names(6))
	policy := func(who string) string {
		return "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec: {approvers: [" + who + "]}\n"
	}
	w.push("main", map[string]string{"gitopsd.yaml": policy("Rita")})
	w.done()
	files := without("t0", "t1", "t2", "t3")
	files["gitopsd.yaml"] = policy("mallory")
	n, head := w.open("purge", files)
	w.look()
	for _, test := range []struct{ by, sign, state string }{{mallory, "confused", "failure"}, {ann, "confused", "failure"}, {rita, "+1", "success"}} {
		if sign := w.asks(n, test.by, approve); sign != test.sign {
			t.Errorf("%s is answered %q, want %q", test.by, sign, test.sign)
		}
		w.want(head, test.state)
	}
}

// TestApprovalIsOfWhatWasSeen: an approval is of the hold that was there when it
// was written, and not of one that came before it was read.
func TestApprovalIsOfWhatWasSeen(t *testing.T) {
	t.Parallel()
	t.Run("the branch moved", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, names(8))
		n, head := w.open("purge", without("t0", "t1", "t2", "t3", "t4"))
		w.look()
		w.tick()
		id := w.comment(n, ann, approve)
		w.push("main", without("t4"))
		w.done()
		w.hinted(review.Hint{Kind: review.HintComment, Pull: n})
		w.want(head, "failure", "would delete 4 of 7")
		if sign := w.signs(n, id); sign != "confused" {
			t.Errorf("it is answered %q", sign)
		}
		if sign := w.asks(n, ann, approve); sign != "+1" {
			t.Errorf("the later one is answered %q", sign)
		}
		w.want(head, "success")
	})
	t.Run("the head moved", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, names(8))
		n, _ := w.open("purge", without("t0", "t1", "t2", "t3"))
		w.look()
		w.tick()
		id := w.comment(n, ann, approve)
		head := w.push("purge", without("t4"))
		w.hinted(review.Hint{Kind: review.HintComment, Pull: n}) // the push is not known yet
		w.look()
		w.want(head, "failure", "would delete 5 of 8")
		if sign := w.signs(n, id); sign != "confused" {
			t.Errorf("it is answered %q", sign)
		}
	})
	t.Run("it was merged", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, names(8))
		n, _ := w.open("purge", without("t0", "t1", "t2", "t3"))
		w.look()
		w.tick()
		id := w.comment(n, ann, approve)
		w.push("main", without("t4")) // so that the merge is held for more than was seen
		merged, err := w.hub.Merge(n, githubtest.MergeCommit)
		w.must(err)
		w.done()
		w.wantSync(merged, "pending", "would delete 5 of 8")
		w.hinted(review.Hint{Kind: review.HintComment, Pull: n})
		if sign := w.signs(n, id); sign != "confused" {
			t.Errorf("it is answered %q", sign)
		}
		w.done()
		w.wantSync(merged, "pending", "would delete 5 of 8")

		// A comment that knows of it counts, also where the merge was not told of.
		w.tick()
		w.tick()
		id = w.comment(n, bob, approve)
		w.hinted(review.Hint{Kind: review.HintComment, Pull: n})
		if sign := w.signs(n, id); sign != "+1" {
			t.Errorf("the later one is answered %q", sign)
		}
		w.all()
		w.wantSync(merged, "success", "5 deprovision: done")
		id = w.comment(n, bob, approve)
		w.look()
		if sign := w.signs(n, id); sign != "confused" {
			t.Errorf("where nothing is held, it is answered %q", sign)
		}
	})
}

// TestManyEditedComments: comments that were worked off long ago, and come again
// since they were edited, do not hide newer ones.
func TestManyEditedComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, names(6))
	n, head := w.open("purge", without("t0", "t1", "t2", "t3"))
	other, _ := w.open("other", map[string]string{"x": "y"})
	var ids []int64
	for i := range 250 {
		ids = append(ids, w.comment(other, rita, fmt.Sprintf("Remark %d.", i)))
	}
	w.look()
	w.tick()
	for _, id := range ids {
		w.must(w.hub.EditComment(id, "Never mind."))
	}
	w.look()
	if sign := w.asks(n, ann, approve); sign != "+1" {
		t.Errorf("it is answered %q", sign)
	}
	w.want(head, "success")
	w.restart()
	w.nothing(func() { w.look() })
}

// picky is a forge that cannot say of somebody whether they may write.
type picky struct {
	review.Forge
	about string
	err   error
}

func (p *picky) MayWrite(ctx ctxt, login string) (bool, error) {
	if login == p.about && p.err != nil {
		return false, p.err
	}
	return p.Forge.MayWrite(ctx, login)
}

// TestOneCommentFails: it keeps no other from being obeyed, and is obeyed when
// that is possible again, also after a restart. A conflict at the forge is no lost
// lease.
func TestOneCommentFails(t *testing.T) {
	t.Parallel()
	p := &picky{about: bob}
	w := newWorld(t, names(9), with(func(c *review.Config) { p.Forge, c.Forge = c.Forge, p }))
	first, firstHead := w.open("first", without("t0", "t1", "t2", "t3"))
	second, secondHead := w.open("second", without("t4", "t5", "t6", "t7"))
	w.look()
	w.tick()
	stuck := w.comment(first, bob, approve)
	w.tick()
	later := w.comment(second, ann, approve)
	for _, kind := range []fault.Kind{fault.Transient, fault.Conflict, fault.Stalled} {
		p.err = fault.Errorf(kind, "409 or so")
		if err := w.review.Turn(w.ctx, nil, true); err == nil || fault.Is(err, fault.Conflict) {
			t.Fatalf("the turn ends with %v", err)
		}
		w.must(w.review.Deliver(w.ctx))
	}
	if got := []string{w.signs(first, stuck), w.signs(second, later)}; !slices.Equal(got, []string{"", "+1"}) {
		t.Errorf("answers %q", got)
	}
	w.want(secondHead, "success")
	p.err = nil
	w.restart()
	w.look()
	if sign := w.signs(first, stuck); sign != "+1" {
		t.Errorf("when it is possible, it is answered %q", sign)
	}
	w.want(firstHead, "success")
}

// TestApprovedTwice: what two pull requests are held for is approved for both, and
// let through once.
func TestApprovedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, names(9))
	files := without("t0", "t1", "t2", "t3")
	one, oneHead := w.open("one", files)
	files["README.md"] = "Fewer.\n"
	two, twoHead := w.open("two", files)
	w.look()
	w.want(oneHead, "failure")
	if sign := w.asks(two, ann, approve); sign != "+1" {
		t.Fatalf("it is answered %q", sign)
	}
	w.want(twoHead, "success", "deletes data")
	w.want(oneHead, "success", "deletes data")
	w.said(one, "Approved by ann")
	_, err := w.hub.Merge(one, githubtest.Squash)
	w.must(err)
	w.all()
	w.want(twoHead, "success", "No tenant is touched")
}
