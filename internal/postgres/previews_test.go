package postgres_test

import (
	"fmt"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// preview is that of a pull request, of acme, or beta if its number is even.
func preview(pull int) review.Preview {
	of := []string{"beta", "acme"}[pull%2]
	return review.Preview{
		Tenant: spec(fmt.Sprintf("%s-pr-%d", of, pull)), Pull: pull, Of: of, Head: sha(100 + pull), By: "ann",
		Infra: "i1", App: "a1", Sources: []string{"apps/" + of}, Expires: time.Unix(1800000000, 0).UTC(),
	}
}

// previewRun is the nth run of a pull request's preview.
func previewRun(pull, n int) pipeline.Run {
	return pipeline.Run{ID: fmt.Sprintf("%s-%d", preview(pull).Tenant.Name, n), Commit: sha(100 + pull), Operation: plan.Provision}
}

func statuses(t *testing.T, l *postgres.Ledger, tenant string) map[string]pipeline.Status {
	t.Helper()
	all := map[string]pipeline.Status{}
	for _, r := range got(l.Runs(t.Context(), tenant, 100))(t) {
		all[r.ID] = r.Status
	}
	return all
}

func TestAPreviewFromLabelToReceipt(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	p := preview(1)
	must(t, l.PutPreview(ctx, p, previewRun(1, 1)))
	if diff := cmp.Diff([]review.Preview{p}, got(l.Previews(ctx))(t)); diff != "" {
		t.Errorf("previews (-want +got):\n%s", diff)
	}
	r := claim(t, l)
	if r.Tenant != "acme-pr-1" || r.Commit != p.Head || r.Infra != "i1" || r.App != "a1" || !cmp.Equal(r.Spec, p.Tenant) {
		t.Errorf("run is %+v", r)
	}
	succeed(t, l, r)
	record := got(l.Tenant(ctx, "acme-pr-1"))(t)
	if record.Phase != postgres.Ready || record.Pull != 1 || record.DoneApp != "a1" {
		t.Errorf("tenant is %+v", record)
	}
	if release, commit, err := l.Serving(ctx, "acme-pr-1"); release != "release-a1" || commit != p.Head || err != nil {
		t.Errorf("serving %s of %s, %v", release, commit, err)
	}
	p.Release = "release-a1"
	if diff := cmp.Diff([]review.Preview{p}, got(l.Previews(ctx))(t)); diff != "" {
		t.Errorf("previews (-want +got):\n%s", diff)
	}

	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end", Operation: plan.Deprovision}))
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end again", Operation: plan.Deprovision}))
	if all := got(l.Previews(ctx))(t); len(all) != 1 || !all[0].Ended {
		t.Errorf("previews are %+v", all)
	}
	r = claim(t, l)
	if r.ID != "end" || r.Operation != plan.Deprovision || r.Commit != p.Head || !cmp.Equal(r.Spec, p.Tenant) {
		t.Errorf("run is %+v", r)
	}
	must(t, l.RecordReceipt(ctx, r, pipeline.Receipt{Tenant: r.Tenant, Commit: r.Commit, At: time.Now()}))
	must(t, l.Finish(ctx, r.ID, nil))
	if all := got(l.Previews(ctx))(t); len(all) != 0 {
		t.Errorf("previews are %+v", all)
	}
	if n := len(got(l.Receipts(ctx, "acme-pr-1"))(t)); n != 1 {
		t.Errorf("%d receipts", n)
	}
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "late"}))
	if runs := got(l.Claim(ctx, 9))(t); len(runs) != 0 {
		t.Errorf("claimed %+v for a preview that is gone", runs)
	}
}

func TestTheBranchDoesNotSeePreviews(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	must(t, l.PutPreview(ctx, preview(1), previewRun(1, 1)))
	for _, names := range [][]string{nil, {"acme", "acme-pr-1"}} {
		if all := got(l.Applied(ctx, names))(t); len(all) != 1 || all["acme"].Tenant == nil {
			t.Errorf("applied of %q is %v", names, all)
		}
	}
	if n := got(l.Live(ctx))(t); n != 1 {
		t.Errorf("%d live tenants", n)
	}
	if all := got(l.Tenants(ctx, postgres.Filter{}))(t); len(all) != 2 || all[0].Pull != 0 || all[1].Pull != 1 {
		t.Errorf("tenants are %+v", all)
	}
	if n := len(got(l.Claim(ctx, 9))(t)); n != 2 {
		t.Errorf("claimed %d runs, want the tenant's and the preview's", n)
	}
}

