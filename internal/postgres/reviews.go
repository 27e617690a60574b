package postgres

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// State names what is accepted and applied: it changes with the head, with the
// status of any run and with what is recorded of any tenant.
func (l *Ledger) State(ctx context.Context) (string, error) {
	var state string
	err := l.pool.QueryRow(ctx, `SELECT r.head || '@' || c.ticks FROM gitopsd.repository r, gitopsd.clock c`).Scan(&state)
	return state, failure("read state", err)
}

// PutReport keeps a pull request's report, in place of the one before, and in
// the same transaction puts the notices that show it.
func (l *Ledger) PutReport(ctx context.Context, r review.Report, notices []review.Notice) error {
	doc, err := encode(r)
	if err != nil {
		return fault.Errorf(fault.Invalid, "put report of #%d: %w", r.Pull.Number, err)
	}
	rows, err := rowsOf(notices)
	if err != nil {
		return err
	}
	return l.write(ctx, "put report of #"+strconv.Itoa(r.Pull.Number), func(b *pgx.Batch) {
		b.Queue(`INSERT INTO gitopsd.pulls (number, head, state, report, closed) VALUES ($1, $2, $3, $4::jsonb, $5)
			ON CONFLICT (number) DO UPDATE SET head = $2, state = $3, report = $4::jsonb, closed = $5, updated = clock_timestamp()`,
			r.Pull.Number, clean(r.Pull.Head), clean(string(r.State)), doc, r.Pull.Closed)
		rows.put(b, always, "")
		changed(b)
	})
}

// Reports returns the reports of the pull requests that are not closed, by number.
func (l *Ledger) Reports(ctx context.Context) ([]review.Report, error) {
	return l.reports(ctx, `WHERE NOT closed ORDER BY number`)
}

// Report returns the report of one pull request; fault.NotFound if there is none.
func (l *Ledger) Report(ctx context.Context, number int) (review.Report, error) {
	found, err := l.reports(ctx, `WHERE number = $1`, number)
	if err != nil {
		return review.Report{}, err
	}
	if len(found) == 0 {
		return review.Report{}, fault.Errorf(fault.NotFound, "there is no report of pull request #%d", number).
			WithHint("it is not onto the tracked branch, or was not looked at yet")
	}
	return found[0], nil
}

// Pulls returns reports of open and closed pull requests, the newest report first.
func (l *Ledger) Pulls(ctx context.Context, limit int) ([]review.Report, error) {
	return l.reports(ctx, `ORDER BY updated DESC, number DESC LIMIT $1`, max(limit, 0))
}

