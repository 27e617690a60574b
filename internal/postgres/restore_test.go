package postgres_test

import (
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

func TestEndGrace(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	wantKind(t, l.EndGrace(ctx, "acme"), fault.NotFound)
	accept(t, l, 1, want(plan.Provision, "acme", 1), want(plan.Provision, "other", 1))
	succeed(t, l, claim(t, l))
	succeed(t, l, claim(t, l))
	wantKind(t, l.EndGrace(ctx, "acme"), fault.Conflict)
	accept(t, l, 2, want(plan.Deprovision, "acme", 2), want(plan.Deprovision, "other", 2))
	wantKind(t, l.EndGrace(ctx, "acme"), fault.Conflict) // its data are in use
	end := time.Now().Add(time.Hour)
	for range 2 {
		run := claim(t, l)
		must(t, l.RecordTombstone(ctx, run, pipeline.Tombstone{Tenant: run.Tenant, Commit: run.Commit, At: time.Now(), PurgeAfter: end}))
		must(t, l.Finish(ctx, run.ID, nil))
	}
	if due := got(l.Purgeable(ctx, time.Now()))(t); len(due) > 0 {
		t.Fatalf("due within the grace period: %v", due)
	}
	for range 2 {
		must(t, l.EndGrace(ctx, "acme"))
	}
	if due := got(l.Purgeable(ctx, time.Now().Add(time.Second)))(t); len(due) != 1 || due["acme"].Commit == "" {
		t.Errorf("due: %+v, want acme alone", due)
	}
	for _, stone := range got(l.Tombstones(ctx))(t) {
		if kept := stone.PurgeAfter.After(time.Now().Add(time.Minute)); kept != (stone.Tenant == "other") {
			t.Errorf("tombstone: %+v", stone)
		}
	}
	accept(t, l, 3, want(plan.Provision, "acme", 3)) // its file is back
	wantKind(t, l.EndGrace(ctx, "acme"), fault.Conflict)
	if due := got(l.Purgeable(ctx, time.Now().Add(time.Second)))(t); len(due) > 0 {
		t.Errorf("a tenant that is back is due: %+v", due)
	}
}

// A restore leaves the infrastructure unknown until it ends well: interrupted, it
// leads to an update.
func TestRestoreRun(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	succeed(t, l, claim(t, l))
	restore := func(id, infra string) pipeline.Run {
		return pipeline.Run{
			ID: id, Tenant: "acme", Commit: sha(1), Operation: plan.Restore, Argument: "20260102T030405.000000Z",
			Spec: spec("acme"), Infra: infra, App: "a1",
		}
	}
	must(t, l.Enqueue(ctx, restore("r0", "another")))
	if runs := got(l.Claim(ctx, 1))(t); len(runs) > 0 {
		t.Fatalf("a restore of what is not accepted was queued: %+v", runs)
	}
	must(t, l.Enqueue(ctx, restore("r1", "i1")))
	run := claim(t, l)
	if run.ID != "r1" || run.Operation != plan.Restore || run.Argument != "20260102T030405.000000Z" {
		t.Fatalf("claimed %+v", run)
	}
	must(t, l.Finish(ctx, run.ID, fault.RecordOf(fault.Errorf(fault.Stalled, "killed"))))
	a, _ := applied(t, l, "acme")
	if a.DoneInfra != "" || a.DoneApp != "a1" || a.Release != "release-a1" || plan.RetryOf(a) != plan.Update {
		t.Errorf("after a restore that failed: %+v", a)
	}
	must(t, l.Enqueue(ctx, restore("r2", "i1")))
	run = claim(t, l)
	must(t, l.RecordInfrastructure(ctx, run))
	must(t, l.Finish(ctx, run.ID, nil))
	if a, _ = applied(t, l, "acme"); a.DoneInfra != "i1" || a.DoneApp != "a1" || a.Failing || a.Release != "release-a1" {
		t.Errorf("after a restore: %+v", a)
	}
}
