package design

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// lockKey serialises migrations of one database; it is the one that the
// migrations of hand-written apps take, too.
const lockKey = 0x6769746f707364

// Migrate brings the database to the tables, in one transaction, and returns
// the statements it ran. An error leaves the database as it was. What cannot be
// done without losing data is fault.Invalid; errors of Postgres come as they are.
func Migrate(ctx context.Context, conn *pgx.Conn, want []Table) ([]string, error) {
	var ran []string
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockKey)); err != nil {
			return fmt.Errorf("lock the schema: %w", err)
		}
		have, err := introspect(ctx, tx, want)
		if err != nil {
			return fmt.Errorf("read the schema: %w", err)
		}
		if ran, err = diff(have, want); err != nil {
			return err
		}
		for _, s := range ran {
			if _, err := tx.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ran, nil
}

const columnsQuery = `
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attidentity <> ''
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped`

// uniqueQuery finds valid unique indices on one column, without a condition.
const uniqueQuery = `
SELECT c.relname, a.attname, i.relname
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY($1)
AND x.indisunique AND x.indisvalid AND x.indnkeyatts = 1 AND x.indpred IS NULL ORDER BY i.relname`

const refsQuery = `
SELECT c.relname, a.attname, k.conname, r.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND array_length(k.conkey, 1) = 1 AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY($1)`

// introspect reads what the database has of the wanted tables.
func introspect(ctx context.Context, tx pgx.Tx, want []Table) (map[string]live, error) {
	var names []string
	for _, t := range want {
		names = append(names, t.Name)
	}
	have := map[string]live{}
	var table, column, name, other string
	var c liveColumn
	batch := &pgx.Batch{}
	batch.Queue(columnsQuery, names).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&table, &column, &c.typ, &c.notNull, &c.hasDefault}, func() error {
			if _, ok := have[table]; !ok {
				have[table] = live{columns: map[string]liveColumn{}, unique: map[string]string{}, refs: map[string]liveRef{}}
			}
			have[table].columns[column] = c
			return nil
		})
		return err
	})
	batch.Queue(uniqueQuery, names).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&table, &column, &name}, func() error {
			have[table].unique[column] = name
			return nil
		})
		return err
	})
	batch.Queue(refsQuery, names).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&table, &column, &name, &other}, func() error {
			have[table].refs[column] = liveRef{constraint: name, table: other}
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return have, look(ctx, tx, have, want)
}

// look finds out whether there are records, and nulls, where it matters: a new
// required column, or an optional one that is to be required.
func look(ctx context.Context, tx pgx.Tx, have map[string]live, want []Table) error {
	exists := func(sql string) (found bool, err error) {
		err = tx.QueryRow(ctx, "SELECT EXISTS ("+sql+")").Scan(&found)
		return found, err
	}
	for _, t := range want {
		l, ok := have[t.Name]
		if !ok {
			continue
		}
		for _, c := range t.Columns {
			old, there := l.columns[c.Name]
			var err error
			switch {
			case !there && (c.NotNull || c.Unique):
				l.rows, err = exists("SELECT 1 FROM " + ident(t.Name))
			case there && c.NotNull && !old.notNull:
				old.nulls, err = exists("SELECT 1 FROM " + ident(t.Name) + " WHERE " + ident(c.Name) + " IS NULL")
				l.columns[c.Name] = old
			}
			if err != nil {
				return err
			}
		}
		have[t.Name] = l
	}
	return nil
}
