package migration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"pgregory.net/rapid"
)

// A file is cut into the same pieces as by goose, or refused where goose
// refuses it.
func TestReadsAsGooseDoes(t *testing.T) {
	t.Parallel()
	line := rapid.SampledFrom([]string{
		"-- +goose Up", "-- +goose Up", "-- +goose Down", "-- +goose StatementBegin", "-- +goose StatementEnd", "-- +goose NO TRANSACTION",
		"--+goose up", "-- +goose  no transaction", " -- +goose Up", "-- +goose Upp", "-- +goose Up +goose", "-- +goose", "-- a +goose b", "--+gooseU--p",
		"", "  ", "\t", "-- comment;", "  -- comment", "a;", "a", "b; -- c", "b -- c;", "c;d;", "e ;", "'x;", "f;--g", "f; --g", "h;\r", "/* i; */", "\u00a0;", "j--k;",
	})
	same, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(line, 0, 14).Draw(rt, "lines")
		if rapid.Bool().Draw(rt, "begun") {
			lines = append([]string{"-- +goose Up"}, lines...)
		}
		content := strings.Join(lines, "\n")
		want, tx, gooseErr := runGoose(t, content)
		got, err := readScript([]byte(content))
		if (err != nil) != (gooseErr != nil) {
			rt.Fatalf("%q: goose says %v, we say %v", content, gooseErr, err)
		}
		if err != nil {
			refused++
			return
		}
		same++
		var have []string
		for _, c := range got.up {
			have = append(have, c.sql)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			rt.Fatalf("%q:\n%s", content, diff)
		}
		if len(want) > 0 && tx != got.tx {
			rt.Fatalf("%q: in a transaction: %v, we say %v", content, tx, got.tx)
		}
		for _, c := range got.up {
			first, _, _ := strings.Cut(c.sql, "\n")
			if c.line < 1 || c.line > len(lines) || c.sql != "" && !strings.Contains(lines[c.line-1], strings.TrimSpace(first)) && strings.TrimSpace(lines[c.line-1]) != "" {
				rt.Fatalf("%q: %q is not on line %d", content, c.sql, c.line)
			}
		}
	})
	if same == 0 || refused == 0 {
		t.Errorf("%d files were read, %d refused", same, refused)
	}
}

// runGoose has goose run a file on a database that only remembers what it is told.
func runGoose(t *testing.T, content string) (statements []string, tx bool, err error) {
	t.Helper()
	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectCustom, db, fstest.MapFS{"001_a.sql": {Data: []byte(content)}},
		goose.WithStore(rec), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Up(t.Context())
	return rec.statements, rec.inTx, err
}

// recorder is a database without anything behind it, and goose's store.
type recorder struct {
	mu         sync.Mutex
	statements []string
	tx, inTx   bool
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return recorderConn{r}, nil }
func (r *recorder) Driver() driver.Driver                        { return nil }

type recorderConn struct{ r *recorder }

var errUnused = errors.New("goose is not expected to do this")

func (c recorderConn) Prepare(string) (driver.Stmt, error) { return nil, errUnused }
func (c recorderConn) Close() error                        { return nil }
func (c recorderConn) Begin() (driver.Tx, error)           { c.r.tx = true; return recorderTx(c), nil }

func (c recorderConn) ExecContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.statements, c.r.inTx = append(c.r.statements, q), c.r.tx
	return driver.ResultNoRows, nil
}

type recorderTx struct{ r *recorder }

func (t recorderTx) Commit() error   { t.r.tx = false; return nil }
func (t recorderTx) Rollback() error { t.r.tx = false; return nil }

func (r *recorder) Tablename() string { return "versions" }
func (r *recorder) CreateVersionTable(context.Context, database.DBTxConn) error {
	return nil
}

func (r *recorder) Insert(context.Context, database.DBTxConn, database.InsertRequest) error {
	return nil
}

func (r *recorder) Delete(context.Context, database.DBTxConn, int64) error { return errUnused }

func (r *recorder) GetMigration(context.Context, database.DBTxConn, int64) (*database.GetMigrationResult, error) {
	return &database.GetMigrationResult{IsApplied: true}, nil
}

func (r *recorder) GetLatestVersion(context.Context, database.DBTxConn) (int64, error) { return 0, nil }

func (r *recorder) ListMigrations(context.Context, database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	return []*database.ListMigrationsResult{{Version: 0, IsApplied: true}}, nil
}
