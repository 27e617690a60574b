package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// EndGrace ends a deleted tenant's grace period now. It is not fenced: users end
// it, not the daemon. The error is fault.NotFound for an unknown tenant,
// fault.Conflict for one that is not deleted, or whose data do not lie still yet.
func (l *Ledger) EndGrace(ctx context.Context, tenant string) error {
	var known, deleted, ended bool
	b := &pgx.Batch{}
	b.Queue(`WITH ended AS (
			UPDATE gitopsd.tenants SET purge_after = least(purge_after, now())
			WHERE name = $1 AND deleted AND purge_after IS NOT NULL RETURNING name
		), stone AS (
			UPDATE gitopsd.tombstones g SET purge_after = least(g.purge_after, now()) FROM ended WHERE g.tenant = ended.name
		)
		SELECT EXISTS (SELECT FROM gitopsd.tenants WHERE name = $1), EXISTS (SELECT FROM gitopsd.tenants WHERE name = $1 AND deleted),
			EXISTS (SELECT FROM ended)`, clean(tenant)).QueryRow(func(row pgx.Row) error { return row.Scan(&known, &deleted, &ended) })
	changed(b)
	if err := l.pool.SendBatch(ctx, b).Close(); err != nil {
		return failure("end the grace period of "+tenant, err)
	}
	switch {
	case ended:
		return nil
	case !known:
		return fault.Errorf(fault.NotFound, "there is no tenant %s", tenant)
	case !deleted:
		return fault.Errorf(fault.Conflict, "%s is live: nothing of it is taken away", tenant).
			WithHint("delete its file first, and have that merged")
	}
	return fault.Errorf(fault.Conflict, "%s is still being stopped", tenant).WithHint("see how far it is with: gitopsd describe %s", tenant)
}
