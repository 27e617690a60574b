package postgres_test

import (
	"context"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
)

func status(n int, state sync.CommitState, text string) sync.CommitStatus {
	return sync.CommitStatus{Commit: sha(n), State: state, Description: text}
}

func TestACommitHasOneTerminalStatus(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	accept(t, l, 1)
	wantKind(t, l.PutStatus(ctx, status(5, sync.StatePending, "")), fault.NotFound)
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "0 of 1")))
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "0 of 1")))
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "1 of 1")))
	if n := len(got(l.Unsettled(ctx))(t)); n != 1 {
		t.Errorf("%d unsettled commits", n)
	}
	var wg gosync.WaitGroup
	for i := range 8 {
		state := []sync.CommitState{sync.StateSuccess, sync.StateFailure}[i%2]
		wg.Go(func() {
			if err := l.PutStatus(ctx, status(1, state, "done")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "late")))
	var terminal, all int
	for _, s := range got(l.Outbox(ctx, time.Now(), 100))(t) {
		all++
		if s.State != sync.StatePending {
			terminal++
		}
	}
	if terminal != 1 || all != 3 {
		t.Errorf("%d statuses, %d of them terminal; want 3 and 1", all, terminal)
	}
	if n := len(got(l.Unsettled(ctx))(t)); n != 0 {
		t.Errorf("%d unsettled commits", n)
	}
}

func TestOutboxKeepsEachCommitsOrder(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1)
	accept(t, l, 2)
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "")))
	must(t, l.PutStatus(ctx, status(2, sync.StatePending, "")))
	must(t, l.PutStatus(ctx, status(1, sync.StateSuccess, "")))
	now := time.Now()
	out := got(l.Outbox(ctx, now, 10))(t)
	if len(out) != 3 {
		t.Fatalf("outbox is %+v", out)
	}
	must(t, l.Postpone(ctx, out[0].ID, now.Add(time.Minute), "the forge is down"))
	if out := got(l.Outbox(ctx, now, 10))(t); len(out) != 1 || out[0].Commit != sha(2) {
		t.Errorf("outbox is %+v: the second commit's alone is due", out)
	}
	out = got(l.Outbox(ctx, now.Add(time.Minute), 10))(t)
	if len(out) != 3 || out[0].Tries != 1 {
		t.Errorf("outbox is %+v", out)
	}
	for _, s := range out {
		must(t, l.Delivered(ctx, s.ID))
		must(t, l.Delivered(ctx, s.ID))
	}
	if out := got(l.Outbox(ctx, now.Add(time.Hour), 10))(t); len(out) != 0 {
		t.Errorf("outbox is %+v", out)
	}
	if s := got(l.Commit(ctx, sha(1)))(t).Status; s.State != sync.StateSuccess || s.Delivered.IsZero() || s.Tries != 1 {
		t.Errorf("status is %+v", s)
	}
}

func TestHoldApproveAccept(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l, user := open(t, url), open(t, url)
	ctx := t.Context()
	must(t, l.Acquire(ctx, "test"))
	accept(t, l, 1)
	wantKind(t, user.Approve(ctx, sha(2), "ann"), fault.NotFound)
	wantKind(t, user.Approve(ctx, sha(1), "ann"), fault.Conflict)
	wantKind(t, user.Approve(ctx, "x", "ann"), fault.Invalid)
	must(t, l.Hold(ctx, commit(2), sync.Hold{Reason: plan.HoldBrake, Message: "4 deletions"}))
	must(t, l.Hold(ctx, commit(3), sync.Hold{Reason: plan.HoldBrake, Message: "5 deletions"}))
	if got(l.Approved(ctx, sha(3)))(t) {
		t.Error("approved by nobody")
	}
	must(t, user.Approve(ctx, sha(3), "ann"))
	must(t, user.Approve(ctx, sha(3), "bob"))
	must(t, l.Hold(ctx, commit(3), sync.Hold{Reason: plan.HoldBrake, Message: "5 deletions"}))
	if !got(l.Approved(ctx, sha(3)))(t) {
		t.Error("holding again took the approval away")
	}
	must(t, l.Hold(ctx, commit(3), sync.Hold{Reason: sync.HoldUnsigned, Message: "5 deletions"}))
	if got(l.Approved(ctx, sha(3)))(t) {
		t.Error("an approval counts for another reason")
	}
	must(t, user.Approve(ctx, sha(3), "bob"))
	must(t, l.Hold(ctx, commit(3), sync.Hold{Reason: plan.HoldBrake, Message: "6 deletions"}))
	if got(l.Approved(ctx, sha(3)))(t) {
		t.Error("an approval of 5 deletions counts for 6")
	}
	must(t, user.Approve(ctx, sha(3), "ann"))
	p := got(l.Commit(ctx, sha(3)))(t)
	if p.Hold == nil || p.Hold.Message != "6 deletions" {
		t.Errorf("hold is %+v", p.Hold)
	}
	must(t, l.Accept(ctx, sync.Acceptance{Commit: commit(3), Previous: sha(1), Passed: []sync.Commit{commit(5), commit(4)}}))

	var order []string
	for _, p := range got(l.Unsettled(ctx))(t) {
		order = append(order, p.Commit.Subject+" "+p.SupersededBy)
	}
	wanted := []string{"commit 1 ", "commit 2 " + sha(3), "commit 4 " + sha(3), "commit 5 " + sha(3), "commit 3 "}
	if len(order) != len(wanted) {
		t.Fatalf("unsettled: %q", order)
	}
	for i := range wanted {
		if order[i] != wanted[i] {
			t.Errorf("unsettled: %q, want %q", order, wanted)
		}
	}
	wantKind(t, user.Approve(ctx, sha(2), "ann"), fault.Conflict)

	list := got(l.Commits(ctx, 2))(t)
	if len(list) != 2 || list[0].Commit.SHA != sha(3) || list[0].ApprovedBy != "ann" || !list[0].Accepted || list[1].Accepted {
		t.Errorf("commits are %+v", list)
	}

	// The branch goes back to a commit that was accepted once: an approval of its own is due.
	must(t, l.Hold(ctx, commit(3), sync.Hold{Reason: sync.HoldRewritten}))
	if got(l.Approved(ctx, sha(3)))(t) {
		t.Error("an old approval counts")
	}
}

