package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/sync"
)

// Refusal is what a commit asked for and was refused: an invalid file, or a
// deletion that is protected.
type Refusal struct {
	Commit sync.Commit
	Item   sync.Item
}

// Refusals returns, by tenant, the last refusal since what is accepted of the
// tenant; of a tenant that was never accepted, or is gone, the last at all.
// Only the named tenants are looked at, or all if names is nil.
func (l *Ledger) Refusals(ctx context.Context, names []string) (map[string]Refusal, error) {
	rows, err := l.pool.Query(ctx, `SELECT DISTINCT ON (i.tenant) i.tenant, i.reason, i.failure, i.problems,
			c.sha, c.subject, c.author, c.at
		FROM gitopsd.items i JOIN gitopsd.commits c ON c.sha = i.commit
		LEFT JOIN gitopsd.tenants t ON t.name = i.tenant AND t.pull IS NULL
		LEFT JOIN gitopsd.commits a ON a.sha = t.commit
		WHERE i.failure IS NOT NULL AND i.run IS NULL AND c.accepted AND ($1::text[] IS NULL OR i.tenant = ANY($1))
		AND NOT coalesce(t.deleted, false) AND (a.seq IS NULL OR c.seq > a.seq)
		ORDER BY i.tenant, c.seq DESC`, names)
	if err != nil {
		return nil, failure("read refusals", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Refusal, error) {
		var r Refusal
		err := row.Scan(&r.Item.Tenant, &r.Item.Reason, &r.Item.Failure, &r.Item.Problems,
			&r.Commit.SHA, &r.Commit.Subject, &r.Commit.Author, &r.Commit.When)
		return r, err
	})
	if err != nil {
		return nil, failure("read refusals", err)
	}
	all := make(map[string]Refusal, len(found))
	for _, r := range found {
		all[r.Item.Tenant] = r
	}
	return all, nil
}
