package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Head returns the last accepted commit, "" before the first.
func (l *Ledger) Head(ctx context.Context) (string, error) {
	var head string
	err := l.pool.QueryRow(ctx, `SELECT head FROM gitopsd.repository`).Scan(&head)
	return head, failure("read head", err)
}

// Hold records that the commit is not carried out, and why. A commit that is
// held anew, after it was accepted or passed over, needs a new approval, and so
// does one that is held for something else: who approved has not seen that.
func (l *Ledger) Hold(ctx context.Context, c sync.Commit, h sync.Hold) error {
	return l.write(ctx, "hold "+c.SHA, func(b *pgx.Batch) {
		b.Queue(`INSERT INTO gitopsd.commits AS c (sha, subject, author, at, hold_reason, hold_message)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (sha) DO UPDATE SET
				approved_by = CASE WHEN c.superseded_by IS NULL AND (c.hold_reason, c.hold_message) = ($5, $6) THEN c.approved_by END,
				approved_at = CASE WHEN c.superseded_by IS NULL AND (c.hold_reason, c.hold_message) = ($5, $6) THEN c.approved_at END,
				hold_reason = $5, hold_message = $6, superseded_by = NULL, accepted = false`,
			c.SHA, clean(c.Subject), clean(c.Author), c.When, string(h.Reason), clean(h.Message))
		changed(b)
	})
}

// Approved reports whether the commit is held and was approved.
func (l *Ledger) Approved(ctx context.Context, commit string) (bool, error) {
	var approved bool
	err := l.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM gitopsd.commits
		WHERE sha = $1 AND hold_reason IS NOT NULL AND superseded_by IS NULL AND approved_at IS NOT NULL)`, commit).Scan(&approved)
	return approved, failure("read approval", err)
}

// Approve lets a held commit be carried out, in a user's name. commit may be
// abbreviated. It is not fenced: users approve, not the daemon. The error is
// fault.NotFound for an unknown commit, fault.Conflict for one that is not held.
func (l *Ledger) Approve(ctx context.Context, commit, who string) error {
	sha, err := l.resolve(ctx, commit)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	var held bool
	b.Queue(`WITH held AS (
			UPDATE gitopsd.commits SET approved_by = coalesce(approved_by, $2), approved_at = coalesce(approved_at, now())
			WHERE sha = $1 AND hold_reason IS NOT NULL AND superseded_by IS NULL RETURNING sha)
		SELECT EXISTS (SELECT FROM held)`, sha, clean(who)).QueryRow(func(row pgx.Row) error { return row.Scan(&held) })
	changed(b)
	if err := l.pool.SendBatch(ctx, b).Close(); err != nil {
		return failure("approve "+commit, err)
	}
	if !held {
		return fault.Errorf(fault.Conflict, "commit %s is not held: there is nothing to approve", sha)
	}
	return nil
}

// item is a sync.Item as the statement below reads it.
type item struct {
	sync.Item
	Suspend bool `json:"suspend"`
}

// acceptItems does in one statement what the items mean. All its parts see the
// tables as they were before it, so no part touches a row of another's.
const acceptItems = `
WITH i AS MATERIALIZED (
	SELECT i.tenant, CASE WHEN p.name IS NULL THEN i.operation END AS operation, i.reason,
		CASE WHEN p.name IS NULL THEN i.failure ELSE coalesce(i.failure, $3::jsonb) END AS failure, i.problems,
		CASE WHEN p.name IS NULL THEN i.run END AS run, i.spec, i.infra, i.app, i.sources, i.suspend
	FROM jsonb_to_recordset($2::jsonb) AS i (
		tenant text, operation text, reason text, failure jsonb, problems jsonb, run text,
		spec jsonb, infra text, app text, sources text[], suspend boolean)
	LEFT JOIN gitopsd.tenants p ON p.name = i.tenant AND p.pull IS NOT NULL -- a preview has the name
), stale AS ( -- of an earlier acceptance of the same commit
	DELETE FROM gitopsd.items WHERE commit = $1 AND tenant NOT IN (SELECT tenant FROM i)
), item AS (
	INSERT INTO gitopsd.items (commit, tenant, operation, reason, failure, problems, run, infra, app)
	SELECT $1, tenant, coalesce(operation, ''), reason, failure, problems, run, coalesce(infra, ''), coalesce(app, '') FROM i
	ON CONFLICT (commit, tenant) DO UPDATE SET operation = EXCLUDED.operation, reason = EXCLUDED.reason,
		failure = EXCLUDED.failure, problems = EXCLUDED.problems, run = EXCLUDED.run,
		infra = EXCLUDED.infra, app = EXCLUDED.app
), wanted AS ( -- tenants whose file is there and good
	SELECT * FROM i WHERE failure IS NULL AND spec IS NOT NULL AND coalesce(operation, '') NOT IN ('deprovision', 'purge')
), superseded AS (
	UPDATE gitopsd.runs r SET status = 'superseded', finished = now() FROM i
	WHERE r.tenant = i.tenant AND r.status = 'queued' AND (i.run IS NOT NULL OR i.failure IS NULL AND i.spec IS NOT NULL
		AND (i.suspend OR i.infra <> r.infra OR i.app <> r.app OR r.operation IN ('deprovision', 'purge')))
), accepted AS (
	INSERT INTO gitopsd.tenants AS t (name, spec, commit, infra, app, sources)
	SELECT tenant, spec, $1, coalesce(infra, ''), coalesce(app, ''), coalesce(sources, '{}') FROM wanted
	ON CONFLICT (name) DO UPDATE SET spec = EXCLUDED.spec, commit = EXCLUDED.commit, infra = EXCLUDED.infra,
		app = EXCLUDED.app, sources = EXCLUDED.sources, accepted = now(), deleted = false, purge_after = NULL
), marked AS ( -- to be deleted, or restored as they were
	UPDATE gitopsd.tenants t SET deleted = (i.operation = 'deprovision'), purge_after = NULL FROM i
	WHERE t.name = i.tenant AND i.failure IS NULL
	AND (i.operation = 'deprovision' OR i.operation <> 'purge' AND i.spec IS NULL)
), restored AS (
	DELETE FROM gitopsd.tombstones g USING i WHERE g.tenant = i.tenant AND i.failure IS NULL
	AND coalesce(i.operation, '') NOT IN ('deprovision', 'purge') AND (i.operation IS NOT NULL OR i.spec IS NOT NULL)
)
INSERT INTO gitopsd.runs (id, tenant, commit, operation, spec, infra, app)
SELECT i.run, i.tenant, $1, i.operation, coalesce(i.spec, t.spec),
	coalesce(i.infra, t.infra, ''), coalesce(i.app, t.app, '')
