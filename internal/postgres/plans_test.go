package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// crowd fills a ledger: tenants with ended runs, previews, and notices, nearly
// all of them delivered.
const crowd = `
INSERT INTO gitopsd.tenants (name, spec, commit, infra, app, done_infra, done_app)
	SELECT 't' || n, '{}', '', 'i', 'a', 'i', 'a' FROM generate_series(1, 10000) n;
INSERT INTO gitopsd.tenants (name, spec, commit, infra, app, pull, preview)
	SELECT 't-pr-' || n, '{}', '', 'i', 'a', n, '{"expires": "2030-01-01T00:00:00Z"}' FROM generate_series(1, 20) n;
INSERT INTO gitopsd.runs (id, tenant, commit, operation, infra, app, status, announced)
	SELECT 'r' || n, 't' || n % 10000, '', 'deploy', 'i', 'a', 'succeeded', 'succeeded' FROM generate_series(1, 50000) n;
INSERT INTO gitopsd.notices (key, kind, body, settled, settled_at, due)
	SELECT 'n' || n, 'status', '{"n": 0}', CASE WHEN n % 1000 = 0 THEN 0 ELSE 1 END, now(), now() FROM generate_series(1, 100000) n;
INSERT INTO gitopsd.pulls (number, head, state, report, closed)
	SELECT n, '', '', '{}', n % 100 <> 0 FROM generate_series(1, 10000) n;
INSERT INTO gitopsd.heads SELECT n, 'h', now() FROM generate_series(1, 50000) n;
INSERT INTO gitopsd.commands SELECT n, 1, '', '', now() FROM generate_series(1, 50000) n;
INSERT INTO gitopsd.deliveries SELECT 'd' || n, 's' || n, now() FROM generate_series(1, 50000) n;
ANALYZE`

func TestReviewsCostNothingInACrowd(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	ctx := background(t)
	must(t, l.Acquire(ctx, "test"))
	must(t, exec(ctx, url, crowd))
	before := scans(ctx, t, url, "gitopsd") // whose backends have not done anything yet that counts
	for what, do := range map[string]func() error{
		"state":       func() error { return second(l.State(ctx)) },
		"due notices": func() error { return second(l.DueNotices(ctx, time.Now(), 50)) },
		"put notices": func() error { return l.PutNotices(ctx, []review.Notice{note("n7", 1), note("new", 1)}) },
		"delivered":   func() error { return l.NoticeDelivered(ctx, "n7", 2, 1) },
		"postponed":   func() error { return l.NoticePostponed(ctx, "n1000", 1, time.Now(), "down") },
		"unannounced": func() error { return second(l.Unannounced(ctx, 50)) },
		"announced":   func() error { return l.Announced(ctx, "r7", pipeline.Succeeded, nil) },
		"previews":    func() error { return second(l.Previews(ctx)) },
		"put preview": func() error { return l.PutPreview(ctx, preview(1), previewRun(1, 1)) },
		"end preview": func() error { return l.EndPreview(ctx, "t-pr-3", pipeline.Run{ID: "end"}) },
		"reports":     func() error { return second(l.Reports(ctx)) },
		"report":      func() error { return second(l.Report(ctx, 7)) },
		"pulls":       func() error { return second(l.Pulls(ctx, 50)) },
		"put report":  func() error { return l.PutReport(ctx, report(7, "x"), nil) },
		"saw head":    func() error { return second(l.SawHead(ctx, 7, "h", time.Now())) },
		"commanded":   func() error { return second(l.Commanded(ctx, 7)) },
		"put command": func() error {
			return second(l.PutCommand(ctx, review.Command{Comment: -1, At: time.Now()}, []review.Notice{note("n9", 1)}))
		},
		"delivery": func() error { return second(l.PutDelivery(ctx, "id", "s", time.Now())) },
		"approval": func() error { _, _, err := l.PlanApproved(ctx, "f"); return err },
		"applied":  func() error { return second(l.Applied(ctx, []string{"t7", "t-pr-3"})) },
		"serving":  func() error { _, _, err := l.Serving(ctx, "t7"); return err },
		"accept": func() error {
			return l.Accept(ctx, sync.Acceptance{Commit: commit(1), Items: []sync.Item{want(plan.Update, "t7", 1)}})
		},
		"enqueue": func() error {
			return l.Enqueue(ctx, pipeline.Run{ID: "retry", Tenant: "t8", Operation: plan.Deploy, Infra: "i", App: "a"})
		},
		"claim":  func() error { return second(l.Claim(ctx, 1)) },
		"outbox": func() error { return second(l.Outbox(ctx, time.Now(), 50)) },
	} {
		began := time.Now()
		must(t, do())
		t.Logf("%-12s %s", what, time.Since(began).Round(10*time.Microsecond))
	}
	l.Close() // a backend that goes has counted all it did
	for table, n := range scans(ctx, t, url, "") {
		if read := n - before[table]; read > 0 {
			t.Errorf("%d rows of %s were read one after the other", read, table)
		}
	}
}

