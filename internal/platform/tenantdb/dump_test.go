package tenantdb_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
)

// hostile is what a tenant may do to its own database, by mistake or to keep what
// is its from being saved, and so from being taken away.
var hostile = map[string][]string{
	"nothing":     {},
	"table":       {`REVOKE ALL ON secret FROM CURRENT_USER`, `REVOKE ALL ON own.more FROM CURRENT_USER`},
	"sequence":    {`REVOKE ALL ON SEQUENCE secret_id_seq FROM CURRENT_USER`},
	"schema":      {`REVOKE ALL ON SCHEMA own FROM CURRENT_USER`},
	"rows":        {`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`},
	"policy":      {`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`, `CREATE POLICY none ON secret AS RESTRICTIVE USING (false)`},
	"own-rows":    {`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`},
	"object":      {`REVOKE ALL ON LARGE OBJECT 4711 FROM CURRENT_USER`},
	"database":    {`REVOKE ALL ON DATABASE t_database FROM CURRENT_USER`},
	"connections": {`ALTER DATABASE t_connections CONNECTION LIMIT 0`},
	"closed":      {}, // see below
	"library":     {`ALTER DATABASE t_library SET local_preload_libraries = 'nope'`, `ALTER ROLE t_library SET local_preload_libraries = 'nope'`},
	"role":        {`ALTER DATABASE t_role SET role = 't_role'`, `ALTER DATABASE t_role SET row_security = on`},
	"slow":        {`ALTER DATABASE t_slow SET statement_timeout = '1ms'`, `ALTER DATABASE t_slow SET idle_session_timeout = '1ms'`},
	"read-only":   {`ALTER DATABASE "t_read-only" SET default_transaction_read_only = on`, `ALTER ROLE "t_read-only" SET default_transaction_read_only = on`},
	"extension":   {`CREATE EXTENSION hstore`, `ALTER EXTENSION hstore ADD TABLE secret`, `ALTER EXTENSION hstore ADD TABLE own.more`, `ALTER EXTENSION hstore ADD SCHEMA own`},
	"shadowed":    {`CREATE SCHEMA pg; CREATE TABLE public.pg_class (x int); CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'`, `ALTER DATABASE t_shadowed SET search_path = public, pg_catalog`},
	"everything": {
		`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`, `REVOKE ALL ON secret FROM CURRENT_USER`,
		`CREATE EXTENSION hstore`, `ALTER EXTENSION hstore ADD TABLE secret`, `REVOKE ALL ON SCHEMA own FROM CURRENT_USER`,
		`REVOKE ALL ON DATABASE t_everything FROM CURRENT_USER`, `ALTER DATABASE t_everything CONNECTION LIMIT 0`,
	},
}

// secure are those whose table is closed to its owner, which a restore keeps.
var secure = []string{"rows", "policy", "everything"}

// What a tenant did to its database keeps nothing of it from being saved and from
// coming back: as a role that is no superuser, and with a Reader where one can be had.
func TestDumpIsWhole(t *testing.T) {
	for _, reads := range []string{"by the master", "by a reader"} {
		t.Run(reads, func(t *testing.T) {
			if reads == "by a reader" {
				withReader(t)
			}
			d := cluster(t)
			for name, statements := range hostile {
				t.Run(name, func(t *testing.T) { wholeDump(t, d, name, statements) })
			}
		})
	}
}

func wholeDump(t *testing.T, d *tenantdb.Databases, name string, statements []string) {
	if slices.Contains(statements, `CREATE EXTENSION hstore`) && !available(t, "hstore") {
		t.Skip("this Postgres comes without hstore")
	}
	if err := d.Ensure(t.Context(), name, "pw", 5); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gone(t, d, name) })
	conn := mustAs(t, d.URL(name, "pw"))
	exec(t, conn, slices.Concat([]string{
		`CREATE TABLE secret (id serial PRIMARY KEY, word text)`, `INSERT INTO secret (word) VALUES ('kept'), ('kept too')`,
		`CREATE SCHEMA own`, `CREATE TABLE own.more AS SELECT 1 AS n`, `SELECT lo_from_bytea(4711, 'large')`,
	}, statements)...)
	if name == "closed" { // from another database that it may enter
		exec(t, superAt(t, "ledger"), `ALTER DATABASE t_closed ALLOW_CONNECTIONS false`)
	}
	dump := save(t, d, name)
	if n, err := d.Tables(t.Context(), dump); err != nil || n != 2 && name != "shadowed" {
		t.Errorf("the rows of %d tables are in it, %v", n, err)
	}
	restore(t, d, name, dump)
	super := superAt(t, name)
	var words, flags string
	err := super.QueryRow(t.Context(), `SELECT (SELECT string_agg(word, ',' ORDER BY id) FROM secret) || ',' || (SELECT sum(n) FROM own.more)
			|| ',' || convert_from(lo_get(4711), 'UTF8') || ',' || nextval('secret_id_seq'),
		(SELECT relrowsecurity || ',' || relforcerowsecurity || ',' || (SELECT count(*) FROM pg_policy WHERE polname <> 'none')
			FROM pg_class WHERE relname = 'secret' AND relnamespace = 'public'::regnamespace)`).Scan(&words, &flags)
	if err != nil || words != "kept,kept too,1,large,3" {
		t.Errorf("what came back: %q, %v", words, err)
	}
	want := fmt.Sprintf("%t,%t,0", slices.Contains(secure, name) || name == "own-rows", slices.Contains(secure, name))
	if flags != want {
		t.Errorf("row security, forced, policies of ours: %s, want %s", flags, want)
	}
}

