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
	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestATenantFromFirstCommitToReceipt(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	if _, err := l.Tenant(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown tenant: %v", err)
	}
	checkPhase(t, l, "acme", postgres.Pending)
	r := claim(t, l)
	if diff := cmp.Diff(spec("acme"), r.Spec); diff != "" {
		t.Errorf("spec of the run (-want +got):\n%s", diff)
	}
	checkPhase(t, l, "acme", postgres.Provisioning)
	must(t, l.Enter(ctx, pipeline.Event{Run: r.ID, State: "Deploy/Compile", Kind: pipeline.Entered, Try: 1}))
	must(t, l.Append(ctx, pipeline.Event{Run: r.ID, State: "Deploy/Compile", Kind: pipeline.Completed, Try: 1, Took: time.Second}))
	checkPhase(t, l, "acme", postgres.Deploying)
	succeed(t, l, r)
	checkPhase(t, l, "acme", postgres.Ready)
	a, _ := applied(t, l, "acme")
	wanted := plan.Applied{
		Tenant: spec("acme"), Commit: sha(1), Infra: "i1", App: "a1", Sources: []string{"apps/acme"},
		DoneInfra: "i1", DoneApp: "a1", Release: "release-a1",
	}
	if diff := cmp.Diff(wanted, a); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	events := got(l.Events(ctx, r.ID, 0))(t)
	if len(events) != 2 || events[1].Took != time.Second || len(got(l.Events(ctx, r.ID, events[0].Seq))(t)) != 1 {
		t.Errorf("events are %+v", events)
	}

	accept(t, l, 2, want(plan.Deprovision, "acme", 2))
	if n := got(l.Live(ctx))(t); n != 0 {
		t.Errorf("%d live tenants", n)
	}
	r = claim(t, l)
	checkPhase(t, l, "acme", postgres.Draining)
	grace := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	must(t, l.RecordTombstone(ctx, r, pipeline.Tombstone{Tenant: "acme", Commit: sha(2), At: time.Now(), PurgeAfter: grace, Snapshot: "s"}))
	must(t, l.Finish(ctx, r.ID, nil))
	checkPhase(t, l, "acme", postgres.Stopped)
	if g := got(l.Tombstones(ctx))(t); len(g) != 1 || !g[0].PurgeAfter.Equal(grace) || g[0].Snapshot != "s" {
		t.Errorf("tombstones are %+v", g)
	}
	if due := got(l.Purgeable(ctx, grace.Add(-time.Second)))(t); len(due) != 0 {
		t.Errorf("purgeable within the grace period: %v", due)
	}
	due := got(l.Purgeable(ctx, grace))(t)
	if len(due) != 1 || due["acme"].Tenant == nil {
		t.Fatalf("purgeable: %v", due)
	}
	purge := pipeline.Run{ID: "purge", Tenant: "acme", Commit: sha(1), Operation: plan.Purge, Spec: due["acme"].Tenant}
	must(t, l.Enqueue(ctx, purge))
	must(t, l.Enqueue(ctx, purge))
	if r := got(l.Run(ctx, "purge"))(t); r.Commit != sha(2) {
		t.Errorf("the purge is in the name of %s, and %s deleted the tenant", r.Commit, sha(2))
	}
	if due := got(l.Purgeable(ctx, grace))(t); len(due) != 0 {
		t.Errorf("purgeable while queued: %v", due)
	}
	r = claim(t, l)
	checkPhase(t, l, "acme", postgres.Deprovisioning)
	receipt := pipeline.Receipt{
		Tenant: "acme", Commit: sha(2), Run: r.ID, At: grace, Snapshot: "s",
		Resources: []platform.Resource{{Kind: "database", Name: "acme"}},
	}
	must(t, l.RecordReceipt(ctx, r, receipt))
	must(t, l.RecordReceipt(ctx, r, receipt)) // as after a crash
	must(t, l.Finish(ctx, r.ID, nil))
	if _, ok := applied(t, l, "acme"); ok {
		t.Error("the tenant is still known")
	}
	if diff := cmp.Diff(receipt, got(l.Receipt(ctx, r.ID))(t)); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	if n := len(got(l.Receipts(ctx, "acme"))(t)); n != 1 {
		t.Errorf("%d receipts", n)
	}
	if n := len(got(l.Tombstones(ctx))(t)); n != 0 {
		t.Errorf("%d tombstones", n)
	}
	if n := len(got(l.Runs(ctx, "acme", 10))(t)); n != 3 {
		t.Errorf("%d runs, want 3", n)
	}
}