func TestNeitherTakesTheOthersName(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	must(t, l.PutPreview(ctx, preview(1), previewRun(1, 1)))
	before := got(l.Previews(ctx))(t)
	accept(t, l, 1, want(plan.Provision, "acme", 1), want(plan.Provision, "acme-pr-1", 1))
	p := got(l.Commit(ctx, sha(1)))(t)
	if p.Items[0].Status != pipeline.Queued || p.Items[0].Failure != nil {
		t.Errorf("item is %+v", p.Items[0])
	}
	if it := p.Items[1]; it.Status != pipeline.Failed || it.Failure == nil || it.Failure.Hint == "" || it.Run != "" {
		t.Errorf("item is %+v", it)
	}
	if _, ok := got(l.Refusals(ctx, nil))(t)["acme-pr-1"]; !ok {
		t.Error("nobody is told of the refusal")
	}
	accept(t, l, 2, sync.Item{Tenant: "acme-pr-1", Operation: plan.Deprovision, Reason: "gone", Run: "never"})
	if diff := cmp.Diff(before, got(l.Previews(ctx))(t)); diff != "" {
		t.Errorf("a commit changed a preview:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]pipeline.Status{"acme-pr-1-1": pipeline.Queued}, statuses(t, l, "acme-pr-1")); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}

	accept(t, l, 3, want(plan.Provision, "acme-pr-3", 3))
	wantKind(t, l.PutPreview(ctx, preview(3), previewRun(3, 1)), fault.Invalid)
	must(t, l.EndPreview(ctx, "acme-pr-3", pipeline.Run{ID: "never"}))
	if a, ok := applied(t, l, "acme-pr-3"); !ok || a.Deleted || a.Infra != "i3" {
		t.Errorf("a preview took over: %+v", a)
	}
	other := preview(1)
	other.Pull = 5
	wantKind(t, l.PutPreview(ctx, other, previewRun(1, 2)), fault.Invalid)
	if diff := cmp.Diff(map[string]pipeline.Status{"acme-pr-3-3": pipeline.Queued}, statuses(t, l, "acme-pr-3")); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	for _, bad := range []review.Preview{{Pull: 1}, {Tenant: spec("x")}} {
		wantKind(t, l.PutPreview(ctx, bad, pipeline.Run{}), fault.Invalid)
	}
	wantKind(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{}), fault.Invalid)
}

func TestAcceptAndPutPreviewAtOnce(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	for n := range 20 {
		pull := 2*n + 1
		name := preview(pull).Tenant.Name
		var wg gosync.WaitGroup
		var refused error
		wg.Go(func() { refused = l.PutPreview(ctx, preview(pull), previewRun(pull, 1)) })
		wg.Go(func() { accept(t, l, n+1, want(plan.Provision, name, n+1)) })
		wg.Wait()
		runs := statuses(t, l, name)
		_, ordinary := applied(t, l, name)
		if ordinary != fault.Is(refused, fault.Invalid) || len(runs) != 1 {
			t.Fatalf("ordinary is %v, the preview %v; runs are %v", ordinary, refused, runs)
		}
	}
}

func TestANewHeadTakesThePlaceOfWhatWaits(t *testing.T) {
	t.Parallel()
	const name = "acme-pr-1"
	newer := preview(1)
	newer.App, newer.Head = "a2", sha(200)
	longer := preview(1)
	longer.Expires = longer.Expires.Add(time.Hour)
	for what, c := range map[string]struct {
		claimed bool // the first run
		do      func(t *testing.T, l *postgres.Ledger)
		want    map[string]pipeline.Status
	}{
		"a new head": {
			false, func(t *testing.T, l *postgres.Ledger) { must(t, l.PutPreview(t.Context(), newer, previewRun(1, 2))) },
			map[string]pipeline.Status{name + "-1": pipeline.Superseded, name + "-2": pipeline.Queued},
		},
		"a new head while one runs": {
			true, func(t *testing.T, l *postgres.Ledger) { must(t, l.PutPreview(t.Context(), newer, previewRun(1, 2))) },
			map[string]pipeline.Status{name + "-1": pipeline.Running, name + "-2": pipeline.Queued},
		},
		"the same run again": {
			false, func(t *testing.T, l *postgres.Ledger) {
				must(t, l.PutPreview(t.Context(), preview(1), previewRun(1, 1)))
			},
			map[string]pipeline.Status{name + "-1": pipeline.Queued},
		},
		"the same run again while it runs": {
			true, func(t *testing.T, l *postgres.Ledger) {
				must(t, l.PutPreview(t.Context(), preview(1), previewRun(1, 1)))
			},
			map[string]pipeline.Status{name + "-1": pipeline.Running},
		},
		"only for longer": {
			false, func(t *testing.T, l *postgres.Ledger) { must(t, l.PutPreview(t.Context(), longer, pipeline.Run{})) },
			map[string]pipeline.Status{name + "-1": pipeline.Queued},
		},
		"something else without a run": {
			false, func(t *testing.T, l *postgres.Ledger) { must(t, l.PutPreview(t.Context(), newer, pipeline.Run{})) },
			map[string]pipeline.Status{name + "-1": pipeline.Superseded},
		},
		"ended": {
			false, func(t *testing.T, l *postgres.Ledger) {
				must(t, l.EndPreview(t.Context(), name, pipeline.Run{ID: "end"}))
			},
			map[string]pipeline.Status{name + "-1": pipeline.Superseded, "end": pipeline.Queued},
		},
		"ended and wanted again": {true, func(t *testing.T, l *postgres.Ledger) {
			must(t, l.EndPreview(t.Context(), name, pipeline.Run{ID: "end"}))
			must(t, l.PutPreview(t.Context(), preview(1), pipeline.Run{}))
			if all := got(l.Previews(t.Context()))(t); len(all) != 1 || all[0].Ended {
				t.Errorf("previews are %+v", all)
			}
		}, map[string]pipeline.Status{name + "-1": pipeline.Running, "end": pipeline.Superseded}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := leader(t)
			must(t, l.PutPreview(t.Context(), preview(1), previewRun(1, 1)))
			if c.claimed {
				claim(t, l)
			}
			c.do(t, l)
			if diff := cmp.Diff(c.want, statuses(t, l, name)); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPreviewThatFailedToGoTriesAgain(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	cause := &fault.Record{Kind: fault.Stalled, Message: "hangs"}
	must(t, l.PutPreview(ctx, preview(1), previewRun(1, 1)))
	must(t, l.Finish(ctx, claim(t, l).ID, cause))
	if all := got(l.Previews(ctx))(t); !all[0].Failing {
		t.Errorf("previews are %+v", all)
	}
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end"}))
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "while it waits"}))
	must(t, l.Finish(ctx, claim(t, l).ID, cause))
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "again"}))
	must(t, l.Finish(ctx, claim(t, l).ID, nil))
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "after success"}))
	wanted := map[string]pipeline.Status{"acme-pr-1-1": pipeline.Failed, "end": pipeline.Failed, "again": pipeline.Succeeded}
	if diff := cmp.Diff(wanted, statuses(t, l, "acme-pr-1")); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestAPreviewIsRetriedAndPurgedLikeATenant(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	p := preview(1)
	must(t, l.PutPreview(ctx, p, previewRun(1, 1)))
	must(t, l.Finish(ctx, claim(t, l).ID, &fault.Record{Kind: fault.Stalled, Message: "hangs"}))
	retry := pipeline.Run{
		ID: "retry", Tenant: "acme-pr-1", Commit: p.Head, Operation: plan.Provision, Spec: p.Tenant, Infra: p.Infra, App: p.App,
	}
	must(t, l.Enqueue(ctx, retry))
	r := claim(t, l)
	succeed(t, l, r)
	all := got(l.Unannounced(ctx, 9))(t)
	if len(all) != 2 || !all[0].Preview || !all[1].Preview {
		t.Errorf("announcements are %+v", all)
	}
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end"}))
	r = claim(t, l)
	must(t, l.RecordTombstone(ctx, r, pipeline.Tombstone{Tenant: r.Tenant, At: time.Now(), PurgeAfter: time.Now()}))
	must(t, l.Finish(ctx, r.ID, nil))
	if due := got(l.Purgeable(ctx, time.Now()))(t); len(due) != 1 || due["acme-pr-1"].Commit != p.Head {
		t.Errorf("purgeable: %v", due)
	}
}

func TestArgumentsOfRuns(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	succeed(t, l, claim(t, l))
	restore := pipeline.Run{
		ID: "restore", Tenant: "acme", Commit: sha(1), Operation: plan.Restore, Argument: "snapshot\x00", Spec: spec("acme"), Infra: "i1", App: "a1",
	}
	must(t, l.Enqueue(ctx, restore))
	stale := restore
	stale.ID, stale.App = "stale", "a0" // something else was accepted meanwhile
	must(t, l.Enqueue(ctx, stale))
	r := claim(t, l)
	if r.ID != "restore" || r.Argument != "snapshot\ufffd" || r.Operation != plan.Restore {
		t.Errorf("claimed %+v", r)
	}
	if r := got(l.Run(ctx, "restore"))(t); r.Argument != "snapshot\ufffd" {
		t.Errorf("run is %+v", r)
	}
	if r := got(l.Running(ctx))(t); len(r) != 1 || r[0].Argument != "snapshot\ufffd" {
		t.Errorf("running are %+v", r)
	}
	must(t, l.Finish(ctx, r.ID, nil))
	if _, there := statuses(t, l, "acme")["stale"]; there {
		t.Error("a restore of what is not accepted any more was queued")
	}
}
