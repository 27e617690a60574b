package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

var _ review.Ledger = (*Ledger)(nil)

// putNotices sorts by key, so that two at once lock in the same order. A version
// that waits keeps its place when another comes: what changes often is not put off
// for ever by that.
const putNotices = `
WITH put AS (
	INSERT INTO gitopsd.notices AS n (key, kind, body, due)
	SELECT p.key, p.kind, p.body::jsonb, $4 FROM unnest($1::text[], $2::text[], $3::text[]) AS p (key, kind, body)
	WHERE %s ORDER BY p.key
	ON CONFLICT (key) DO UPDATE SET kind = EXCLUDED.kind, body = EXCLUDED.body, version = n.version + 1,
		due = CASE WHEN n.settled < n.version THEN least(n.due, EXCLUDED.due) ELSE EXCLUDED.due END,
		tries = 0, error = '', settled_at = NULL
	WHERE n.kind <> EXCLUDED.kind OR n.body <> EXCLUDED.body
	RETURNING 1
)
SELECT pg_notify('` + channel + `', '') WHERE EXISTS (SELECT FROM put)`

// When a batch's notices are put; $5 is the condition's argument.
const (
	always      = `$5::text = ''`
	ifCommanded = `EXISTS (SELECT FROM gitopsd.commands c WHERE c.comment = $5::text::bigint AND c.xmin = pg_current_xact_id()::xid)`
	ifAnnounced = `EXISTS (SELECT FROM gitopsd.runs r WHERE r.id = $5::text AND r.xmin = pg_current_xact_id()::xid)`
)

// noticeRows are notices as putNotices takes them, one of a key.
type noticeRows struct{ keys, kinds, bodies []string }

func rowsOf(notices []review.Notice) (noticeRows, error) {
	last := make(map[string]review.Notice, len(notices))
	for _, n := range notices {
		last[clean(n.Key)] = n
	}
	var r noticeRows
	for _, key := range slices.Sorted(maps.Keys(last)) {
		body, err := canonical(last[key].Body)
		if err != nil {
			return r, fault.Errorf(fault.Invalid, "notice %s: %w", key, err)
		}
		r.keys, r.kinds, r.bodies = append(r.keys, key), append(r.kinds, clean(string(last[key].Kind))), append(r.bodies, body)
	}
	return r, nil
}

// canonical returns a JSON document in a form that jsonb takes.
func canonical(raw json.RawMessage) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", fmt.Errorf("decode body: %w", err)
	}
	return encode(v)
}

func (r noticeRows) put(b *pgx.Batch, condition, arg string) {
	if len(r.keys) > 0 {
		// By the clock that DueNotices is asked with, which need not be the database's.
		b.Queue(fmt.Sprintf(putNotices, condition), r.keys, r.kinds, r.bodies, time.Now(), arg)
	}
}

// PutNotices puts notices into the outbox. One whose key has the same body
// already, delivered, given up or not yet, is dropped. Of several of a key the
// last counts.
func (l *Ledger) PutNotices(ctx context.Context, notices []review.Notice) error {
	rows, err := rowsOf(notices)
	if err != nil || len(rows.keys) == 0 {
		return err
	}
	return l.write(ctx, "put notices", func(b *pgx.Batch) { rows.put(b, always, "") })
}

// DueNotices returns notices to deliver, oldest first.
func (l *Ledger) DueNotices(ctx context.Context, now time.Time, limit int) ([]review.Notice, error) {
	rows, err := l.pool.Query(ctx, `SELECT key, kind, body, remote, version, tries FROM gitopsd.notices
		WHERE settled < version AND due <= $1 ORDER BY due, key LIMIT $2`, now, max(limit, 0))
	if err != nil {
		return nil, failure("read notices", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (review.Notice, error) {
		var n review.Notice
		err := row.Scan(&n.Key, &n.Kind, &n.Body, &n.Remote, &n.Version, &n.Tries)
		return n, err
	})
	return due, failure("read notices", err)
}

// NoticeDelivered notes that the forge shows this version of a key, and by which
// number. If another version was put meanwhile, that one is still due.
func (l *Ledger) NoticeDelivered(ctx context.Context, key string, version, remote int64) error {
	return l.write(ctx, "note delivery of "+key, func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.notices SET settled = $2, remote = CASE WHEN $3 = 0 THEN remote ELSE $3 END,
				settled_at = CASE WHEN version = $2 THEN clock_timestamp() END,
				tries = CASE WHEN version = $2 THEN tries + 1 ELSE tries END,
				error = CASE WHEN version = $2 THEN '' ELSE error END
			WHERE key = $1 AND settled < $2 AND version >= $2`, clean(key), version, remote)
	})
}

// NoticePostponed notes that a delivery failed, and when to try again; the zero
// time means never. A version that was put meanwhile is due all the same.
func (l *Ledger) NoticePostponed(ctx context.Context, key string, version int64, until time.Time, why string) error {
	var due *time.Time
	if !until.IsZero() {
		due = &until
	}
	return l.write(ctx, "postpone "+key, func(b *pgx.Batch) {
		b.Queue(`UPDATE gitopsd.notices SET tries = tries + 1, error = $4, due = coalesce($3::timestamptz, due),
				settled = CASE WHEN $3::timestamptz IS NULL THEN version ELSE settled END,
				settled_at = CASE WHEN $3::timestamptz IS NULL THEN clock_timestamp() END
			WHERE key = $1 AND version = $2 AND settled < version`, clean(key), version, due, clean(why))
	})
}

// Prune forgets what is over since before: notices that were delivered or given
// up, webhook deliveries, the reports of closed pull requests, and approvals.
// What is still to be delivered stays, and so does what is of open pull requests.
func (l *Ledger) Prune(ctx context.Context, before time.Time) error {
	return l.write(ctx, "prune", func(b *pgx.Batch) {
		b.Queue(`DELETE FROM gitopsd.notices WHERE settled = version AND settled_at < $1`, before)
		b.Queue(`DELETE FROM gitopsd.deliveries WHERE at < $1`, before)
		b.Queue(`WITH gone AS (DELETE FROM gitopsd.pulls WHERE closed AND updated < $1 RETURNING number)
			DELETE FROM gitopsd.heads h USING gone WHERE h.pull = gone.number`, before)
		b.Queue(`DELETE FROM gitopsd.approvals WHERE at < $1`, before)
	})
}