func checkPhase(t *testing.T, l *postgres.Ledger, name string, want postgres.Phase) {
	t.Helper()
	r := got(l.Tenant(t.Context(), name))(t)
	if r.Phase != want {
		t.Errorf("phase of %s is %s, want %s", name, r.Phase, want)
	}
	if n := len(got(l.Tenants(t.Context(), postgres.Filter{Phase: want, Labels: map[string]string{"plan": "pro"}}))(t)); n != 1 {
		t.Errorf("the filter finds %d tenants", n)
	}
	if n := len(got(l.Tenants(t.Context(), postgres.Filter{Labels: map[string]string{"plan": "free"}}))(t)); n != 0 {
		t.Errorf("the filter for other labels finds %d tenants", n)
	}
}

func TestAcceptOnAnotherHeadIsRefusedWhole(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	must(t, l.Acquire(t.Context(), "test"))
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	before := everything(t, url)
	err := l.Accept(t.Context(), sync.Acceptance{Commit: commit(2), Previous: sha(9), Items: []sync.Item{want(plan.Deploy, "acme", 2)}})
	wantKind(t, err, fault.Conflict)
	if everything(t, url) != before {
		t.Error("a refused acceptance left traces")
	}
}

func TestANewerCommitSupersedesWhatWaits(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1), want(plan.Provision, "beta", 1))
	under := claim(t, l) // acme's
	accept(t, l, 2, want(plan.Update, "acme", 2), want(plan.Update, "beta", 2))
	accept(t, l, 3, want(plan.Update, "acme", 3))

	status := map[string]pipeline.Status{}
	for _, name := range []string{"acme", "beta"} {
		for _, r := range got(l.Runs(ctx, name, 10))(t) {
			status[r.ID] = r.Status
		}
	}
	wanted := map[string]pipeline.Status{
		"acme-1": pipeline.Running, "acme-2": pipeline.Superseded, "acme-3": pipeline.Queued,
		"beta-1": pipeline.Superseded, "beta-2": pipeline.Queued,
	}
	if diff := cmp.Diff(wanted, status); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if runs := got(l.Claim(ctx, 9))(t); len(runs) != 1 || runs[0].ID != "beta-2" {
		t.Errorf("claimed %+v beside a running run of acme", runs)
	}
	// The digests made real are the run's own, not those accepted since.
	succeed(t, l, under)
	if a, _ := applied(t, l, "acme"); a.DoneInfra != "i1" || a.Infra != "i3" || !a.InProgress {
		t.Errorf("applied is %+v", a)
	}
	p := got(l.Commit(ctx, sha(2)))(t)
	if p.Items[0].Status != pipeline.Superseded || p.Items[1].Status != pipeline.Running {
		t.Errorf("progress is %+v", p.Items)
	}
}

func TestItemsWithoutARun(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	succeed(t, l, claim(t, l))
	before, _ := applied(t, l, "acme")

	bad := sync.Item{
		Tenant: "acme", Reason: "invalid", Failure: &fault.Record{Kind: fault.Invalid, Message: "bad file"},
		Problems: tenant.Problems{{File: "tenants/acme.yaml", Line: 3, Message: "unknown key"}},
	}
	accept(t, l, 2, bad)
	if after, _ := applied(t, l, "acme"); !cmp.Equal(before, after) {
		t.Errorf("a failed item changed the tenant:\n%s", cmp.Diff(before, after))
	}
	labels := want("", "acme", 3)
	labels.Run, labels.Infra, labels.App = "", "i1", "a1"
	labels.Spec.Labels["plan"] = "free"
	accept(t, l, 3, labels)
	after, _ := applied(t, l, "acme")
	if after.Tenant.Labels["plan"] != "free" || after.Commit != sha(3) || after.DoneApp != "a1" || after.InProgress {
		t.Errorf("applied is %+v", after)
	}
	p := got(l.Commit(ctx, sha(2)))(t)
	if diff := cmp.Diff([]sync.ItemProgress{{Item: bad, Status: pipeline.Failed}}, p.Items); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if p := got(l.Commit(ctx, sha(3)))(t); p.Items[0].Status != pipeline.Succeeded {
		t.Errorf("progress is %+v", p.Items)
	}
}

func TestWhatIsNoLongerWantedDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sync.Item){
		"reverted":  func(it *sync.Item) { it.Infra, it.App = "i1", "a1" },
		"suspended": func(it *sync.Item) { it.Infra, it.App, it.Spec.Suspend = "i2", "a2", true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := leader(t)
			accept(t, l, 1, want(plan.Provision, "acme", 1))
			succeed(t, l, claim(t, l))
			accept(t, l, 2, want(plan.Deploy, "acme", 2))
			it := want("", "acme", 3)
			it.Run = ""
			change(&it)
			accept(t, l, 3, it)
			if runs := got(l.Claim(t.Context(), 1))(t); len(runs) != 0 {
				t.Errorf("claimed %+v", runs)
			}
		})
	}
	t.Run("only labels changed", func(t *testing.T) {
		t.Parallel()
		l := leader(t)
		accept(t, l, 1, want(plan.Provision, "acme", 1))
		it := want("", "acme", 1)
		it.Run = ""
		accept(t, l, 2, it)
		if runs := got(l.Claim(t.Context(), 1))(t); len(runs) != 1 {
			t.Errorf("the run that waits was dropped")
		}
	})
}

func TestReaddedDuringDeprovision(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*postgres.Ledger, pipeline.Run) {
		l := leader(t)
		accept(t, l, 1, want(plan.Provision, "acme", 1))
		succeed(t, l, claim(t, l))
		accept(t, l, 2, want(plan.Deprovision, "acme", 2))
		return l, claim(t, l)
	}
	tombstone := pipeline.Tombstone{Tenant: "acme", Commit: sha(2), At: time.Now(), PurgeAfter: time.Now()}
	t.Run("while draining", func(t *testing.T) {
		t.Parallel()
		l, r := setup(t)
		accept(t, l, 3, want(plan.Provision, "acme", 3))
		must(t, l.RecordTombstone(t.Context(), r, tombstone))
		must(t, l.Finish(t.Context(), r.ID, nil))
		if a, _ := applied(t, l, "acme"); a.Deleted || !a.PurgeAfter.IsZero() || len(got(l.Tombstones(t.Context()))(t)) != 0 {
			t.Errorf("the tenant is still to be purged: %+v", a)
		}
	})
	t.Run("within the grace period", func(t *testing.T) {
		t.Parallel()
		l, r := setup(t)
		must(t, l.RecordTombstone(t.Context(), r, tombstone))
		must(t, l.Finish(t.Context(), r.ID, nil))
		must(t, l.Enqueue(t.Context(), pipeline.Run{ID: "purge", Tenant: "acme", Operation: plan.Purge}))
		it := want("", "acme", 3) // suspended: the file is back, though nothing is done
		it.Run, it.Spec.Suspend = "", true
		accept(t, l, 3, it)
		if a, _ := applied(t, l, "acme"); a.Deleted || !a.PurgeAfter.IsZero() || a.InProgress {
			t.Errorf("the tenant is still to be purged: %+v", a)
		}
		must(t, l.Enqueue(t.Context(), pipeline.Run{ID: "late", Tenant: "acme", Operation: plan.Purge}))
		if runs := got(l.Claim(t.Context(), 9))(t); len(runs) != 0 {
			t.Errorf("claimed %+v", runs)
		}
	})
	t.Run("while it is purged", func(t *testing.T) {
		t.Parallel()
		l, r := setup(t)
		accept(t, l, 3, want(plan.Provision, "acme", 3))
		must(t, l.RecordReceipt(t.Context(), r, pipeline.Receipt{Tenant: "acme", At: time.Now()}))
		must(t, l.Finish(t.Context(), r.ID, nil))
		a, ok := applied(t, l, "acme")
		if !ok || a.Deleted || a.DoneInfra != "" || a.DoneApp != "" || a.Release != "" || a.Infra != "i3" {
			t.Errorf("applied is %v %+v", ok, a)
		}
		if r := claim(t, l); r.ID != "acme-3" {
			t.Errorf("claimed %+v", r)
		}
	})
	t.Run("and deleted again", func(t *testing.T) {
		t.Parallel()
		l, r := setup(t)
		accept(t, l, 3, want(plan.Provision, "acme", 3))
		accept(t, l, 4, want(plan.Deprovision, "acme", 4))
		must(t, l.RecordReceipt(t.Context(), r, pipeline.Receipt{Tenant: "acme", At: time.Now()}))
		must(t, l.Finish(t.Context(), r.ID, nil))
		r = claim(t, l)
		must(t, l.RecordTombstone(t.Context(), r, tombstone))
		must(t, l.Finish(t.Context(), r.ID, nil))
		if n := len(got(l.Tombstones(t.Context()))(t)); n != 0 {
			t.Errorf("%d tombstones of a tenant that is gone", n)
		}
	})
}

