package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
)

const statusColumns = `s.id, s.commit, s.state, s.description, s.at, s.delivered, s.tries, s.given_up, s.error`

func scanStatus(row pgx.CollectableRow) (sync.CommitStatus, error) {
	var s sync.CommitStatus
	var delivered *time.Time
	err := row.Scan(&s.ID, &s.Commit, &s.State, &s.Description, &s.At, &delivered, &s.Tries, &s.GivenUp, &s.Error)
	s.Delivered = orZero(delivered)
	return s, err
}

// PutStatus adds a commit's status to the outbox, unless the commit has a
// terminal one or this is the same as its last. The error is fault.NotFound
// for an unknown commit.
func (l *Ledger) PutStatus(ctx context.Context, s sync.CommitStatus) error {
	if s.At.IsZero() {
		s.At = time.Now()
	}
	known := false
	err := l.write(ctx, "put status of "+s.Commit, func(b *pgx.Batch) {
		b.Queue(`SELECT EXISTS (SELECT FROM gitopsd.commits WHERE sha = $1)`, s.Commit).
			QueryRow(func(row pgx.Row) error { return row.Scan(&known) })
		b.Queue(`WITH c AS (
				SELECT sha FROM gitopsd.commits WHERE sha = $1 AND NOT settled FOR UPDATE
			), last AS (
				SELECT state, description FROM gitopsd.statuses WHERE commit = $1 ORDER BY id DESC LIMIT 1
			), put AS (
				INSERT INTO gitopsd.statuses (commit, state, description, at) SELECT sha, $2, $3, $4 FROM c
				WHERE NOT EXISTS (SELECT FROM last WHERE state = $2 AND description = $3) RETURNING state
			), settled AS (
				UPDATE gitopsd.commits SET settled = true
				WHERE sha = $1 AND EXISTS (SELECT FROM put WHERE state <> 'pending')
			)
			SELECT pg_notify('`+channel+`', '') FROM put`, // a dropped one wakes nobody
			s.Commit, string(s.State), clean(s.Description), s.At)
	})
	if err == nil && !known {
		return fault.Errorf(fault.NotFound, "put status: there is no commit %s", s.Commit)
	}
	return err
}

// Outbox returns statuses due for delivery, each commit's in order: while one
// waits, those after it of the same commit wait, too. One that was given up
// keeps none waiting.
func (l *Ledger) Outbox(ctx context.Context, now time.Time, limit int) ([]sync.CommitStatus, error) {
	rows, err := l.pool.Query(ctx, `SELECT `+statusColumns+` FROM gitopsd.statuses s
		WHERE s.delivered IS NULL AND NOT s.given_up AND (s.due IS NULL OR s.due <= $1)
		AND NOT EXISTS (SELECT FROM gitopsd.statuses w
			WHERE w.commit = s.commit AND w.id < s.id AND w.delivered IS NULL AND NOT w.given_up AND w.due > $1)
		ORDER BY s.id LIMIT $2`, now, limit)
	if err != nil {
		return nil, failure("read outbox", err)
	}
	due, err := pgx.CollectRows(rows, scanStatus)
	return due, failure("read outbox", err)
}

// Delivered notes that a status reached the forge.
func (l *Ledger) Delivered(ctx context.Context, id int64) error {
	return l.write(ctx, "note delivery", func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.statuses SET delivered = now(), tries = tries + 1, error = ''
			WHERE id = $1 AND delivered IS NULL AND NOT given_up`, id)
		changed(b)
	})
}

// Postpone notes that a delivery failed, and when to try again.
func (l *Ledger) Postpone(ctx context.Context, id int64, until time.Time, why string) error {
	return l.write(ctx, "postpone delivery", func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.statuses SET due = $2, tries = tries + 1, error = $3
			WHERE id = $1 AND delivered IS NULL AND NOT given_up`, id, until, clean(why))
	})
}

// GiveUp notes that a status will never reach the forge, and why: it counts as
// over, and those after it of its commit go on.
func (l *Ledger) GiveUp(ctx context.Context, id int64, why string) error {
	return l.write(ctx, "give delivery up", func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.statuses SET given_up = true, tries = tries + 1, error = $2
			WHERE id = $1 AND delivered IS NULL AND NOT given_up`, id, clean(why))
		changed(b)
	})
}