FROM i LEFT JOIN gitopsd.tenants t ON t.name = i.tenant
WHERE i.run IS NOT NULL AND i.failure IS NULL
ON CONFLICT (id) DO NOTHING`

// Accept records, in one transaction, that a commit is now what is desired. The
// error is fault.Conflict if the ledger's head is not the acceptance's Previous,
// fault.Transient if its Approval is not good any more: plan it anew.
func (l *Ledger) Accept(ctx context.Context, a sync.Acceptance) error {
	items := make([]item, len(a.Items))
	for i, it := range a.Items {
		items[i] = item{Item: it, Suspend: it.Spec != nil && it.Spec.Suspend}
	}
	doc, err := encode(items)
	if err != nil {
		return fault.Errorf(fault.Invalid, "accept %s: %w", a.Commit.SHA, err)
	}
	taken, err := encode(fault.RecordOf(fault.Errorf(fault.Conflict, "a preview has this name").
		WithHint("use a name that does not end in -pr- and a number")))
	if err != nil {
		return fault.Errorf(fault.Invalid, "accept %s: %w", a.Commit.SHA, err)
	}
	sha := a.Commit.SHA
	return l.write(ctx, "accept "+sha, func(b *pgx.Batch) {
		b.Queue(`SELECT gitopsd.move_head($1, $2)`, a.Previous, sha)
		passOver(b, sha, a.Passed)
		b.Queue(`UPDATE gitopsd.commits SET superseded_by = $1
			WHERE NOT accepted AND superseded_by IS NULL AND sha <> $1`, sha)
		b.Queue(`INSERT INTO gitopsd.commits (sha, subject, author, at, accepted) VALUES ($1, $2, $3, $4, true)
			ON CONFLICT (sha) DO UPDATE SET seq = nextval('gitopsd.commit_seq'), accepted = true,
				hold_reason = NULL, hold_message = NULL, superseded_by = NULL`,
			sha, clean(a.Commit.Subject), clean(a.Commit.Author), a.Commit.When)
		if a.Approval != "" {
			b.Queue(`SELECT gitopsd.use_approval($1, $2, $3)`, clean(a.Approval), sha, sync.ApprovalAge)
		}
		b.Queue(acceptItems, sha, doc, taken)
		changed(b)
	})
}

// passOver records the commits between, which come newest first, so that the
// oldest is the first in order. Those that were accepted once stay accepted.
func passOver(b *pgx.Batch, head string, passed []sync.Commit) {
	if len(passed) == 0 {
		return
	}
	var shas, subjects, authors []string
	var times []time.Time
	for _, c := range slices.Backward(passed) {
		if c.SHA != head {
			shas, times = append(shas, c.SHA), append(times, c.When)
			subjects, authors = append(subjects, clean(c.Subject)), append(authors, clean(c.Author))
		}
	}
	b.Queue(`INSERT INTO gitopsd.commits (sha, subject, author, at, superseded_by)
		SELECT sha, subject, author, at, $1
		FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[]) WITH ORDINALITY AS p (sha, subject, author, at, n)
		ORDER BY n ON CONFLICT (sha) DO NOTHING`, head, shas, subjects, authors, times)
}
