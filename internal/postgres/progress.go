package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Unsettled returns the commits without a terminal status, oldest first.
func (l *Ledger) Unsettled(ctx context.Context) ([]sync.Progress, error) {
	return l.progress(ctx, "read unsettled commits", `WHERE NOT c.settled`)
}

// Commit returns how far a commit is; its name may be abbreviated to no fewer
// than four digits. The error is fault.NotFound if there is none,
// fault.Conflict if there are several.
func (l *Ledger) Commit(ctx context.Context, prefix string) (sync.Progress, error) {
	sha, err := l.resolve(ctx, prefix)
	if err != nil {
		return sync.Progress{}, err
	}
	found, err := l.progress(ctx, "read commit "+prefix, `WHERE c.sha = $1`, sha)
	if err != nil {
		return sync.Progress{}, err
	}
	if len(found) == 0 {
		return sync.Progress{}, unknownCommit(prefix)
	}
	return found[0], nil
}

func unknownCommit(prefix string) error {
	return fault.Errorf(fault.NotFound, "commit %s is not in the ledger", prefix).
		WithHint("it is on another branch, touches no tenant, or was not fetched yet")
}

// resolve returns the one commit whose name starts with prefix.
func (l *Ledger) resolve(ctx context.Context, prefix string) (string, error) {
	if len(prefix) < 4 || len(prefix) > 64 || slices.ContainsFunc([]byte(prefix), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	}) {
		return "", fault.Errorf(fault.Invalid, "%q is not a commit: at least four digits of its SHA in lower case", clean(prefix))
	}
	// A range, which the primary key answers; 'g' sorts after every digit.
	rows, err := l.pool.Query(ctx, `SELECT sha FROM gitopsd.commits WHERE sha >= $1 AND sha < $2 ORDER BY sha LIMIT 2`,
		prefix, prefix+"g")
	if err != nil {
		return "", failure("find commit", err)
	}
	shas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	switch {
	case err != nil:
		return "", failure("find commit", err)
	case len(shas) == 0:
		return "", unknownCommit(prefix)
	case len(shas) > 1 && shas[0] != prefix:
		return "", fault.Errorf(fault.Conflict, "%s is ambiguous: it may be %s or %s", prefix, shas[0], shas[1])
	}
	return shas[0], nil
}

// progress reads commits, oldest first, from one snapshot.
func (l *Ledger) progress(ctx context.Context, what, where string, args ...any) ([]sync.Progress, error) {
	var all []sync.Progress
	at := map[string]int{}
	b := &pgx.Batch{}
	b.Queue(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	b.Queue(`SELECT c.sha, c.subject, c.author, c.at, c.hold_reason, c.hold_message, coalesce(c.superseded_by, ''),
			s.id, s.state, s.description, s.at, s.delivered, s.tries, s.given_up, s.error
		FROM gitopsd.commits c LEFT JOIN LATERAL (
			SELECT * FROM gitopsd.statuses s WHERE s.commit = c.sha ORDER BY s.id DESC LIMIT 1) s ON true
		`+where+` ORDER BY c.seq`, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			p, err := scanProgress(rows)
			if err != nil {
				return err
			}
			at[p.Commit.SHA] = len(all)
			all = append(all, p)
		}
		return rows.Err()
	})
	b.Queue(`SELECT i.commit, i.tenant, i.operation, i.reason, i.failure, i.problems, coalesce(i.run, ''), i.infra, i.app,
			coalesce(r.status, ''), coalesce(r.state, ''), r.failure, coalesce(r.release, '')
		FROM gitopsd.commits c JOIN gitopsd.items i ON i.commit = c.sha LEFT JOIN gitopsd.runs r ON r.id = i.run
		`+where+` ORDER BY i.commit, i.tenant`, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var commit string
			var it sync.ItemProgress
			if err := rows.Scan(&commit, &it.Tenant, &it.Operation, &it.Reason, &it.Failure, &it.Problems, &it.Run,
				&it.Infra, &it.App, &it.Status, &it.State, &it.Cause, &it.Release); err != nil {
				return err
			}
			switch { // what has no run is over
			case it.Status == "" && it.Failure != nil:
				it.Status = pipeline.Failed
			case it.Status == "":
				it.Status = pipeline.Succeeded
			}
			p := &all[at[commit]]
			p.Items = append(p.Items, it)
		}
		return rows.Err()
	})
	b.Queue(`COMMIT`)
	return all, failure(what, l.pool.SendBatch(ctx, b).Close())
}