func (l *Ledger) reports(ctx context.Context, where string, args ...any) ([]review.Report, error) {
	rows, err := l.pool.Query(ctx, `SELECT report FROM gitopsd.pulls `+where, args...)
	if err != nil {
		return nil, failure("read reports", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[review.Report])
	return found, failure("read reports", err)
}

// SawHead notes when a pull request was first seen with a head, by the forge's
// clock, and returns the earliest time ever noted for the pair.
func (l *Ledger) SawHead(ctx context.Context, pull int, head string, at time.Time) (time.Time, error) {
	var first time.Time
	err := l.write(ctx, "note head of #"+strconv.Itoa(pull), func(b *pgx.Batch) {
		b.Queue(`WITH old AS (
				SELECT seen FROM gitopsd.heads WHERE pull = $1 AND head = $2
			), put AS (
				INSERT INTO gitopsd.heads AS h (pull, head, seen)
				SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM old WHERE seen <= $3)
				ON CONFLICT (pull, head) DO UPDATE SET seen = least(h.seen, EXCLUDED.seen) RETURNING seen
			)
			SELECT coalesce((SELECT seen FROM put), (SELECT seen FROM old))`, pull, clean(head), at).
			QueryRow(func(row pgx.Row) error { return row.Scan(&first) })
	})
	return first, err
}

// cursorOfComments names the cursor of the comments that were worked off.
const cursorOfComments = `comments`

// Cursor returns up to when comments were worked off, the zero time at first.
func (l *Ledger) Cursor(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := l.pool.QueryRow(ctx, `SELECT at FROM gitopsd.cursors WHERE name = '`+cursorOfComments+`'`).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	return at, failure("read cursor", err)
}

// Commanded reports whether a comment was worked off.
func (l *Ledger) Commanded(ctx context.Context, comment int64) (bool, error) {
	var done bool
	err := l.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM gitopsd.commands WHERE comment = $1)`, comment).Scan(&done)
	return done, failure("read command", err)
}

// PutCommand notes that a comment was worked off, moves the cursor to its time,
// and puts the notices that answer it. It returns false if the comment was worked
// off before, also if it was edited since: then only the cursor moves, so that it
// does not come again.
func (l *Ledger) PutCommand(ctx context.Context, c review.Command, notices []review.Notice) (bool, error) {
	var record *string
	if c.Failure != nil {
		doc, err := encode(c.Failure)
		if err != nil {
			return false, fault.Errorf(fault.Invalid, "put command: %w", err)
		}
		record = &doc
	}
	rows, err := rowsOf(notices)
	if err != nil {
		return false, err
	}
	fresh := false
	err = l.write(ctx, "put command", func(b *pgx.Batch) {
		b.Queue(`WITH c AS (
				INSERT INTO gitopsd.commands (comment, pull, author, name, at, failure) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
				ON CONFLICT (comment) DO NOTHING RETURNING comment
			) SELECT EXISTS (SELECT FROM c)`, c.Comment, c.Pull, clean(c.By), clean(c.Name), c.At, record).
			QueryRow(func(row pgx.Row) error { return row.Scan(&fresh) })
		b.Queue(`INSERT INTO gitopsd.cursors AS c (name, at) VALUES ('`+cursorOfComments+`', $1)
			ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at WHERE c.at < EXCLUDED.at`, c.At)
		rows.put(b, ifCommanded, strconv.FormatInt(c.Comment, 10))
	})
	return fresh && err == nil, err
}

// ApprovePlan lets a commit be carried out that is held for what the fingerprint
// stands for, in a user's name. Approving again makes it good again, for one more.
func (l *Ledger) ApprovePlan(ctx context.Context, a review.PlanApproval) error {
	if a.Fingerprint == "" || a.By == "" {
		return fault.Errorf(fault.Invalid, "approve a plan: it says not which, or not who")
	}
	if a.At.IsZero() {
		a.At = time.Now()
	}
	return l.write(ctx, "approve plan of #"+strconv.Itoa(a.Pull), func(b *pgx.Batch) {
		b.Queue(`INSERT INTO gitopsd.approvals AS p (fingerprint, pull, head, author, at) VALUES ($1, $2, $3, $4, least($5, now()))
			ON CONFLICT (fingerprint) DO UPDATE SET pull = $2, head = $3, author = $4, at = EXCLUDED.at, used_by = NULL
			WHERE p.at < EXCLUDED.at`, // the same again, by a try that is repeated, does not make good what was used
			clean(a.Fingerprint), a.Pull, clean(a.Head), clean(a.By), a.At)
		changed(b)
	})
}

// PlanApproved returns the approval of a fingerprint, if there is one that is
// not older than sync.ApprovalAge and was not used yet.
func (l *Ledger) PlanApproved(ctx context.Context, fingerprint string) (review.PlanApproval, bool, error) {
	var a review.PlanApproval
	err := l.pool.QueryRow(ctx, `SELECT fingerprint, pull, head, author, at FROM gitopsd.approvals
		WHERE fingerprint = $1 AND used_by IS NULL AND at >= now() - $2::interval`, clean(fingerprint), sync.ApprovalAge).
		Scan(&a.Fingerprint, &a.Pull, &a.Head, &a.By, &a.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return review.PlanApproval{}, false, nil
	}
	return a, err == nil, failure("read approval", err)
}

// ApprovalOf returns who approved the fingerprint, "" for nobody, as PlanApproved
// does.
func (l *Ledger) ApprovalOf(ctx context.Context, fingerprint string) (string, error) {
	a, _, err := l.PlanApproved(ctx, fingerprint)
	return a.By, err
}
