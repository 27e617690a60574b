package postgresd_test

import (
	"os"
	"path/filepath"
	"testing"
)

// The role that setUp makes reads what a tenant took from itself; tenantdb's tests
// have all that a tenant may do.
func TestDumpsWhatATenantClosed(t *testing.T) {
	f := open(t)
	for name, statements := range map[string][]string{
		"rows":     {`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`},
		"object":   {`REVOKE ALL ON LARGE OBJECT 4711 FROM CURRENT_USER`},
		"database": {`REVOKE ALL ON DATABASE t_database FROM CURRENT_USER`},
	} {
		t.Run(name, func(t *testing.T) {
			conn := f.tenant(t, name)
			for _, q := range append([]string{
				`CREATE TABLE secret (id serial PRIMARY KEY, word text)`, `INSERT INTO secret (word) VALUES ('kept')`,
				`CREATE SCHEMA own`, `CREATE TABLE own.more AS SELECT 1 AS n`, `SELECT lo_from_bytea(4711, 'large')`,
			}, statements...) {
				exec1(t, conn, q)
			}
			path := filepath.Join(t.TempDir(), "dump")
			if err := f.dump(t, name, path); err != nil {
				t.Fatal(err)
			}
			dump, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer dump.Close()
			if n, err := f.s.Databases().Tables(t.Context(), dump); err != nil || n != 2 {
				t.Errorf("the rows of %d tables are in it, %v", n, err)
			}
		})
	}
}
