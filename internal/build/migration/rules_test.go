package migration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

var update = flag.Bool("update", false, "write the expected output anew")

var server *postgrestest.Server

func TestMain(m *testing.M) {
	postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
}

type ruleCase struct {
	name, sql string
	tx        bool
}

// ruleCases reads testdata/rules.txt: "### name", then SQL.
func ruleCases(t *testing.T) []ruleCase {
	t.Helper()
	b, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []ruleCase
	for _, part := range strings.Split(string(b), "### ")[1:] {
		name, sql, _ := strings.Cut(part, "\n")
		all = append(all, ruleCase{name, sql, !strings.HasSuffix(name, "(no transaction)")})
	}
	return all
}

func (c ruleCase) judge(t *testing.T) (script, *report) {
	t.Helper()
	head := "-- +goose Up\n"
	if !c.tx {
		head = "-- +goose NO TRANSACTION\n" + head
	}
	s, err := readScript([]byte(head + c.sql))
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return s, newAnalyser(false).script(s)
}

func TestVerdictsGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, c := range ruleCases(t) {
		_, r := c.judge(t)
		fmt.Fprintf(&b, "### %s: %s\n", c.name, r.verdict)
		for _, w := range r.why {
			fmt.Fprintln(&b, "  "+w)
		}
	}
	const golden = "testdata/rules.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("differs from %s (run with -update):\n%s", golden, diff)
	}
}

// world is what the cases work on.
const world = `
CREATE SCHEMA other; CREATE TABLE other.later (id int);
CREATE TABLE users (id bigint PRIMARY KEY, email text, age int, created timestamptz DEFAULT now());
CREATE TABLE posts (id bigint, user_id bigint, body text);
CREATE TABLE "Old Names" (id int);
CREATE TABLE archive (id bigint);
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
CREATE UNIQUE INDEX users_age ON users (age);
ALTER TABLE users ADD CONSTRAINT young CHECK (age < 200) NOT VALID;
CREATE VIEW old_view AS SELECT 1;
CREATE MATERIALIZED VIEW summary AS SELECT 1;
CREATE SEQUENCE users_n;
CREATE TYPE state AS ENUM ('a');
CREATE FUNCTION mine(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
INSERT INTO users (id, email, age) VALUES (7, 'a', 3);`

// What the reasons say of locks and of tables that are written anew is what
// Postgres does; and each piece that is judged is one statement to it.
func TestPostgresDoesWhatIsSaid(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn := connect(t)
	if _, err := conn.Exec(ctx, world); err != nil {
		t.Fatal(err)
	}
	for _, c := range ruleCases(t) {
		if !c.tx || c.name == "not closed" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s, r := c.judge(t)
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = conn.Exec(ctx, "ROLLBACK") }() // also where COMMIT was tried
			before := filenodes(t, tx)
			for _, chunk := range s.up {
				tokens, err := lex(chunk.sql)
				if err != nil {
					t.Fatal(err)
				}
				for _, st := range split(tokens) {
					piece := chunk.sql[st[0].at:st[len(st)-1].end]
					_, err := tx.Conn().PgConn().Prepare(ctx, "", piece, nil)
					if err == nil {
						_, err = tx.Conn().PgConn().Exec(ctx, piece).ReadAll()
					}
					var pg *pgconn.PgError
					switch {
					case errors.As(err, &pg) && pg.Code == "25001" && r.verdict == Error: // active_sql_transaction
						return
					case err != nil:
						t.Fatalf("%s: %v", piece, err)
					}
				}
			}
			if c.name == "commit in a transaction" || c.name == "drop table" || strings.HasPrefix(c.name, "dropped") {
				return
			}
			checkLocks(t, tx, r)
			checkRewritten(t, before, filenodes(t, tx), r)
		})
	}
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

var lockName = regexp.MustCompile(`\(([A-Z ]+) lock\)`)

func checkLocks(t *testing.T, tx pgx.Tx, r *report) {
	t.Helper()
	rows, _ := tx.Query(t.Context(), `SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
		AND relation::regclass::text IN ('users', 'posts', 'parts', 'summary', 'archive', 'orders', 'later', 'users_age')`)
	held, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	all := " " + strings.Join(held, " ") + " "
	for _, w := range r.why {
		for _, m := range lockName.FindAllStringSubmatch(w, -1) {
			mode := ""
			for part := range strings.FieldsSeq(m[1]) {
				mode += part[:1] + strings.ToLower(part[1:])
			}
			if !strings.Contains(all, " "+mode+"Lock ") {
				t.Errorf("Postgres took %v: %s", held, w)
			}
		}
	}
	for _, strong := range []string{"ShareLock", "ShareRowExclusiveLock"} { // on tables of others, for long
		if r.verdict == Safe && strings.Contains(all, " "+strong+" ") && !strings.Contains(all, " AccessExclusiveLock ") {
			t.Logf("safe, with %s", strong)
		}
	}
}

// filenodes returns where the tables' contents are, by table.
func filenodes(t *testing.T, tx pgx.Tx) map[string]uint32 {
	t.Helper()
	rows, _ := tx.Query(t.Context(), `SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname IN ('users', 'posts', 'archive')`)
	all := map[string]uint32{}
	var name string
	var node uint32
	if _, err := pgx.ForEachRow(rows, []any{&name, &node}, func() error { all[name] = node; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func checkRewritten(t *testing.T, before, after map[string]uint32, r *report) {
	t.Helper()
	rewritten := ""
	for name, node := range before {
		if now, ok := after[name]; ok && now != node {
			rewritten += name + " "
		}
	}
	why := strings.Join(r.why, "\n")
	if said := strings.Contains(why, "written anew"); said != (rewritten != "") && !strings.Contains(why, "TRUNCATE") {
		t.Errorf("written anew: %q, but it is said: %s", rewritten, why)
	}
}
