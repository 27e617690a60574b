package postgres_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// unannounced lists runs that the forge was not told of, with their status.
func unannounced(t *testing.T, l *postgres.Ledger) []string {
	t.Helper()
	all := []string{}
	for _, a := range got(l.Unannounced(t.Context(), 100))(t) {
		line := a.ID + " " + string(a.Status)
		if a.Preview {
			line += " of a preview"
		}
		all = append(all, line)
	}
	return all
}

func checkUnannounced(t *testing.T, l *postgres.Ledger, wanted ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, wanted...), unannounced(t, l)); diff != "" {
		t.Errorf("unannounced (-want +got):\n%s", diff)
	}
}

func TestRunsAreAnnouncedAsTheyStartAndEnd(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1, want(plan.Provision, "acme", 1), want(plan.Provision, "beta", 1))
	checkUnannounced(t, l)
	acme := claim(t, l)
	checkUnannounced(t, l, "acme-1 running")
	must(t, l.Announced(ctx, "acme-1", pipeline.Running, []review.Notice{note("acme-1", 1)}))
	must(t, l.Announced(ctx, "acme-1", pipeline.Running, []review.Notice{note("acme-1", 5)})) // as before: changes nothing
	checkUnannounced(t, l)
	if all := due(t, l, time.Now()); !cmp.Equal(all, []string{"acme-1/1:1"}) {
		t.Errorf("due are %q", all)
	}
	beta := claim(t, l)
	must(t, l.Finish(ctx, beta.ID, &fault.Record{Kind: fault.Stalled, Message: "hangs"}))
	succeed(t, l, acme)
	checkUnannounced(t, l, "acme-1 succeeded", "beta-1 failed") // beta's start was never told, and need not be
	a := got(l.Unannounced(ctx, 1))(t)
	if len(a) != 1 || !cmp.Equal(a[0].Spec, spec("acme")) || a[0].Release != "release-a1" {
		t.Errorf("announcement is %+v", a)
	}

	// Told of the start while it ended: the end is still to be told.
	must(t, l.Announced(ctx, "beta-1", pipeline.Running, nil))
	checkUnannounced(t, l, "acme-1 succeeded", "beta-1 failed")
	must(t, l.Announced(ctx, "acme-1", pipeline.Succeeded, []review.Notice{note("acme-1", 2)}))
	must(t, l.Announced(ctx, "beta-1", pipeline.Failed, nil))
	must(t, l.Announced(ctx, "acme-1", pipeline.Running, []review.Notice{note("acme-1", 1)})) // late
	checkUnannounced(t, l)
	if all := due(t, l, time.Now()); !cmp.Equal(all, []string{"acme-1/2:2"}) {
		t.Errorf("due are %q", all)
	}

	// Neither what never started nor a purge is told of.
	accept(t, l, 2, want(plan.Update, "acme", 2))
	accept(t, l, 3, want(plan.Deprovision, "acme", 3))
	end := claim(t, l)
	must(t, l.RecordTombstone(ctx, end, pipeline.Tombstone{At: time.Now(), PurgeAfter: time.Now()}))
	must(t, l.Finish(ctx, end.ID, nil))
	must(t, l.Enqueue(ctx, pipeline.Run{ID: "purge", Tenant: "acme", Operation: plan.Purge}))
	must(t, l.Finish(ctx, claim(t, l).ID, nil))
	checkUnannounced(t, l, "acme-3 succeeded")
}

func TestAnnouncementsOfPreviewsOutliveThem(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	must(t, l.PutPreview(ctx, preview(1), previewRun(1, 1)))
	succeed(t, l, claim(t, l))
	must(t, l.EndPreview(ctx, "acme-pr-1", pipeline.Run{ID: "end"}))
	r := claim(t, l)
	must(t, l.RecordReceipt(ctx, r, pipeline.Receipt{At: time.Now()}))
	must(t, l.Finish(ctx, r.ID, nil))
	checkUnannounced(t, l, "acme-pr-1-1 succeeded of a preview", "end succeeded of a preview")
}