// What another tenant was let in for, and took from its host, does not keep the
// host's data from being saved; nor the other from going.
func TestDumpWithAnothersTables(t *testing.T) {
	for _, reads := range []string{"by the master", "by a reader"} {
		t.Run(reads, func(t *testing.T) {
			if reads == "by a reader" {
				withReader(t)
			}
			d := cluster(t)
			for _, name := range []string{"landlord", "lodger"} {
				if err := d.Ensure(t.Context(), name, "pw", 5); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { gone(t, d, name) })
			}
			exec(t, mustAs(t, d.URL("landlord", "pw")),
				`GRANT CONNECT ON DATABASE t_landlord TO t_lodger`, `GRANT CREATE, USAGE ON SCHEMA public TO t_lodger`)
			exec(t, mustAs(t, strings.Replace(d.URL("lodger", "pw"), "/t_lodger?", "/t_landlord?", 1)),
				`CREATE TABLE secret AS SELECT 'left behind' AS word`, `SELECT lo_from_bytea(99, 'left behind')`,
				`REVOKE ALL ON secret FROM CURRENT_USER`, `REVOKE ALL ON LARGE OBJECT 99 FROM CURRENT_USER`,
				`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`)
			dump := save(t, d, "landlord")
			exec(t, superAt(t, "ledger"), `ALTER DATABASE t_landlord CONNECTION LIMIT 0`)
			if err := d.Drop(t.Context(), "lodger"); err != nil {
				t.Fatal(err)
			}
			restore(t, d, "landlord", dump)
			var words string
			err := superAt(t, "landlord").QueryRow(t.Context(), `SELECT (SELECT word FROM secret) || ',' || convert_from(lo_get(99), 'UTF8')`).Scan(&words)
			if err != nil || words != "left behind,left behind" {
				t.Errorf("what came back: %q, %v", words, err)
			}
		})
	}
}

// A dump that is refused is no dump: somebody whom the master is not has rows here.
func TestDumpOfAStrangersRows(t *testing.T) {
	d := cluster(t)
	if err := d.Ensure(t.Context(), "strange", "pw", 5); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gone(t, d, "strange") })
	super := superAt(t, "strange")
	exec(t, super, `CREATE TABLE theirs AS SELECT 1 AS n`)
	out, err := os.Create(filepath.Join(t.TempDir(), "dump"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := d.Dump(t.Context(), "strange", out); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("%v, want Invalid and what cannot be read", err)
	}
	exec(t, super, `GRANT SELECT ON theirs TO PUBLIC`, `ALTER TABLE theirs ENABLE ROW LEVEL SECURITY`)
	if err := d.Dump(t.Context(), "strange", out); err == nil || !strings.Contains(fault.RecordOf(err).Detail, "row-level security") {
		t.Errorf("%+v, want that pg_dump does not leave out rows", fault.RecordOf(err))
	}
}

