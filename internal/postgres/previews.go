package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/review"
)

// preview is the part of a review.Preview that ordinary tenants do not have.
type preview struct {
	Of      string    `json:"of"`
	Head    string    `json:"head"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
}

// Previews returns the preview tenants that are not gone, by name.
func (l *Ledger) Previews(ctx context.Context) ([]review.Preview, error) {
	rows, err := l.pool.Query(ctx, `SELECT t.spec, t.pull, t.preview, t.infra, t.app, t.sources, t.deleted, t.release, t.failing
		FROM gitopsd.tenants t WHERE t.pull IS NOT NULL ORDER BY t.name`)
	if err != nil {
		return nil, failure("read previews", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (review.Preview, error) {
		var r review.Preview
		var p preview
		err := row.Scan(&r.Tenant, &r.Pull, &p, &r.Infra, &r.App, &r.Sources, &r.Ended, &r.Release, &r.Failing)
		r.Of, r.Head, r.By, r.Expires = p.Of, p.Head, p.By, p.Expires
		return r, err
	})
	return all, failure("read previews", err)
}

// putPreview changes nothing where the name is another's. What waits goes if
// a run takes its place or it would make something else real; the very run,
// put again, stays.
const putPreview = `
WITH t AS (
	INSERT INTO gitopsd.tenants AS t (name, spec, commit, infra, app, sources, pull, preview)
	VALUES ($1, $2::jsonb, $3, $4, $5, $6, $7, $8::jsonb)
	ON CONFLICT (name) DO UPDATE SET spec = EXCLUDED.spec, commit = EXCLUDED.commit, infra = EXCLUDED.infra,
		app = EXCLUDED.app, sources = EXCLUDED.sources, preview = EXCLUDED.preview,
		accepted = now(), deleted = false, purge_after = NULL
	WHERE t.pull = EXCLUDED.pull
	RETURNING name
), superseded AS (
	UPDATE gitopsd.runs r SET status = 'superseded', finished = now() FROM t
	WHERE r.tenant = t.name AND r.status = 'queued' AND r.id <> $9
	AND ($9 <> '' OR r.infra <> $4 OR r.app <> $5 OR r.operation IN ('deprovision', 'purge'))
), tombstone AS (
	DELETE FROM gitopsd.tombstones g USING t WHERE g.tenant = t.name
), queued AS (
	INSERT INTO gitopsd.runs (id, tenant, commit, operation, spec, infra, app, pull)
	SELECT $9, t.name, $10, $11, $2::jsonb, $4, $5, $7 FROM t WHERE $9 <> ''
	ON CONFLICT (id) DO NOTHING
)
SELECT EXISTS (SELECT FROM t)`

// PutPreview records that a preview is desired and queues its run, in place of
// one that waits; a run without ID queues nothing. The run makes the preview real
// as it is recorded here. The error is fault.Invalid if the name is that of an
// ordinary tenant, or of another pull request's preview.
func (l *Ledger) PutPreview(ctx context.Context, p review.Preview, run pipeline.Run) error {
	if p.Tenant == nil || p.Pull <= 0 {
		return fault.Errorf(fault.Invalid, "put preview: it has no tenant or no pull request")
	}
	name := p.Tenant.Name
	spec, err := encode(p.Tenant)
	if err != nil {
		return fault.Errorf(fault.Invalid, "put preview %s: %w", name, err)
	}
	doc, err := encode(preview{Of: p.Of, Head: p.Head, By: p.By, Expires: p.Expires})
	if err != nil {
		return fault.Errorf(fault.Invalid, "put preview %s: %w", name, err)
	}
	if run.Commit == "" {
		run.Commit = p.Head
	}
	if p.Sources == nil {
		p.Sources = []string{}
	}
	ours := false
	err = l.write(ctx, "put preview "+name, func(b *pgx.Batch) {
		// Waits for an acceptance that is under way, and keeps the next one waiting.
		b.Queue(`SELECT FROM gitopsd.repository FOR SHARE`)
		b.Queue(putPreview, name, spec, p.Head, p.Infra, p.App, p.Sources, p.Pull, doc, run.ID, run.Commit, string(run.Operation)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&ours) })
		changed(b)
	})
	if err == nil && !ours {
		return fault.Errorf(fault.Invalid, "a tenant or another preview has the name %s", name)
	}
	return err
}

// EndPreview records that a preview is not desired any more and queues the run
// that takes it away, in place of one that waits. Ending it again changes
// nothing, unless taking it away failed: then the run tries again. One that is
// gone stays gone.
func (l *Ledger) EndPreview(ctx context.Context, tenant string, run pipeline.Run) error {
	if run.ID == "" {
		return fault.Errorf(fault.Invalid, "end preview %s: no run takes it away", tenant)
	}
	return l.write(ctx, "end preview "+tenant, func(b *pgx.Batch) {
		b.Queue(`SELECT FROM gitopsd.repository FOR SHARE`)
		b.Queue(`WITH t AS (
				UPDATE gitopsd.tenants t SET deleted = true, purge_after = NULL
				WHERE t.name = $1 AND t.pull IS NOT NULL AND (NOT t.deleted OR t.failing AND NOT EXISTS (
					SELECT FROM gitopsd.runs r WHERE r.tenant = t.name AND r.status IN ('queued', 'running')))
				RETURNING name, commit, spec, infra, app, pull
			), superseded AS (
				UPDATE gitopsd.runs r SET status = 'superseded', finished = now() FROM t
				WHERE r.tenant = t.name AND r.status = 'queued' AND r.id <> $2
			)
			INSERT INTO gitopsd.runs (id, tenant, commit, operation, spec, infra, app, pull)
			SELECT $2, name, coalesce(nullif($3, ''), commit), 'deprovision', spec, infra, app, pull FROM t
			ON CONFLICT (id) DO NOTHING`, tenant, run.ID, run.Commit)
		changed(b)
	})
}