// A ledger of the version before: what ran then is no news.
func TestWhatRanBeforeAnnouncementsIsNotAnnounced(t *testing.T) {
	t.Parallel()
	url, ctx := server.Database(t), t.Context()
	must(t, exec(ctx, url, `CREATE SCHEMA gitopsd`))
	pool := got(pgxpool.New(ctx, url))(t)
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	old := got(goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"), goose.WithTableName("gitopsd.migrations"),
		goose.WithDisableGlobalRegistry(true)))(t)
	_, err := old.UpTo(ctx, 2)
	must(t, err)
	must(t, exec(ctx, url, `INSERT INTO gitopsd.runs (id, tenant, commit, operation, infra, app, status) VALUES
		('ended', 'a', '', 'deploy', '', '', 'succeeded'), ('failed', 'b', '', 'deploy', '', '', 'failed'),
		('running', 'c', '', 'deploy', '', '', 'running'), ('queued', 'd', '', 'deploy', '', '', 'queued')`))
	must(t, exec(ctx, url, `INSERT INTO gitopsd.commits (sha, subject, author, at) VALUES ('abcd', '', '', now());
		INSERT INTO gitopsd.statuses (commit, state, description, at) VALUES ('abcd', 'pending', '', now())`))
	l := open(t, url)
	must(t, l.Acquire(ctx, "test"))
	checkUnannounced(t, l)
	must(t, l.Finish(ctx, "running", nil))
	claim(t, l)
	checkUnannounced(t, l, "running succeeded", "queued running")
	if n := len(got(l.Outbox(ctx, time.Now(), 9))(t)); n != 1 {
		t.Errorf("%d statuses are due", n)
	}
	names := got(fs.Glob(os.DirFS("migrations"), "*.sql"))(t)
	for range len(names) - 2 { // and back
		_, err := old.Down(ctx)
		must(t, err)
	}
	var columns string
	must(t, pool.QueryRow(ctx, `SELECT string_agg(column_name, ' ') FROM information_schema.columns
		WHERE table_schema = 'gitopsd' AND table_name IN ('runs', 'tenants', 'statuses')`).Scan(&columns))
	if strings.Contains(columns, "pull") || strings.Contains(columns, "announced") || strings.Contains(columns, "given_up") {
		t.Errorf("columns are %s", columns)
	}
}

func TestAStatusThatIsGivenUpKeepsNoneWaiting(t *testing.T) {
	t.Parallel()
	l, ctx := leader(t), t.Context()
	accept(t, l, 1)
	must(t, l.PutStatus(ctx, status(1, sync.StatePending, "")))
	must(t, l.PutStatus(ctx, status(1, sync.StateSuccess, "")))
	now := time.Now()
	out := got(l.Outbox(ctx, now, 9))(t)
	must(t, l.Postpone(ctx, out[0].ID, now.Add(time.Hour), "down"))
	if out := got(l.Outbox(ctx, now, 9))(t); len(out) != 0 {
		t.Fatalf("outbox is %+v: the order of a commit", out)
	}
	must(t, l.GiveUp(ctx, out[0].ID, "refused\x00"))
	must(t, l.Delivered(ctx, out[0].ID)) // too late
	must(t, l.Postpone(ctx, out[0].ID, now, "down"))
	left := got(l.Outbox(ctx, now, 9))(t)
	if len(left) != 1 || left[0].State != sync.StateSuccess {
		t.Fatalf("outbox is %+v", left)
	}
	must(t, l.GiveUp(ctx, left[0].ID, "refused\x00"))
	s := got(l.Commit(ctx, sha(1)))(t).Status
	if !s.GivenUp || s.Error != "refused\ufffd" || s.Tries != 1 || !s.Delivered.IsZero() {
		t.Errorf("status is %+v", s)
	}
	if all := got(l.Commits(ctx, 1))(t); !all[0].Status.GivenUp {
		t.Errorf("commit is %+v", all[0])
	}
	if n := len(got(l.Unsettled(ctx))(t)); n != 0 {
		t.Errorf("%d unsettled commits", n)
	}
}