// A copy that is being made, and one that was left, keep nobody out for good; and
// no other tenant gets in.
func TestCopyIsEnded(t *testing.T) {
	d := cluster(t)
	for _, name := range []string{"copied", "nosy"} {
		if err := d.Ensure(t.Context(), name, "pw", 5); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { gone(t, d, name) })
	}
	own := mustAs(t, d.URL("copied", "pw"))
	exec(t, own, `CREATE TABLE secret AS SELECT repeat(i::text, 1000) FROM generate_series(1, 2000) i`,
		`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`)
	cut := 0
	for wait := time.Millisecond; wait < time.Second; wait = wait * 3 / 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		out, err := os.Create(filepath.Join(t.TempDir(), "dump"))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Dump(ctx, "copied", out); err != nil {
			cut++
		}
		cancel()
		out.Close()
		left, err := d.Leftover(t.Context(), "copied")
		if err != nil || left != (tenantdb.Leftover{}) {
			t.Fatalf("cut after %s it leaves %+v, %v", wait, left, err)
		}
		mustAs(t, d.URL("copied", "pw")).Close(t.Context())
	}
	if cut == 0 {
		t.Error("none was cut")
	}
	// As one that was killed leaves it.
	exec(t, superAt(t, "ledger"), `ALTER DATABASE t_copied ALLOW_CONNECTIONS false`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 't_copied'`,
		`CREATE DATABASE "t_copied.copy" OWNER rds TEMPLATE t_copied ALLOW_CONNECTIONS false`)
	if left, err := d.Leftover(t.Context(), "copied"); err != nil || !left.Copy || !left.Closed {
		t.Errorf("left: %+v, %v", left, err)
	}
	if err := d.Settle(t.Context(), "copied", func() (bool, error) { return false, nil }); err != nil {
		t.Fatal(err)
	}
	if left, err := d.Leftover(t.Context(), "copied"); err != nil || left != (tenantdb.Leftover{}) {
		t.Errorf("after it was settled: %+v, %v", left, err)
	}
	mustAs(t, d.URL("copied", "pw"))
	nosy := strings.Replace(d.URL("nosy", "pw"), "/t_nosy?", "/t_copied?", 1)
	if conn, err := as(t.Context(), nosy); err == nil {
		conn.Close(t.Context())
		t.Error("another tenant may enter")
	}
}

func save(t *testing.T, d *tenantdb.Databases, name string) *os.File {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "dump"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	if err := d.Dump(t.Context(), name, out); err != nil {
		t.Fatalf("%v: %s", err, fault.RecordOf(err).Detail)
	}
	rewind(t, out)
	return out
}

func rewind(t *testing.T, f *os.File) {
	t.Helper()
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
}

// restore takes the tenant's database away, and has it back.
func restore(t *testing.T, d *tenantdb.Databases, name string, dump *os.File) {
	t.Helper()
	rewind(t, dump)
	if err := d.Restore(t.Context(), name, "pw", dump); err != nil {
		t.Fatalf("%v: %s", err, fault.RecordOf(err).Detail)
	}
	if err := d.Swap(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := d.Settle(t.Context(), name, func() (bool, error) { return true, nil }); err != nil {
		t.Fatal(err)
	}
	if left, err := d.Leftover(t.Context(), name); err != nil || left != (tenantdb.Leftover{}) {
		t.Errorf("left: %+v, %v", left, err)
	}
}

func available(t *testing.T, extension string) (there bool) {
	t.Helper()
	err := superAt(t, "ledger").QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)`, extension).Scan(&there)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// From Postgres 16 on, a master that bypasses row security makes a Reader that does.
func TestSealMakesAReader(t *testing.T) {
	d := cluster(t)
	super := superAt(t, "ledger")
	reader := func() (there bool) {
		t.Helper()
		if err := d.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := super.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gitopsd_reader')`).Scan(&there); err != nil {
			t.Fatal(err)
		}
		return there
	}
	if reader() {
		t.Error("a master that does not bypass row security made a role that does")
	}
	exec(t, super, `ALTER ROLE rds BYPASSRLS`)
	t.Cleanup(func() { exec(t, super, `ALTER ROLE rds NOBYPASSRLS`, `DROP ROLE IF EXISTS gitopsd_reader`) })
	var version int
	if err := super.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if there := reader(); there != (version >= 160000) {
			t.Errorf("Postgres %d: it made one: %t", version, there)
		}
	}
	wholeDump(t, d, "policy", hostile["policy"])
}

// withReader has a Reader there, as where a superuser sets the server up.
func withReader(t *testing.T) {
	t.Helper()
	super := mustAs(t, server.URL("postgres"))
	exec(t, super, `CREATE ROLE gitopsd_reader NOLOGIN BYPASSRLS`, `GRANT gitopsd_reader TO rds WITH ADMIN OPTION`)
	t.Cleanup(func() { exec(t, super, `DROP ROLE gitopsd_reader`) })
}

func gone(t *testing.T, d *tenantdb.Databases, name string) {
	if err := d.Drop(context.Background(), name); err != nil {
		t.Errorf("drop %s: %v", name, err)
	}
	var left []string
	err := mustAs(t, server.URL("postgres")).QueryRow(context.Background(),
		`SELECT array_agg(datname) FROM pg_database WHERE datname LIKE 't\_' || $1 || '%'`, name).Scan(&left)
	if err != nil || len(left) > 0 {
		t.Errorf("databases are left of %s: %v, %v", name, left, err)
	}
}

// superAt connects to a tenant's database as who sees everything.
func superAt(t *testing.T, name string) *pgx.Conn {
	t.Helper()
	if name != "ledger" {
		name = "t_" + name
	}
	return mustAs(t, server.URL(name))
}

func exec(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := conn.Exec(context.Background(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}
