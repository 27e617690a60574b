package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/platform"
)

// Run returns the whole record of a run; fault.NotFound if there is none.
func (l *Ledger) Run(ctx context.Context, id string) (pipeline.Run, error) {
	runs, err := l.runs(ctx, "read run "+id, `WHERE r.id = $1`, id)
	if err != nil {
		return pipeline.Run{}, err
	}
	if len(runs) == 0 {
		return pipeline.Run{}, fault.Errorf(fault.NotFound, "there is no run %s", id)
	}
	return runs[0], nil
}

// Serving returns the release last recorded as real for the tenant, "" if there
// is none, and the commit that was accepted with it.
func (l *Ledger) Serving(ctx context.Context, tenant string) (digest, commit string, err error) {
	known, err := l.applied(ctx, `WHERE t.name = $1`, tenant)
	return known[tenant].Release, known[tenant].Commit, err
}

// Enter notes which state a run is in and appends the event. The error is
// fault.Conflict if the run is not marked running.
func (l *Ledger) Enter(ctx context.Context, e pipeline.Event) error {
	var running bool
	err := l.write(ctx, "enter "+e.State, func(b *pgx.Batch) {
		lazy(b)
		b.Queue(`WITH r AS (UPDATE gitopsd.runs SET state = $2 WHERE id = $1 AND status = 'running' RETURNING id)
			INSERT INTO gitopsd.events (run, state, kind, try, took, message) SELECT id, $2, $3, $4, $5, $6 FROM r`,
			eventArgs(e)...).Exec(func(tag pgconn.CommandTag) error {
			running = tag.RowsAffected() == 1
			return nil
		})
	})
	if err == nil && !running {
		return fault.Errorf(fault.Conflict, "enter %s: run %s is not running", e.State, e.Run)
	}
	return err
}

// Append appends an event.
func (l *Ledger) Append(ctx context.Context, e pipeline.Event) error {
	return l.write(ctx, "append event", func(b *pgx.Batch) {
		lazy(b)
		b.Queue(`INSERT INTO gitopsd.events (run, state, kind, try, took, message) VALUES ($1, $2, $3, $4, $5, $6)`,
			eventArgs(e)...)
	})
}

func eventArgs(e pipeline.Event) []any {
	return []any{e.Run, clean(e.State), string(e.Kind), e.Try, int64(e.Took), clean(e.Message)}
}

// RecordInfrastructure notes that the infra digest the run was queued with is
// real, whatever was accepted since.
func (l *Ledger) RecordInfrastructure(ctx context.Context, run pipeline.Run) error {
	return l.write(ctx, "record infrastructure of "+run.Tenant, func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.tenants t SET done_infra = r.infra, provisioned = now()
			FROM gitopsd.runs r WHERE r.id = $1 AND t.name = r.tenant`, run.ID)
	})
}

// RecordRelease notes that the app digest the run was queued with is real, as
// the named release.
func (l *Ledger) RecordRelease(ctx context.Context, run pipeline.Run, digest string) error {
	return l.write(ctx, "record release of "+run.Tenant, func(b *pgx.Batch) {
		b.Queue(`WITH r AS (UPDATE gitopsd.runs SET release = $2 WHERE id = $1 RETURNING tenant, app)
			UPDATE gitopsd.tenants t SET done_app = r.app, release = $2, deployed = now()
			FROM r WHERE t.name = r.tenant`, run.ID, digest)
	})
}

// RecordTombstone notes that the tenant is stopped and its data kept, unless it
// is wanted again meanwhile.
func (l *Ledger) RecordTombstone(ctx context.Context, run pipeline.Run, t pipeline.Tombstone) error {
	return l.write(ctx, "record tombstone of "+run.Tenant, func(b *pgx.Batch) {
		b.Queue(`WITH t AS (UPDATE gitopsd.tenants SET purge_after = $4 WHERE name = $1 AND deleted RETURNING name)
			INSERT INTO gitopsd.tombstones (tenant, commit, at, purge_after, snapshot) SELECT name, $2, $3, $4, $5 FROM t
			ON CONFLICT (tenant) DO UPDATE SET commit = $2, at = $3, purge_after = $4, snapshot = $5`,
			run.Tenant, t.Commit, t.At, t.PurgeAfter, clean(t.Snapshot))
		changed(b)
	})
}

// RecordReceipt stores the receipt and forgets the tenant. If it is wanted
// again meanwhile, only what was real of it is forgotten.
func (l *Ledger) RecordReceipt(ctx context.Context, run pipeline.Run, r pipeline.Receipt) error {
	if r.Resources == nil {
		r.Resources = []platform.Resource{}
	}
	resources, err := encode(r.Resources)
	if err != nil {
		return fault.Errorf(fault.Invalid, "record receipt of %s: %w", run.Tenant, err)
	}
	return l.write(ctx, "record receipt of "+run.Tenant, func(b *pgx.Batch) {
		b.Queue(`INSERT INTO gitopsd.receipts (run, tenant, commit, at, snapshot, resources) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
			ON CONFLICT (run) DO UPDATE SET at = $4, snapshot = $5, resources = $6::jsonb`,
			run.ID, run.Tenant, r.Commit, r.At, clean(r.Snapshot), resources)
		b.Queue(`DELETE FROM gitopsd.tombstones WHERE tenant = $1`, run.Tenant)
		b.Queue(`DELETE FROM gitopsd.tenants WHERE name = $1 AND deleted`, run.Tenant)
		b.Queue(`UPDATE gitopsd.tenants SET done_infra = '', done_app = '', release = '', provisioned = NULL, deployed = NULL
			WHERE name = $1`, run.Tenant)
		changed(b)
	})
}

// Finish ends the run; cause is nil for success. Finishing again is no error
// and changes nothing. A failed run stays in the state that failed, not in one that
// cleaned up after it.
func (l *Ledger) Finish(ctx context.Context, id string, cause *fault.Record) error {
	status := pipeline.Succeeded
	var record *string
	if cause != nil {
		status = pipeline.Failed
		doc, err := encode(cause)
		if err != nil {
			return fault.Errorf(fault.Invalid, "finish run %s: %w", id, err)
		}
		record = &doc
	}
	return l.write(ctx, "finish run "+id, func(b *pgx.Batch) {
		b.Queue(`WITH r AS (
				UPDATE gitopsd.runs SET status = $2, failure = $3::jsonb, finished = clock_timestamp(),
					state = CASE WHEN $2 = 'failed' THEN coalesce((SELECT e.state FROM gitopsd.events e
						WHERE e.run = id AND e.kind = 'failed' ORDER BY e.seq DESC LIMIT 1), state) ELSE state END
				WHERE id = $1 AND status IN ('queued', 'running') RETURNING tenant)
			UPDATE gitopsd.tenants t SET failing = ($2 = 'failed') FROM r WHERE t.name = r.tenant`,
			id, string(status), record)
		b.Queue(`DELETE FROM gitopsd.outcomes WHERE run = $1`, id)
		changed(b)
	})
}
