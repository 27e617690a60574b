package kit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// querier is what a pool and a transaction have in common.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Begin(ctx context.Context) (pgx.Tx, error)
}

type database struct{ q querier }

// connect returns the database at url. It need not answer yet.
func connect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns = connections(ctx, c.ConnConfig)
	c.MinConns = 0
	c.MaxConnIdleTime = time.Minute
	return pgxpool.NewWithConfig(ctx, c)
}

// connections returns how many connections one process may hold: less than half
// of what the role may have, since two releases overlap during a deploy and a
// migration needs one too.
func connections(ctx context.Context, c *pgx.ConnConfig) int32 {
	const least, most = 1, 8
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return least // the pool tries again with each request
	}
	defer conn.Close(ctx)
	var limit int32
	if err := conn.QueryRow(ctx, "SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user").Scan(&limit); err != nil {
		return least
	}
	if limit < 0 {
		return most
	}
	return min(most, max(least, (limit-2)/2))
}

func (d database) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	rows, err := d.q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err // not rows: a typed nil in an interface is not nil
	}
	return rows, nil
}

func (d database) QueryRow(ctx context.Context, sql string, args ...any) Row {
	return d.q.QueryRow(ctx, sql, args...)
}

func (d database) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := d.q.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

func (d database) Tx(ctx context.Context, fn func(tx DB) error) error {
	return pgx.BeginFunc(ctx, d.q, func(tx pgx.Tx) error { return fn(database{tx}) })
}
