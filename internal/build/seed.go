package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// seedMark is the table that says that a database was seeded. It is made in the
// transaction of the seed, so that a try that died leaves neither.
const seedMark = "gitopsd_seeded"

// seed runs a SQL file of the repository on a database that never had one run,
// as the tenant's own role. It reports whether it did.
func (b *Builder) seed(ctx context.Context, config *pgx.ConnConfig, commit, name string) (bool, error) {
	script, err := b.readSeed(commit, name)
	if err != nil {
		return false, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, databaseError(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, databaseError(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Whoever comes second waits here, and then finds the table.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(7166488211944)`); err != nil {
		return false, databaseError(err)
	}
	var done bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('`+seedMark+`') IS NOT NULL`).Scan(&done); err != nil || done {
		return false, databaseErrorOrNil(err)
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE `+seedMark+` AS SELECT now() AS at`); err != nil {
		return false, databaseError(err)
	}
	if err := conn.PgConn().Exec(ctx, script).Close(); err != nil {
		return false, fmt.Errorf("seed %s: %w", name, databaseError(err))
	}
	if conn.PgConn().TxStatus() != 'T' {
		return false, fault.Errorf(fault.Invalid, "seed %s ends its transaction", name).
			WithHint("leave out BEGIN, COMMIT and ROLLBACK: the whole file is one transaction")
	}
	return true, databaseErrorOrNil(tx.Commit(ctx))
}

func databaseErrorOrNil(err error) error {
	if err == nil {
		return nil
	}
	return databaseError(err)
}

func (b *Builder) readSeed(commit, name string) (string, error) {
	info, err := fs.Stat(b.source.FS(commit), name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.Errorf(fault.Invalid, "there is no seed %s in the commit", name).
			WithHint("add the file, or take preview.seed out of gitopsd.yaml")
	}
	if err != nil {
		return "", fmt.Errorf("look for seed %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxMigration {
		return "", fault.Errorf(fault.Invalid, "seed %s is not a file of at most %d bytes", name, maxMigration)
	}
	script, err := fs.ReadFile(b.source.FS(commit), name)
	if err != nil {
		return "", fmt.Errorf("read seed %s: %w", name, err)
	}
	return string(script), nil
}
