package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/review"
)

// Unannounced returns runs that started or ended since they were last announced,
// oldest first. Of a run that did both, the end counts. Purges are not told of.
func (l *Ledger) Unannounced(ctx context.Context, limit int) ([]review.Announcement, error) {
	// The condition is that of the index runs_unannounced.
	rows, err := l.pool.Query(ctx, `SELECT `+runColumns+`, r.pull IS NOT NULL FROM gitopsd.runs r
		WHERE r.announced <> r.status AND r.status IN ('running', 'succeeded', 'failed')
		AND r.operation IN ('provision', 'update', 'deploy', 'deprovision', 'restore')
		ORDER BY r.seq LIMIT $1`, max(limit, 0))
	if err != nil {
		return nil, failure("read announcements", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (review.Announcement, error) {
		var a review.Announcement
		var err error
		a.Run, err = scanRun(appended{row, []any{&a.Preview}})
		return a, err
	})
	return all, failure("read announcements", err)
}

// Announced notes that a run was announced with the status it had, and puts the
// notices that do. What was announced before, or is out of date, changes nothing.
func (l *Ledger) Announced(ctx context.Context, run string, status pipeline.Status, notices []review.Notice) error {
	rows, err := rowsOf(notices)
	if err != nil {
		return err
	}
	return l.write(ctx, "note announcement of "+run, func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.runs SET announced = $2
			WHERE id = $1 AND announced <> $2 AND announced NOT IN ('succeeded', 'failed')`, run, string(status))
		rows.put(b, ifAnnounced, run)
	})
}