func TestAFailedRunMarksTheTenantUntilOneSucceeds(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1))
	cause := &fault.Record{Kind: fault.Invalid, Message: "does not compile", Hint: "fix it", Detail: "main.go:1\x00\xff"}
	r := claim(t, l)
	must(t, l.Finish(ctx, r.ID, cause))
	must(t, l.Finish(ctx, r.ID, nil)) // too late
	checkPhase(t, l, "acme", postgres.Failed)
	p := got(l.Commit(ctx, sha(1)))(t)
	stored := &fault.Record{Kind: fault.Invalid, Message: "does not compile", Hint: "fix it", Detail: "main.go:1\ufffd\ufffd"}
	if diff := cmp.Diff(stored, p.Items[0].Cause); diff != "" || p.Items[0].Status != pipeline.Failed {
		t.Errorf("progress is %s; cause (-want +got):\n%s", p.Items[0].Status, diff)
	}
	wantKind(t, l.Enter(ctx, pipeline.Event{Run: r.ID, State: "Compile"}), fault.Conflict)
	a, _ := applied(t, l, "acme")
	must(t, l.Enqueue(ctx, pipeline.Run{ID: "retry", Tenant: "acme", Commit: sha(1), Operation: plan.Provision, Spec: a.Tenant, Infra: a.Infra, App: a.App}))
	succeed(t, l, claim(t, l))
	checkPhase(t, l, "acme", postgres.Ready)
}

func TestHostileTextIsStored(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	it := want(plan.Provision, "acme", 1)
	it.Spec.App.Env = map[string]string{"A": "nul\x00", "B": `\u0000 and \\u0000`, "C": "\xff"}
	it.Reason = "nul\x00 broken\xff"
	c := commit(1)
	c.Subject, c.Author = "\xffsubject\x00", "\x00"
	must(t, l.Accept(ctx, sync.Acceptance{Commit: c, Items: []sync.Item{it}}))
	env := claim(t, l).Spec.App.Env
	if diff := cmp.Diff(map[string]string{"A": "nul\ufffd", "B": `\u0000 and \\u0000`, "C": "\ufffd"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	must(t, l.Append(ctx, pipeline.Event{Run: "acme-1", Message: "\x00\xff"}))
}

func TestConcurrentClaimsShareTheQueue(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	var items []sync.Item
	const tenants = 50
	for i := range tenants {
		items = append(items, want(plan.Provision, fmt.Sprintf("t%02d", i), 1))
	}
	accept(t, l, 1, items...)
	for i := range tenants { // a second one of each, that must wait
		must(t, l.Enqueue(ctx, pipeline.Run{ID: fmt.Sprintf("again-%d", i), Tenant: fmt.Sprintf("t%02d", i), Operation: plan.Deploy, Infra: "i1", App: "a1"}))
	}
	var mu gosync.Mutex
	seen := map[string]int{}
	var wg gosync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				runs, err := l.Claim(ctx, 3)
				if err != nil {
					t.Error(err)
					return
				}
				if len(runs) == 0 {
					return
				}
				mu.Lock()
				for _, r := range runs {
					seen[r.Tenant]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s has %d runs at a time", name, n)
		}
	}
	// A claim passes over what another holds, so some may be left for the next.
	for _, r := range got(l.Claim(ctx, tenants))(t) {
		seen[r.Tenant]++
	}
	if len(seen) != tenants || len(got(l.Running(ctx))(t)) != tenants {
		t.Errorf("%d tenants have a run, want %d", len(seen), tenants)
	}
}
