package postgresd_test

import (
	"os"
	"path/filepath"
	"testing"
)

// A tenant may take any right from itself, by mistake or to keep what is its from
// being saved, and so from being taken away.
func TestDumpsWhatATenantClosed(t *testing.T) {
	f := open(t)
	for name, statements := range map[string][]string{
		"nothing":     {},
		"table":       {`REVOKE ALL ON secret FROM CURRENT_USER`},
		"sequence":    {`REVOKE ALL ON SEQUENCE secret_id_seq FROM CURRENT_USER`},
		"schema":      {`REVOKE ALL ON SCHEMA own FROM CURRENT_USER`},
		"rows":        {`ALTER TABLE secret ENABLE ROW LEVEL SECURITY`, `ALTER TABLE secret FORCE ROW LEVEL SECURITY`},
		"object":      {`REVOKE ALL ON LARGE OBJECT 4711 FROM CURRENT_USER`},
		"database":    {`REVOKE ALL ON DATABASE t_database FROM CURRENT_USER`},
		"connections": {`ALTER DATABASE t_connections CONNECTION LIMIT 0`},
		"library":     {`ALTER DATABASE t_library SET local_preload_libraries = 'nope'`, `ALTER ROLE t_library SET local_preload_libraries = 'nope'`},
		"role":        {`ALTER DATABASE t_role SET role = 'nobody'`, `ALTER DATABASE t_role SET row_security = on`},
		"read only":   {},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := name
			if name == "read only" {
				tenant = "readonly"
				statements = []string{`ALTER DATABASE t_readonly SET default_transaction_read_only = on`, `ALTER DATABASE t_readonly SET statement_timeout = '1ms'`}
			}
			conn := f.tenant(t, tenant)
			for _, q := range append([]string{
				`CREATE TABLE secret (id serial PRIMARY KEY, word text)`, `INSERT INTO secret (word) VALUES ('kept')`,
				`CREATE SCHEMA own`, `CREATE TABLE own.more AS SELECT 1 AS n`, `SELECT lo_from_bytea(4711, 'large')`,
			}, statements...) {
				exec1(t, conn, q)
			}
			path := filepath.Join(t.TempDir(), "dump")
			if err := f.s.Dump(t.Context(), tenant, path); err != nil {
				t.Fatal(err)
			}
			dump, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer dump.Close()
			if n, err := f.s.Tables(t.Context(), dump); err != nil || n != 2 {
				t.Errorf("the rows of %d tables are in it, %v", n, err)
			}
		})
	}
}
