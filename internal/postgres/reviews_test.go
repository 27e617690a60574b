package postgres_test

import (
	"context"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func report(number int, description string) review.Report {
	return review.Report{
		Pull: review.Pull{Number: number, Head: sha(number), Branch: "main", Labels: []string{"preview"}},
		Base: sha(0), Live: "state", State: sync.StatePending, Description: description, Hold: "5 deletions", Fingerprint: "f",
		Steps: []review.StepShown{{
			Step:       plan.Step{Tenant: "acme", Operation: plan.Update, Reason: "changed", Changes: []string{"compute.cpu"}},
			Problems:   tenant.Problems{{File: "tenants/acme.yaml", Line: 3, Message: "no"}},
			Migrations: []review.Migration{{Name: "1.sql", SQL: "DROP TABLE t", Verdict: "destructive", Why: []string{"data"}}},
		}},
		Failure: &fault.Record{Kind: fault.Invalid, Message: "no"}, At: time.Unix(1700000000, 0).UTC(),
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	must(t, l.PutReport(ctx, report(2, "first"), []review.Notice{note("status", 1)}))
	must(t, l.PutReport(ctx, report(1, "other"), nil))
	must(t, l.PutReport(ctx, report(2, "nul\x00"), []review.Notice{note("status", 2)}))
	wanted := report(2, "nul\ufffd")
	if diff := cmp.Diff(wanted, got(l.Report(ctx, 2))(t)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]review.Report{report(1, "other"), wanted}, got(l.Reports(ctx))(t)); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if all := due(t, l, time.Now()); !cmp.Equal(all, []string{"status/2:2"}) {
		t.Errorf("due are %q", all)
	}
	closed := report(1, "closed")
	closed.Pull.Closed = true
	must(t, l.PutReport(ctx, closed, nil))
	if all := got(l.Reports(ctx))(t); len(all) != 1 || all[0].Pull.Number != 2 {
		t.Errorf("open are %+v", all)
	}
	if all := got(l.Pulls(ctx, 10))(t); len(all) != 2 || all[0].Description != "closed" {
		t.Errorf("pulls are %+v", all)
	}
	if all := got(l.Pulls(ctx, 1))(t); len(all) != 1 {
		t.Errorf("pulls are %+v", all)
	}
	wantKind(t, second(l.Report(ctx, 3)), fault.NotFound)
	bad := []review.Notice{{Key: "k"}}
	wantKind(t, l.PutReport(ctx, report(3, "bad"), bad), fault.Invalid)
	wantKind(t, second(l.Report(ctx, 3)), fault.NotFound)
}

// cut begins a write that has to wait for a row that blocks it, ends its connection
// as a crash would, and returns the write's error.
func cut(t *testing.T, url, lock string, write func() error) error {
	t.Helper()
	ctx := background(t)
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	tx := got(conn.Begin(ctx))(t)
	got(tx.Exec(ctx, lock))(t)
	failed := make(chan error, 1)
	go func() { failed <- write() }()
	watch := got(pgx.Connect(ctx, url))(t)
	defer watch.Close(ctx)
	for n := 0; n == 0; {
		must(t, watch.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'gitopsd' AND wait_event_type = 'Lock'`).Scan(&n))
	}
	err := <-failed
	must(t, tx.Rollback(ctx))
	return err
}

func TestACutTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lock  string
		write func(ctx context.Context, l *postgres.Ledger) error
	}{
		"report": {`SELECT FROM gitopsd.notices FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			return l.PutReport(ctx, report(1, "second"), []review.Notice{note("a", 2)})
		}},
		"command": {`SELECT FROM gitopsd.notices FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			_, err := l.PutCommand(ctx, review.Command{Comment: 1, At: time.Now()}, []review.Notice{note("a", 2)})
			return err
		}},
		"announcement": {`SELECT FROM gitopsd.notices FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			return l.Announced(ctx, "acme-1", "running", []review.Notice{note("a", 2)})
		}},
		"preview": {`SELECT FROM gitopsd.clock FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			return l.PutPreview(ctx, preview(1), previewRun(1, 2))
		}},
		"end of a preview": {`SELECT FROM gitopsd.clock FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			return l.EndPreview(ctx, "acme-pr-1", previewRun(1, 2))
		}},
		"acceptance with an approval": {`SELECT FROM gitopsd.tenants FOR UPDATE`, func(ctx context.Context, l *postgres.Ledger) error {
			return l.Accept(ctx, sync.Acceptance{
				Commit: commit(2), Previous: sha(1), Approval: "f", Items: []sync.Item{want(plan.Update, "acme", 2)},
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := server.Database(t)
			l := open(t, url)
			ctx := background(t)
			must(t, l.Acquire(ctx, "test"))
			accept(t, l, 1, want(plan.Provision, "acme", 1))
			claim(t, l)
			must(t, l.PutReport(ctx, report(1, "first"), []review.Notice{note("a", 1)}))
			must(t, l.PutPreview(ctx, preview(1), previewRun(1, 1)))
			must(t, l.ApprovePlan(ctx, review.PlanApproval{Fingerprint: "f", By: "ann"}))
			before := everything(t, url)
			wantKind(t, cut(t, url, c.lock, func() error { return c.write(ctx, l) }), fault.Transient)
			if everything(t, url) != before {
				t.Error("a transaction that was cut left traces")
			}
			must(t, c.write(ctx, l)) // and again, as the next one does
			if everything(t, url) == before {
				t.Error("the second try changed nothing")
			}
		})
	}
}