func TestAcceptingACommitAgainReplacesItsItems(t *testing.T) {
	t.Parallel()
	l := leader(t)
	accept(t, l, 1, want(plan.Provision, "acme", 1), want(plan.Provision, "beta", 1))
	accept(t, l, 2)
	again := want(plan.Deploy, "acme", 1)
	again.Run = "second"
	accept(t, l, 1, again)
	p := got(l.Commit(t.Context(), sha(1)))(t)
	if len(p.Items) != 1 || p.Items[0].Run != "second" {
		t.Errorf("items are %+v", p.Items)
	}
}

func TestCommitsAreFoundByAbbreviation(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 0x10)
	accept(t, l, 0x11)
	full := sha(0x10)
	if diff := cmp.Diff(commit(0x10), got(l.Commit(ctx, full))(t).Commit); diff != "" {
		t.Errorf("commit (-want +got):\n%s", diff)
	}
	wantKind(t, second(l.Commit(ctx, full[:39])), fault.Conflict)
	wantKind(t, second(l.Commit(ctx, "ffff")), fault.NotFound)
	wantKind(t, second(l.Commit(ctx, "00%0")), fault.Invalid)
}

func second[T any](_ T, err error) error { return err }

func TestChangesWakeWhoeverWaits(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	must(t, l.Acquire(t.Context(), "test"))
	ctx, cancel := context.WithCancel(t.Context())
	changes := open(t, url).Changes(ctx)
	await := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s woke nobody", what)
		}
	}
	await("the start")
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"hold", func() error { return l.Hold(ctx, commit(1), sync.Hold{Reason: plan.HoldBrake}) }},
		{"approval", func() error { return l.Approve(ctx, sha(1), "ann") }},
		{"acceptance", func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(1), Items: []sync.Item{want(plan.Provision, "acme", 1)}})
		}},
		{"claim", func() error { return second(l.Claim(ctx, 1)) }},
		{"end of a run", func() error { return l.Finish(ctx, "acme-1", nil) }},
		{"status", func() error { return l.PutStatus(ctx, status(1, sync.StateSuccess, "")) }},
		{"a lost connection", func() error {
			return exec(ctx, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`)
		}},
	} {
		must(t, step.do())
		await(step.what)
	}
	// What changes nothing wakes nobody, or a loop that wakes by it would never rest.
	must(t, second(l.Claim(ctx, 1)))
	must(t, l.PutStatus(ctx, status(1, sync.StateSuccess, "")))
	must(t, l.Append(ctx, pipeline.Event{Run: "acme-1"}))
	select {
	case <-changes:
		t.Error("woken by nothing")
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	for range changes { //nolint:revive // until it is closed
	}
}

func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	var wg gosync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := postgres.Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			l.Close()
		})
	}
	wg.Wait()
	if _, err := postgres.Open(t.Context(), "postgres://%zz:secret@h"); err == nil || !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad URL: %v", err)
	}
}
