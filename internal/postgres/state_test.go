package postgres_test

import (
	"context"
	"fmt"
	gosync "sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

func TestStateChangesWithWhatIsAcceptedAndApplied(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	run := pipeline.Run{ID: "acme-1", Tenant: "acme"}
	purge := pipeline.Run{ID: "purge", Tenant: "acme", Operation: plan.Purge}
	enter := pipeline.Event{Run: "acme-1", State: "Compile", Kind: pipeline.Entered}
	first := func(_ []pipeline.Run, err error) error { return err }
	for _, step := range []struct {
		what    string
		changes bool
		do      func() error
	}{
		{"a hold", false, func() error { return l.Hold(ctx, commit(1), sync.Hold{Reason: plan.HoldBrake}) }},
		{"an approval", false, func() error { return l.Approve(ctx, sha(1), "ann") }},
		{"a commit", true, func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(1), Items: []sync.Item{want(plan.Provision, "acme", 1)}})
		}},
		{"a commit that touches no tenant", true, func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(2), Previous: sha(1)})
		}},
		{"a claim", true, func() error { return first(l.Claim(ctx, 1)) }},
		{"a claim of nothing", false, func() error { return first(l.Claim(ctx, 1)) }},
		{"a state of a run", false, func() error { return l.Enter(ctx, enter) }},
		{"an event", false, func() error { return l.Append(ctx, enter) }},
		{"infrastructure made real", true, func() error { return l.RecordInfrastructure(ctx, run) }},
		{"the same again", false, func() error { return l.RecordInfrastructure(ctx, run) }},
		{"a release", true, func() error { return l.RecordRelease(ctx, run, "r") }},
		{"the end of a run", true, func() error { return l.Finish(ctx, "acme-1", nil) }},
		{"the end again", false, func() error { return l.Finish(ctx, "acme-1", nil) }},
		{"an announcement", false, func() error {
			return l.Announced(ctx, "acme-1", pipeline.Succeeded, []review.Notice{note("a", 1)})
		}},
		{"a status", false, func() error { return l.PutStatus(ctx, status(1, sync.StateSuccess, "")) }},
		{"its delivery", false, func() error { return l.Delivered(ctx, 1) }},
		{"a notice", false, func() error { return l.PutNotices(ctx, []review.Notice{note("a", 2)}) }},
		{"its delivery", false, func() error { return l.NoticeDelivered(ctx, "a", 2, 1) }},
		{"a report", false, func() error { return l.PutReport(ctx, report(1, "x"), nil) }},
		{"a head", false, func() error { return second(l.SawHead(ctx, 1, sha(9), time.Now())) }},
		{"a command", false, func() error { return second(l.PutCommand(ctx, review.Command{Comment: 1, At: time.Now()}, nil)) }},
		{"an approval of a plan", false, func() error { return l.ApprovePlan(ctx, review.PlanApproval{Fingerprint: "f", By: "ann"}) }},
		{"a delivery", false, func() error { return second(l.PutDelivery(ctx, "id", "s", time.Now())) }},
		{"a prune", false, func() error { return l.Prune(ctx, time.Now()) }},
		{"a renewal", false, func() error { return l.Renew(ctx) }},
		{"a deletion", true, func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(3), Previous: sha(2), Items: []sync.Item{want(plan.Deprovision, "acme", 3)}})
		}},
		{"its run", true, func() error { return first(l.Claim(ctx, 1)) }},
		{"a tombstone", true, func() error {
			return l.RecordTombstone(ctx, run, pipeline.Tombstone{At: time.Now(), PurgeAfter: time.Now()})
		}},
		{"the end of its run", true, func() error { return l.Finish(ctx, "acme-3", nil) }},
		{"a purge that waits", true, func() error { return l.Enqueue(ctx, purge) }},
		{"the same again", false, func() error { return l.Enqueue(ctx, purge) }},
		{"a purge", true, func() error { return first(l.Claim(ctx, 1)) }},
		{"a receipt", true, func() error { return l.RecordReceipt(ctx, purge, pipeline.Receipt{At: time.Now()}) }},
		{"a preview", true, func() error { return l.PutPreview(ctx, preview(1), previewRun(1, 1)) }},
		{"the same again", false, func() error { return l.PutPreview(ctx, preview(1), previewRun(1, 1)) }},
		{"a failure", true, func() error {
			return l.Finish(ctx, "acme-pr-1-1", &fault.Record{Kind: fault.Stalled, Message: "hangs"})
		}},
		{"the end of a preview", true, func() error { return l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end"}) }},
		{"the same again", false, func() error { return l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "again"}) }},
	} {
		before := got(l.State(ctx))(t)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if after := got(l.State(ctx))(t); (after != before) != step.changes {
			t.Errorf("%s: state went from %s to %s", step.what, before, after)
		}
	}
}

// What is not committed must not count: who sees the new state sees what it is of.
func TestStateAndWhatItIsOfAreSeenTogether(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	ctx := background(t)
	must(t, l.Acquire(ctx, "test"))
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	state := got(l.State(ctx))(t)
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	tx := got(conn.Begin(ctx))(t)
	got(tx.Exec(ctx, `UPDATE gitopsd.tenants SET release = 'r'; SET CONSTRAINTS ALL IMMEDIATE`))(t)
	if now := got(l.State(ctx))(t); now != state {
		t.Errorf("state is %s before the change is seen", now)
	}
	must(t, tx.Commit(ctx))
	if now := got(l.State(ctx))(t); now == state {
		t.Error("the change is seen without a new state")
	}
}

func TestRunsThatEndAtOnceDoNotWaitInACircle(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	var items []sync.Item
	const tenants = 30
	for i := range tenants {
		items = append(items, want(plan.Provision, fmt.Sprintf("t%02d", i), 1))
	}
	accept(t, l, 1, items...)
	runs := got(l.Claim(ctx, tenants))(t)
	ticks := func(context.Context) (n int) {
		head := ""
		_, err := fmt.Sscanf(got(l.State(ctx))(t), "%40s@%d", &head, &n)
		must(t, err)
		return n
	}
	before := ticks(ctx)
	var wg gosync.WaitGroup
	for _, r := range runs {
		wg.Go(func() {
			for _, err := range []error{l.RecordInfrastructure(ctx, r), l.RecordRelease(ctx, r, "r"), l.Finish(ctx, r.ID, nil)} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for n := range 10 {
			accept(t, l, 2+n, want(plan.Update, "t00", 2+n), want(plan.Update, "t29", 2+n))
		}
	})
	wg.Wait()
	if after := ticks(ctx); after != before+3*tenants+10 {
		t.Errorf("%d ticks, want one for each change: %d", after-before, 3*tenants+10)
	}
}