func TestCommandsAreWorkedOffOnce(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), background(t)
	if at := got(l.Cursor(ctx))(t); !at.IsZero() {
		t.Errorf("cursor is %s at first", at)
	}
	at := time.Unix(1700000000, 0)
	c := review.Command{
		Comment: 1 << 40, Pull: 7, By: "ann\x00", Name: "plan", At: at, Failure: &fault.Record{Kind: fault.Invalid, Message: "no\x00"},
	}
	var wg gosync.WaitGroup
	var mu gosync.Mutex
	fresh := 0
	for i := range 8 {
		wg.Go(func() {
			first, err := l.PutCommand(ctx, c, []review.Notice{note("answer", i)})
			mu.Lock()
			defer mu.Unlock()
			if first {
				fresh++
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("worked off %d times", fresh)
	}
	if all := got(l.DueNotices(ctx, time.Now(), 10))(t); len(all) != 1 || all[0].Version != 1 {
		t.Errorf("due are %+v: one answer", all)
	}
	if !got(l.Commanded(ctx, 1<<40))(t) || got(l.Commanded(ctx, 2))(t) {
		t.Error("it is not known which comment was worked off")
	}
	edited := c
	edited.Name, edited.At = "approve", at.Add(time.Hour)
	if got(l.PutCommand(ctx, edited, []review.Notice{note("second answer", 1)}))(t) {
		t.Error("an edited comment was worked off again")
	}
	if have := got(l.Cursor(ctx))(t); !have.Equal(edited.At) {
		t.Errorf("cursor is %s: the edited comment would come again and again", have)
	}
	if n := len(due(t, l, time.Now())); n != 1 {
		t.Errorf("%d are due", n)
	}
	if !got(l.PutCommand(ctx, review.Command{Comment: 2, At: at}, nil))(t) {
		t.Error("another comment is not new")
	}
	if have := got(l.Cursor(ctx))(t); !have.Equal(edited.At) {
		t.Errorf("cursor went back to %s", have)
	}
}

func TestAHeadIsSeenFirstOnce(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	at := time.Unix(1700000000, 0)
	for _, c := range []struct {
		pull int
		head string
		at   time.Time
		want time.Time
	}{
		{1, sha(1), at, at},
		{1, sha(1), at.Add(time.Hour), at},
		{1, sha(1), at.Add(-time.Hour), at.Add(-time.Hour)},
		{1, sha(1), at, at.Add(-time.Hour)},
		{1, sha(2), at, at},
		{2, sha(1), at, at},
	} {
		if first := got(l.SawHead(ctx, c.pull, c.head, c.at))(t); !first.Equal(c.want) {
			t.Errorf("#%d at %s at %s: first at %s, want %s", c.pull, c.head[36:], c.at, first, c.want)
		}
	}
}

func TestAnApprovalLetsOneCommitThrough(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	approved := func(fingerprint string) string {
		t.Helper()
		a, ok, err := l.PlanApproved(ctx, fingerprint)
		must(t, err)
		if who := got(l.ApprovalOf(ctx, fingerprint))(t); who != a.By || ok != (who != "") {
			t.Errorf("approved by %q and by %q, %v", a.By, who, ok)
		}
		return a.By
	}
	use := func(n int, fingerprint string) error {
		return l.Accept(ctx, sync.Acceptance{
			Commit: commit(n), Previous: got(l.Head(ctx))(t), Approval: fingerprint, Items: []sync.Item{want(plan.Provision, "acme", n)},
		})
	}
	wantKind(t, l.ApprovePlan(ctx, review.PlanApproval{By: "ann"}), fault.Invalid)
	wantKind(t, l.ApprovePlan(ctx, review.PlanApproval{Fingerprint: "f"}), fault.Invalid)
	if who := approved("f"); who != "" {
		t.Errorf("approved by %q at first", who)
	}
	wantKind(t, use(1, "f"), fault.Transient)
	if head := got(l.Head(ctx))(t); head != "" {
		t.Errorf("a commit without the approval it needs is the head: %s", head)
	}
	given := review.PlanApproval{Fingerprint: "f", Pull: 7, Head: sha(1), By: "ann", At: time.Now().UTC().Truncate(time.Microsecond)}
	must(t, l.ApprovePlan(ctx, given))
	a, ok, err := l.PlanApproved(ctx, "f")
	if diff := cmp.Diff(given, a); diff != "" || !ok || err != nil {
		t.Errorf("approval: %v, %v (-want +got):\n%s", ok, err, diff)
	}
	if who := approved("other"); who != "" {
		t.Errorf("another plan is approved by %q", who)
	}
	must(t, use(1, "f"))
	if who := approved("f"); who != "" {
		t.Errorf("a used approval counts, by %q", who)
	}
	wantKind(t, use(2, "f"), fault.Transient)

	must(t, l.ApprovePlan(ctx, given))
	if who := approved("f"); who != "" {
		t.Errorf("the same approval counts again, by %q", who)
	}
	given.By, given.At = "bob", time.Now()
	must(t, l.ApprovePlan(ctx, given))
	if who := approved("f"); who != "bob" {
		t.Errorf("approved anew by %q", who)
	}
	old := given
	old.Fingerprint, old.At = "old", time.Now().Add(-sync.ApprovalAge-time.Minute)
	must(t, l.ApprovePlan(ctx, old))
	if who := approved("old"); who != "" {
		t.Errorf("an old approval counts, by %q", who)
	}
	wantKind(t, use(2, "old"), fault.Transient)
	given.At = time.Now().Add(24 * time.Hour) // a forge whose clock is ahead
	must(t, l.ApprovePlan(ctx, given))
	if a, ok, err := l.PlanApproved(ctx, "f"); !ok || err != nil || a.At.After(time.Now()) {
		t.Errorf("approval is %+v, %v, %v", a, ok, err)
	}
	must(t, use(2, "f"))
}

func TestDeliveriesAreNotedOnce(t *testing.T) {
	t.Parallel()
	l, ctx := open(t, server.Database(t)), background(t) // without the lease
	var wg gosync.WaitGroup
	var mu gosync.Mutex
	fresh := 0
	for range 8 {
		wg.Go(func() {
			first, err := l.PutDelivery(ctx, "id", "sha256=1", time.Now())
			mu.Lock()
			defer mu.Unlock()
			if first {
				fresh++
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("fresh %d times", fresh)
	}
	for _, c := range []struct {
		name, id, signature string
		fresh               bool
	}{
		{"the same", "id", "sha256=1", false},
		{"replayed under another name", "other", "sha256=1", false},
		{"another of the same name", "id", "sha256=2", false},
		{"another", "other", "sha256=2", true},
		{"unsigned", "third", "", true},
		{"unsigned, too", "fourth", "", true},
		{"broken text", "\x00\xff", "\x00", true},
	} {
		if first := got(l.PutDelivery(ctx, c.id, c.signature, time.Now()))(t); first != c.fresh {
			t.Errorf("%s: fresh is %v", c.name, first)
		}
	}
	wantKind(t, second(l.PutDelivery(ctx, string(make([]byte, 10000)), "s", time.Now())), fault.Invalid)
	wantKind(t, second(l.PutDelivery(ctx, "", "s", time.Now())), fault.Invalid)
}
