package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// runColumns are what scanRun reads, of a table named r.
const runColumns = `r.id, r.tenant, r.commit, r.operation, r.spec, r.argument, r.infra, r.app, r.status, r.state,
	r.failure, r.release, r.queued, r.started, r.finished`

func scanRun(row pgx.CollectableRow) (pipeline.Run, error) {
	var r pipeline.Run
	var started, finished *time.Time
	err := row.Scan(&r.ID, &r.Tenant, &r.Commit, &r.Operation, &r.Spec, &r.Argument, &r.Infra, &r.App, &r.Status, &r.State,
		&r.Failure, &r.Release, &r.Queued, &started, &finished)
	r.Started, r.Finished = orZero(started), orZero(finished)
	return r, err
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// claim looks only at the oldest queued run of a tenant, so that two claims at
// once can never start two runs of one. A run that is about to change
// infrastructure leaves nothing known to be real of what it changes, until it
// says so itself: killed or failed half way, it is repeated and never passed over.
const claim = `
WITH next AS (
	SELECT q.id FROM gitopsd.runs q
	WHERE q.status = 'queued' AND NOT EXISTS (
		SELECT FROM gitopsd.runs o WHERE o.tenant = q.tenant AND o.status IN ('queued', 'running')
		AND (o.status = 'running' OR o.seq < q.seq))
	ORDER BY q.seq LIMIT $1 FOR UPDATE SKIP LOCKED
), unsure AS (
	UPDATE gitopsd.tenants t SET done_infra = '',
		done_app = CASE WHEN r.operation IN ('deprovision', 'purge') THEN '' ELSE t.done_app END
	FROM next JOIN gitopsd.runs r ON r.id = next.id
	WHERE t.name = r.tenant AND r.operation <> 'deploy'
)
UPDATE gitopsd.runs r SET status = 'running', started = clock_timestamp()
FROM next WHERE r.id = next.id RETURNING ` + runColumns + `, r.seq`

// Claim marks up to n queued runs as running, oldest first, each of a tenant
// that has no other running, and returns them.
func (l *Ledger) Claim(ctx context.Context, n int) ([]pipeline.Run, error) {
	type claimed struct {
		seq int64
		run pipeline.Run
	}
	var all []claimed
	err := l.write(ctx, "claim runs", func(b *pgx.Batch) {
		b.Queue(claim, max(n, 0)).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var c claimed
				var err error
				if c.run, err = scanRun(appended{rows, []any{&c.seq}}); err != nil {
					return err
				}
				all = append(all, c)
			}
			return rows.Err()
		})
		b.Queue(`SELECT pg_notify('` + channel + `', '') WHERE EXISTS (
			SELECT FROM gitopsd.runs WHERE status = 'running' AND xmin = pg_current_xact_id()::xid)`)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b claimed) int { return int(a.seq - b.seq) })
	runs := make([]pipeline.Run, len(all))
	for i, c := range all {
		runs[i] = c.run
	}
	return runs, nil
}

// Running returns the runs that are marked running, oldest first.
func (l *Ledger) Running(ctx context.Context) ([]pipeline.Run, error) {
	return l.runs(ctx, "read running runs", `WHERE r.status = 'running' ORDER BY r.seq`)
}

func (l *Ledger) runs(ctx context.Context, what, where string, args ...any) ([]pipeline.Run, error) {
	rows, err := l.pool.Query(ctx, `SELECT `+runColumns+` FROM gitopsd.runs r `+where, args...)
	if err != nil {
		return nil, failure(what, err)
	}
	runs, err := pgx.CollectRows(rows, scanRun)
	return runs, failure(what, err)
}

// Purgeable returns the tenants whose grace period is over and that have no
// run queued or running.
func (l *Ledger) Purgeable(ctx context.Context, now time.Time) (map[string]plan.Applied, error) {
	return l.applied(ctx, `WHERE t.deleted AND t.purge_after <= $1 AND NOT EXISTS (SELECT FROM gitopsd.runs r
		WHERE r.tenant = t.name AND r.status IN ('queued', 'running'))`, now)
}

// Enqueue queues one run that no commit asks for: a purge in the name of the
// commit that deleted the tenant. The same run twice is one. It
// is dropped if another state of the tenant was accepted since it was asked for.
func (l *Ledger) Enqueue(ctx context.Context, r pipeline.Run) error {
	var spec *string
	if r.Spec != nil {
		doc, err := encode(r.Spec)
		if err != nil {
			return fault.Errorf(fault.Invalid, "queue run %s: %w", r.ID, err)
		}
		spec = &doc
	}
	return l.write(ctx, "queue run "+r.ID, func(b *pgx.Batch) {
		// Waits for an acceptance that is under way, so that the next statement sees it.
		b.Queue(`SELECT FROM gitopsd.repository FOR SHARE`)
		b.Queue(`INSERT INTO gitopsd.runs (id, tenant, commit, operation, argument, spec, infra, app, pull)
			SELECT $1, $2, coalesce((SELECT g.commit FROM gitopsd.tombstones g WHERE g.tenant = $2 AND $4 = 'purge'), $3),
				$4, $8, $5::jsonb, $6, $7, pull
			FROM gitopsd.tenants WHERE name = $2 AND CASE $4
				WHEN 'purge' THEN deleted AND purge_after IS NOT NULL
				WHEN 'deprovision' THEN deleted
				ELSE NOT deleted AND infra = $6 AND app = $7 END
			ON CONFLICT (id) DO NOTHING`,
			r.ID, r.Tenant, r.Commit, string(r.Operation), spec, r.Infra, r.App, clean(r.Argument))
		changed(b)
	})
}
