package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock keeps two starts from migrating at once.
const migrationLock = 7166488211944

// migrate brings the schema up to date; of several callers one does it. It is
// one cheap look when there is nothing to do.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if done, err := migrated(ctx, pool, files); err != nil || done {
		return err
	}
	if err := createSchema(ctx, pool); err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 120))
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithTableName("gitopsd.migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// migrated reports whether as many migrations were applied as there are files:
// they are numbered from 1 without gaps. A newer program's schema, which has
// more, is left alone.
func migrated(ctx context.Context, pool *pgxpool.Pool, files fs.FS) (bool, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return false, err
	}
	var there bool
	err = pool.QueryRow(ctx, `SELECT to_regclass('gitopsd.migrations') IS NOT NULL`).Scan(&there)
	if err != nil || !there {
		return false, err
	}
	var version int
	err = pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM gitopsd.migrations WHERE is_applied`).Scan(&version)
	return version >= len(names), err
}

// createSchema makes the schema the migrations' own table lives in. CREATE
// SCHEMA IF NOT EXISTS alone fails when two run at once.
func createSchema(ctx context.Context, pool *pgxpool.Pool) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after Commit: no effect
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock+1); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS gitopsd`); err != nil {
		return fmt.Errorf("create schema: %w", err)
	}
	return tx.Commit(ctx)
}
