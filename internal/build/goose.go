package build

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/release"
)

// maxMigration is the largest migration file, in bytes.
const maxMigration = 4 << 20

var migrationName = regexp.MustCompile(`^([0-9]+)_.+\.sql$`)

// annotations are those of goose that a migration may use. ENVSUB is not among
// them: it puts variables of this process's environment into SQL.
var annotations = []string{"Up", "Down", "StatementBegin", "StatementEnd", "NO TRANSACTION"}

// checkMigration refuses what would fail, or do harm, only when it is run.
// versions has the files before it, by number.
func checkMigration(file string, versions map[int64]string) error {
	shown := path.Join("migrations", filepath.Base(file))
	name := migrationName.FindStringSubmatch(filepath.Base(file))
	if name == nil {
		return fault.Errorf(fault.Invalid, "%s: a migration's name is a number, an underscore and words, like 002_add_email.sql", shown)
	}
	version, err := strconv.ParseInt(name[1], 10, 64)
	if err != nil || version < 1 {
		return fault.Errorf(fault.Invalid, "%s: %s is no migration number", shown, name[1])
	}
	if other, ok := versions[version]; ok {
		return fault.Errorf(fault.Invalid, "%s and %s have the same number", path.Join("migrations", other), shown)
	}
	versions[version] = filepath.Base(file)
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() > maxMigration {
		return fault.Errorf(fault.Invalid, "%s is larger than %d MiB", shown, maxMigration>>20)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return checkAnnotations(shown, b)
}

// checkAnnotations reads annotations just as loosely as goose does, which finds
// one also in "-- EN+gooseVSUB ON".
func checkAnnotations(shown string, b []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxMigration+1)
	up := false
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if !strings.HasPrefix(strings.TrimSpace(line), "--") || !strings.Contains(line, "+goose") {
			continue
		}
		command := strings.TrimSpace(strings.Replace(strings.ReplaceAll(line, "--", ""), "+goose", "", 1))
		known := false
		for _, a := range annotations {
			known = known || strings.EqualFold(a, command)
		}
		if !known {
			return fault.Errorf(fault.Invalid, "%s:%d: +goose %s is not supported", shown, n, command).
				WithHint("use one of: %s", strings.Join(annotations, ", "))
		}
		up = up || strings.EqualFold(command, "Up")
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", shown, err)
	}
	if !up {
		return fault.Errorf(fault.Invalid, "%s: there is no line -- +goose Up", shown).WithHint("make it the first line")
	}
	return nil
}

// migrateFiles runs what is pending of a release's migrations, in the order of
// their numbers. Files that came in with a lower number than one that ran
// already, from a branch merged late, run too.
func migrateFiles(ctx context.Context, config *pgx.ConnConfig, dir string, files []release.File) ([]string, error) {
	pending, err := isPending(ctx, config, files)
	if err != nil || !pending {
		return nil, err
	}
	for _, f := range files {
		sum, _, err := hashFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return nil, err
		}
		if sum != f.SHA256 {
			return nil, fault.Errorf(fault.Transient, "%s on the volume is damaged", f.Path)
		}
	}
	failed := &failedQuery{}
	config = config.Copy()
	config.Tracer = failed
	db := stdlib.OpenDB(*config)
	defer db.Close()
	db.SetMaxOpenConns(1) // of the few the tenant's role may have
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(dir),
		goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true), goose.WithSessionLocker(sessionLock{}))
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "the migrations cannot be read: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, migrationError(ctx, err, dir, failed.sql)
	}
	var applied []string
	for _, r := range results {
		applied = append(applied, path.Base(r.Source.Path))
	}
	return applied, nil
}

// isPending asks, in one query, whether any of the files was not applied yet.
func isPending(ctx context.Context, config *pgx.ConnConfig, files []release.File) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, databaseError(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, _ := conn.Query(ctx, `SELECT DISTINCT ON (version_id) version_id FROM goose_db_version WHERE is_applied ORDER BY version_id`)
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P01" { // undefined_table: nothing ran yet
		return true, nil
	}
	if err != nil {
		return false, databaseError(err)
	}
	applied := map[int64]bool{}
	for _, v := range versions {
		applied[v] = true
	}
	for _, f := range files {
		if v, err := goose.NumericComponent(f.Path); err != nil || !applied[v] {
			return true, nil
		}
	}
	return false, nil
}

// migrationError says which file failed, where and why.
func migrationError(ctx context.Context, err error, dir, failedSQL string) error {
	var partial *goose.PartialError
	if ctx.Err() != nil {
		return fmt.Errorf("the migration was stopped: %w", ctx.Err())
	}
	if !errors.As(err, &partial) {
		if known := databaseError(err); fault.KindOf(known) != fault.Transient || errors.As(err, new(*pgconn.PgError)) {
			return known
		}
		if strings.Contains(err.Error(), "failed to prepare migration") {
			return fault.Errorf(fault.Invalid, "%w", err)
		}
		return databaseError(err)
	}
	file := path.Base(partial.Failed.Source.Path)
	where := "migrations/" + file
	var pg *pgconn.PgError
	if errors.As(err, &pg) && failedSQL != "" {
		if b, readErr := os.ReadFile(filepath.Join(dir, file)); readErr == nil {
			if line := lineOf(string(b), failedSQL, int(pg.Position)); line > 0 {
				where += ":" + strconv.Itoa(line)
			}
		}
	}
	classified := databaseError(partial.Err)
	if fault.KindOf(classified) != fault.Invalid || pg == nil {
		return fmt.Errorf("%s: %w", where, classified)
	}
	detail := describe(pg) + "\nstatement: " + excerpt(failedSQL)
	if n := len(partial.Applied); n > 0 {
		detail += fmt.Sprintf("\n%d migrations before it were applied and stay", n)
	}
	return fault.Errorf(fault.Invalid, "%s: %s", where, pg.Message).WithDetail(detail).
		WithHint("correct the file; a migration that was applied must not be changed, add another one")
}

func excerpt(statement string) string {
	const most = 600
	if r := []rune(statement); len(r) > most {
		return string(r[:most]) + " …"
	}
	return statement
}

// lineOf returns the line of a file, from 1, on which a statement has its
// error: position counts characters of the statement from 1. It returns 0 if
// the statement cannot be found just once.
func lineOf(file, statement string, position int) int {
	first, _, _ := strings.Cut(statement, "\n")
	if strings.Count(file, statement) == 1 {
		first = statement
	}
	if first == "" || strings.Count(file, first) != 1 {
		return 0
	}
	line := 1 + strings.Count(file[:strings.Index(file, first)], "\n")
	if r := []rune(statement); position > 0 && position <= len(r) {
		line += strings.Count(string(r[:position-1]), "\n")
	}
	return line
}

// failedQuery remembers the statement that failed last. One connection uses it.
type failedQuery struct{ sql string }

type queryKey struct{}

// TraceQueryStart implements pgx.QueryTracer.
func (f *failedQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, queryKey{}, d.SQL)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (f *failedQuery) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	if d.Err != nil {
		f.sql, _ = ctx.Value(queryKey{}).(string)
	}
}

// sessionLock serialises migrations of one database. Unlike goose's own it
// waits in Postgres, not asking every five seconds; lock_timeout bounds it.
type sessionLock struct{}

// lockKey is any number that nobody else would choose.
const lockKey = 0x6769746f707364

// SessionLock implements lock.SessionLocker.
func (sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey))
	return err
}

// SessionUnlock implements lock.SessionLocker.
func (sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", int64(lockKey))
	return err
}
