package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// Runs returns a tenant's last runs, newest first. They stay readable when the
// tenant is gone.
func (l *Ledger) Runs(ctx context.Context, tenant string, limit int) ([]pipeline.Run, error) {
	return l.runs(ctx, "list runs of "+tenant, `WHERE r.tenant = $1 ORDER BY r.seq DESC LIMIT $2`, clean(tenant), limit)
}

// Events returns the run's events whose Seq is greater than after, in order.
func (l *Ledger) Events(ctx context.Context, run string, after int64) ([]pipeline.Event, error) {
	rows, err := l.pool.Query(ctx, `SELECT run, seq, at, state, kind, try, took, message FROM gitopsd.events
		WHERE run = $1 AND seq > $2 ORDER BY seq`, clean(run), after)
	if err != nil {
		return nil, failure("list events", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Event, error) {
		var e pipeline.Event
		var took int64
		err := row.Scan(&e.Run, &e.Seq, &e.At, &e.State, &e.Kind, &e.Try, &took, &e.Message)
		e.Took = time.Duration(took)
		return e, err
	})
	return events, failure("list events", err)
}

// Tombstones returns the tenants that are stopped with their data kept, the
// next to be purged first.
func (l *Ledger) Tombstones(ctx context.Context) ([]pipeline.Tombstone, error) {
	rows, err := l.pool.Query(ctx, `SELECT g.tenant, g.commit, g.at, g.purge_after, g.snapshot
		FROM gitopsd.tombstones g JOIN gitopsd.tenants t ON t.name = g.tenant
		WHERE t.deleted AND t.purge_after IS NOT NULL -- one put while its tenant came back does not count
		ORDER BY g.purge_after, g.tenant`)
	if err != nil {
		return nil, failure("list tombstones", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Tombstone, error) {
		var t pipeline.Tombstone
		err := row.Scan(&t.Tenant, &t.Commit, &t.At, &t.PurgeAfter, &t.Snapshot)
		return t, err
	})
	return all, failure("list tombstones", err)
}

// Receipts returns a tenant's receipts, or with "" all, newest first.
func (l *Ledger) Receipts(ctx context.Context, tenant string) ([]pipeline.Receipt, error) {
	return l.receipts(ctx, `WHERE $1 = '' OR tenant = $1 ORDER BY at DESC, tenant`, clean(tenant))
}

// Receipt returns the receipt of a run; fault.NotFound if there is none.
func (l *Ledger) Receipt(ctx context.Context, run string) (pipeline.Receipt, error) {
	found, err := l.receipts(ctx, `WHERE run = $1`, clean(run))
	if err != nil {
		return pipeline.Receipt{}, err
	}
	if len(found) == 0 {
		return pipeline.Receipt{}, fault.Errorf(fault.NotFound, "run %s left no receipt", run)
	}
	return found[0], nil
}

func (l *Ledger) receipts(ctx context.Context, where string, args ...any) ([]pipeline.Receipt, error) {
	rows, err := l.pool.Query(ctx, `SELECT tenant, commit, run, at, snapshot, resources FROM gitopsd.receipts `+where, args...)
	if err != nil {
		return nil, failure("read receipts", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Receipt, error) {
		var r pipeline.Receipt
		err := row.Scan(&r.Tenant, &r.Commit, &r.Run, &r.At, &r.Snapshot, &r.Resources)
		return r, err
	})
	return all, failure("read receipts", err)
}