func scanProgress(rows pgx.CollectableRow) (sync.Progress, error) {
	var p sync.Progress
	var reason, message, state, description, notDelivered *string
	var id *int64
	var tries *int
	var put, delivered *time.Time
	var givenUp *bool
	err := rows.Scan(&p.Commit.SHA, &p.Commit.Subject, &p.Commit.Author, &p.Commit.When, &reason, &message, &p.SupersededBy,
		&id, &state, &description, &put, &delivered, &tries, &givenUp, &notDelivered)
	if err != nil {
		return p, err
	}
	if reason != nil {
		p.Hold = &sync.Hold{Reason: sync.HoldReason(*reason), Message: *message}
	}
	if id != nil {
		p.Status = &sync.CommitStatus{
			ID: *id, Commit: p.Commit.SHA, State: sync.CommitState(*state), Description: *description,
			At: *put, Delivered: orZero(delivered), Tries: *tries, GivenUp: *givenUp, Error: *notDelivered,
		}
	}
	return p, nil
}

// CommitSummary is a commit in a list: how many of its items are where.
type CommitSummary struct {
	Commit       sync.Commit             `json:"commit"`
	Accepted     bool                    `json:"accepted"`
	Hold         *sync.Hold              `json:"hold,omitempty"`
	SupersededBy string                  `json:"supersededBy,omitempty"`
	ApprovedBy   string                  `json:"approvedBy,omitempty"`
	Items        map[pipeline.Status]int `json:"items"`
	Status       *sync.CommitStatus      `json:"status,omitempty"` // last one put
}

// Commits returns the last commits the ledger took note of, newest first.
func (l *Ledger) Commits(ctx context.Context, limit int) ([]CommitSummary, error) {
	rows, err := l.pool.Query(ctx, `SELECT c.sha, c.subject, c.author, c.at, c.hold_reason, c.hold_message, coalesce(c.superseded_by, ''),
			s.id, s.state, s.description, s.at, s.delivered, s.tries, s.given_up, s.error, c.accepted, coalesce(c.approved_by, ''), i.counts
		FROM (SELECT * FROM gitopsd.commits ORDER BY seq DESC LIMIT $1) c LEFT JOIN LATERAL (
			SELECT * FROM gitopsd.statuses s WHERE s.commit = c.sha ORDER BY s.id DESC LIMIT 1) s ON true
		LEFT JOIN LATERAL (SELECT jsonb_object_agg(status, n) AS counts FROM (
			SELECT coalesce(r.status, CASE WHEN i.failure IS NULL THEN 'succeeded' ELSE 'failed' END) AS status, count(*) AS n
			FROM gitopsd.items i LEFT JOIN gitopsd.runs r ON r.id = i.run WHERE i.commit = c.sha GROUP BY 1) n) i ON true
		ORDER BY c.seq DESC`, limit)
	if err != nil {
		return nil, failure("list commits", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (CommitSummary, error) {
		var s CommitSummary
		p, err := scanProgress(appended{row, []any{&s.Accepted, &s.ApprovedBy, &s.Items}})
		s.Commit, s.Hold, s.SupersededBy, s.Status = p.Commit, p.Hold, p.SupersededBy, p.Status
		return s, err
	})
	return all, failure("list commits", err)
}

// appended is a row that has more columns than its reader knows of.
type appended struct {
	pgx.CollectableRow
	more []any
}

func (a appended) Scan(dest ...any) error { return a.CollectableRow.Scan(append(dest, a.more...)...) }