// scans counts, of the big tables, the rows that were read without an index. It
// waits for the backends of all applications but one to go: they count late.
func scans(ctx context.Context, t *testing.T, url, but string) map[string]int {
	t.Helper()
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	for others := 1; others > 0; {
		must(t, conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
			AND application_name <> $1`, but).Scan(&others))
	}
	all := map[string]int{}
	rows := got(conn.Query(ctx, `SELECT relname, seq_tup_read FROM pg_stat_user_tables
		WHERE schemaname = 'gitopsd' AND relname IN ('tenants', 'runs', 'notices', 'pulls', 'heads', 'commands', 'deliveries')`))(t)
	var table string
	var n int
	_, err := pgx.ForEachRow(rows, []any{&table, &n}, func() error {
		all[table] = n
		return nil
	})
	must(t, err)
	return all
}

// The forge is down, and everything waits for it.
func TestAHundredThousandNoticesThatWait(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := open(t, url)
	ctx := background(t)
	must(t, l.Acquire(ctx, "test"))
	must(t, exec(ctx, url, `INSERT INTO gitopsd.notices (key, kind, body, due)
		SELECT 'n' || n, 'status', '{"n": 0}', now() + interval '1 hour' FROM generate_series(1, 100000) n; ANALYZE`))
	plan := explain(ctx, t, url, `SELECT key FROM gitopsd.notices WHERE settled < version AND due <= now() ORDER BY due, key LIMIT 100`)
	if !strings.Contains(plan, "notices_due") || strings.Contains(plan, "Sort") {
		t.Errorf("plan:\n%s", plan)
	}
	must(t, l.PutNotices(ctx, []review.Notice{note("n5", 1)}))
	best := time.Hour
	for range 5 {
		began := time.Now()
		if n := len(got(l.DueNotices(ctx, time.Now(), 100))(t)); n != 1 {
			t.Fatalf("%d are due", n)
		}
		best = min(best, time.Since(began))
	}
	t.Logf("due notices while 100,000 wait: %s", best)
	if best > 50*time.Millisecond {
		t.Errorf("asking for due notices takes %s", best)
	}
	began := time.Now()
	var batch []review.Notice
	for n := range 1000 {
		batch = append(batch, note(fmt.Sprintf("n%d", n+1), 2))
	}
	must(t, l.PutNotices(ctx, batch))
	t.Logf("1,000 notices put: %s", time.Since(began))
}

func explain(ctx context.Context, t *testing.T, url, sql string) string {
	t.Helper()
	conn := got(pgx.Connect(ctx, url))(t)
	defer conn.Close(ctx)
	rows := got(conn.Query(ctx, `EXPLAIN (ANALYZE, BUFFERS) `+sql))(t)
	return strings.Join(got(pgx.CollectRows(rows, pgx.RowTo[string]))(t), "\n")
}
