package tenantdb_test

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/tenantdb"
)

// cluster is a Postgres as RDS sets one up: the master role is no superuser, and
// owns the databases that are there.
func cluster(t *testing.T) *tenantdb.Databases {
	t.Helper()
	d, err := tenantdb.Open(t.Context(), tenantdb.Config{Master: master(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func master(t *testing.T) tenantdb.Master {
	t.Helper()
	u, err := url.Parse(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return tenantdb.Master{
		Host: u.Query().Get("host"), User: "rds", Database: "ledger",
		Password: func(context.Context) (string, error) { return "", nil },
	}
}

// as connects as a tenant, or fails with what the server says.
func as(ctx context.Context, address string) (*pgx.Conn, error) { return pgx.Connect(ctx, address) }

func mustAs(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := as(context.Background(), address) // in a cleanup too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// second opens a connection beside another where two are allowed: those that were
// refused before count until their processes have ended.
func second(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := as(t.Context(), address)
		if err == nil {
			t.Cleanup(func() { conn.Close(context.Background()) })
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestDatabaseOfATenant(t *testing.T) {
	d := cluster(t)
	if err := d.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Ensure(t.Context(), "acme", "secret1", 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Ensure(t.Context(), "other", "secret2", 2); err != nil {
		t.Fatal(err)
	}
	own := mustAs(t, d.URL("acme", "secret1"))
	if _, err := own.Exec(t.Context(), "CREATE TABLE things (v text)"); err != nil {
		t.Fatal(err)
	}
	for _, database := range []string{"t_other", "postgres", "ledger", "template1"} {
		u, _ := url.Parse(d.URL("acme", "secret1"))
		u.Path = "/" + database
		if conn, err := as(t.Context(), u.String()); err == nil {
			conn.Close(t.Context())
			t.Errorf("a tenant may enter the database %s", database)
		}
	}
	for _, q := range []string{"SET ROLE t_other", "CREATE ROLE x", "CREATE DATABASE x", "SELECT * FROM pg_authid", "ALTER ROLE t_acme CONNECTION LIMIT 99"} {
		if _, err := own.Exec(t.Context(), q); err == nil {
			t.Errorf("a tenant may %s", q)
		}
	}
	second(t, d.URL("acme", "secret1"))
	if conn, err := as(t.Context(), d.URL("acme", "secret1")); err == nil {
		conn.Close(t.Context())
		t.Error("a third connection, where two are allowed")
	}
	for range 2 { // with connections that stand
		if err := d.Drop(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if role, database, err := d.Has(t.Context(), "acme"); err != nil || role || database {
		t.Errorf("after it was dropped: role %t, database %t (%v)", role, database, err)
	}
	if role, database, err := d.Has(t.Context(), "other"); err != nil || !role || !database {
		t.Errorf("the other's: role %t, database %t (%v)", role, database, err)
	}
	if err := d.Drop(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseThatIsSomebodyElses(t *testing.T) {
	d := cluster(t)
	super := mustAs(t, server.URL("postgres"))
	run := func(q string) {
		t.Helper()
		if _, err := super.Exec(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE ROLE t_taken")
	run("CREATE DATABASE t_foreign")
	t.Cleanup(func() { run("DROP ROLE t_taken"); run("DROP DATABASE t_foreign") })
	for _, name := range []string{"taken", "foreign"} {
		if err := d.Ensure(t.Context(), name, "x", 1); !fault.Is(err, fault.Conflict) {
			t.Errorf("made %s: %v, want Conflict", name, err)
		}
		if err := d.Drop(t.Context(), name); !fault.Is(err, fault.Conflict) {
			t.Errorf("dropped %s: %v, want Conflict", name, err)
		}
	}
	for _, name := range []string{"../etc", "", "a_b", `a"b`, "A"} {
		if err := d.Ensure(t.Context(), name, "x", 1); !fault.Is(err, fault.Invalid) {
			t.Errorf("tenant %q: %v, want Invalid", name, err)
		}
	}
}

// A grant in another tenant's database does not keep a role from going.
func TestDropWithGrantsElsewhere(t *testing.T) {
	d := cluster(t)
	for _, name := range []string{"guest", "host"} {
		if err := d.Ensure(t.Context(), name, "pw", 3); err != nil {
			t.Fatal(err)
		}
	}
	host := mustAs(t, d.URL("host", "pw"))
	for _, q := range []string{"CREATE TABLE shared (v text)", "GRANT SELECT ON shared TO t_guest", "GRANT CONNECT ON DATABASE t_host TO t_guest"} {
		if _, err := host.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"guest", "host"} {
		if err := d.Drop(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// Many at once end in one role each, and the same one from two sides does too.
func TestEnsureAtOnce(t *testing.T) {
	d := cluster(t)
	names := []string{"at-once-1", "at-once-1", "at-once-2", "at-once-3", "at-once-3", "at-once-4"}
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() {
			if err := d.Ensure(t.Context(), name, "pw", 1); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	group.Wait()
	for _, name := range slices.Compact(names) {
		if err := d.Drop(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}
