package migration_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/build/migration"
)

// app is an app's directory with these migrations.
func app(files ...string) fstest.MapFS {
	m := fstest.MapFS{"main.go": {Data: []byte("package main")}}
	for i := 0; i < len(files); i += 2 {
		m["migrations/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

const (
	users = "-- +goose Up\nCREATE TABLE users (id bigint, email text);\n-- +goose Down\nDROP TABLE users;\n"
	index = "-- +goose Up\n-- makes it fast\nCREATE INDEX ON users (email);\n"
	drop  = "-- +goose Up\nALTER TABLE users DROP COLUMN email;\n"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after fs.FS
		want          string // name verdict why, a line each
	}{
		"none":          {app(), app(), ""},
		"same":          {app("001_users.sql", users), app("001_users.sql", users), ""},
		"new app":       {nil, app("001_users.sql", users, "002_index.sql", index, "003_drop.sql", drop), "001_users.sql safe\n002_index.sql safe\n003_drop.sql safe\n"},
		"not empty":     {fstest.MapFS{}, app("001_users.sql", users, "002_index.sql", index), "001_users.sql safe\n002_index.sql safe\n"},
		"in order":      {app("1_users.sql", users), app("1_users.sql", users, "10_drop.sql", drop, "9_index.sql", index), "9_index.sql caution SHARE\n10_drop.sql destructive email of users\n"},
		"late":          {app("001_users.sql", users, "003_index.sql", index), app("001_users.sql", users, "003_index.sql", index, "002_drop.sql", drop), "002_drop.sql destructive email of users; It runs after 003_index.sql\n"},
		"changed":       {app("001_users.sql", users), app("001_users.sql", strings.Replace(users, "bigint", "int", 1)), "001_users.sql error does not run again\n"},
		"changed mode":  {app("001_users.sql", users), app("001_users.sql", "-- +goose NO TRANSACTION\n"+users), "001_users.sql error does not run again\n"},
		"changed down":  {app("001_users.sql", users), app("001_users.sql", users+"SELECT 1;\n"), ""},
		"changed words": {app("001_users.sql", index), app("001_users.sql", "-- +goose Up\ncreate INDEX on /* the */ users\n  (email);\n"), ""},
		"changed text":  {app("001_users.sql", "-- +goose Up\nSELECT 'A';\n"), app("001_users.sql", "-- +goose Up\nSELECT 'a';\n"), "001_users.sql error does not run again\n"},
		"renamed":       {app("001_users.sql", users), app("1_people.sql", users), ""},
		"removed":       {app("001_users.sql", users, "002_index.sql", index), app("001_users.sql", users), "002_index.sql error undoes nothing\n"},
		"moved away":    {app("001_users.sql", users), fstest.MapFS{}, "001_users.sql error undoes nothing\n"},
		"bad name":      {app(), app("users.sql", users, "notes.txt", "x", "0_a.sql", users, "99999999999999999999_a.sql", users), "0_a.sql error no migration number\n99999999999999999999_a.sql error no migration number\nusers.sql error name is a number\n"},
		"two of one":    {app(), app("1_a.sql", users, "001_b.sql", index), "001_b.sql caution SHARE\n1_a.sql error same number as 001_b.sql\n"},
		"no Up":         {app(), app("1_a.sql", "CREATE TABLE a ();"), "1_a.sql error before -- +goose Up\n"},
		"spoilt":        {app("1_a.sql", users), app("1_a.sql", "oh no"), "1_a.sql error before -- +goose Up\n"},
		"was spoilt":    {app("1_a.sql", "oh no"), app("1_a.sql", index), "1_a.sql caution SHARE\n"},
		"envsub":        {app(), app("1_a.sql", "-- +goose Up\n-- +goose ENVSUB ON\nSELECT '$HOME';"), "1_a.sql error ENVSUB\n"},
		"no semicolon":  {app(), app("1_a.sql", "-- +goose Up\nSELECT 1"), "1_a.sql error line 2: the statement has no semicolon\n"},
		"cut string":    {app(), app("1_a.sql", "-- +goose Up\nDO $$\nBEGIN;\nEND $$;"), "1_a.sql error the string that begins with $$ is not closed\n"},
		"no directory":  {app("1_a.sql", users), fstest.MapFS{"migrations": {Data: []byte("x")}}, "1_a.sql error undoes nothing\nmigrations error not a directory\n"},
		"link":          {app(), fstest.MapFS{"migrations/1_a.sql": {Mode: fs.ModeSymlink, Data: []byte("/etc/passwd")}}, "1_a.sql error symbolic link\n"},
		"too large":     {app(), app("1_a.sql", users+strings.Repeat(" ", 4<<20)), "1_a.sql error larger than 4 MiB\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := migration.Diff(c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			check(t, got, c.want)
		})
	}
}

// check compares with lines of name, verdict and parts of the reasons.
func check(t *testing.T, got []migration.Migration, want string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(want, "\n"), "\n")
	if want == "" {
		lines = nil
	}
	if len(got) != len(lines) {
		t.Fatalf("%d migrations: %+v", len(got), got)
	}
	for i, m := range got {
		name, rest, _ := strings.Cut(lines[i], " ")
		verdict, whys, _ := strings.Cut(rest, " ")
		if m.Name != name || string(m.Verdict) != verdict {
			t.Errorf("got %s %s %q, want %s", m.Name, m.Verdict, m.Why, lines[i])
		}
		all := strings.Join(m.Why, "\n")
		for _, why := range strings.Split(whys, "; ") {
			if !strings.Contains(all, why) {
				t.Errorf("%s: %q is not said: %s", m.Name, why, all)
			}
		}
		if whys == "" && all != "" {
			t.Errorf("%s: it is said: %s", m.Name, all)
		}
	}
}

func TestSQLIsShownWithoutDown(t *testing.T) {
	t.Parallel()
	long := "-- +goose Up\nINSERT INTO users VALUES ('" + strings.Repeat("é", 4000) + "');\n"
	got, err := migration.Diff(fstest.MapFS{}, app("1_a.sql", users, "2_b.sql", long, "3_c.sql", "-- +goose Up\nSELECT '\xff';\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got[0].SQL != "CREATE TABLE users (id bigint, email text);" {
		t.Errorf("got %q", got[0].SQL)
	}
	if sql := got[1].SQL; len(sql) > 4<<10+40 || !strings.HasSuffix(sql, "\n-- cut: 8030 bytes in all") || strings.ContainsRune(sql, 0xFFFD) {
		t.Errorf("%d bytes, ends in %q", len(sql), sql[len(sql)-40:])
	}
	if got[2].SQL != "SELECT '\uFFFD';" {
		t.Errorf("got %q", got[2].SQL)
	}
}

func TestTooManyFilesAreNotAnalysed(t *testing.T) {
	t.Parallel()
	many := app()
	for i := range 2001 {
		many[fmt.Sprintf("migrations/%d_a.sql", i+1)] = &fstest.MapFile{Data: []byte(index)}
	}
	for _, c := range [][2]fs.FS{{app(), many}, {many, app("1_a.sql", users)}} {
		got, err := migration.Diff(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		check(t, got, "migrations caution Not analysed: migrations has more than 2000 SQL files\n")
	}
}

// What a pull request holds cannot keep the daemon busy.
func TestHostileFilesTakeLittleTime(t *testing.T) {
	t.Parallel()
	fill := func(head, s, tail string) string {
		return "-- +goose Up\n-- +goose StatementBegin\n" + head + strings.Repeat(s, (2<<20)/len(s)) + tail + "\n-- +goose StatementEnd\n"
	}
	for name, content := range map[string]string{
		"statements":  fill("", "a;\n", ""),
		"writes":      fill("WITH ", "update a ", ""),
		"deletes":     fill("WITH ", "(delete from a) ", ""),
		"calls":       fill("WITH a AS (SELECT 1)", ", f(", ""),
		"dots":        fill("SELECT a", ".a", "(1)"),
		"parentheses": fill("SELECT ", "(", ""),
		"comments":    fill("SELECT ", "/*", ""),
		"strings":     fill("SELECT ", "E''\n--\n", ""),
		"dollars":     fill("SELECT ", "$a ", ""),
		"commas":      fill("ALTER TABLE a ", "ADD a int,", "b"),
		"drops":       fill("DROP TABLE a", ",a", ""),
		"columns":     fill("CREATE TABLE a (b int); ", "ALTER TABLE a ADD c int; UPDATE a SET b = 1; ", ""),
		"atomic":      fill("", "create function begin atomic case ", ""),
		"sets":        fill("UPDATE a ", "SET b ", ""),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if _, err := migration.Diff(app(), app("1_a.sql", content)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func FuzzDiff(f *testing.F) {
	for _, s := range []string{users, index, drop, "-- +goose Up\n-- +goose StatementBegin\nDO $$ a;\n$$;\n-- +goose StatementEnd\n", "-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;\n"} {
		f.Add([]byte(s), []byte(s))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		got, err := migration.Diff(app("1_a.sql", string(before)), app("1_a.sql", string(after), "2_b.sql", string(before)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got {
			if m.Verdict.Severity() < 0 || len(m.SQL) > 5<<10 || len(m.Why) > 21 {
				t.Fatalf("%+v", m)
			}
			if m.Verdict != migration.Safe && len(m.Why) == 0 {
				t.Fatalf("%s without a reason", m.Verdict)
			}
		}
		if bytes.Equal(before, after) {
			for _, m := range got {
				if m.Name == "1_a.sql" && m.Verdict != migration.Error {
					t.Fatal(cmp.Diff(nil, m))
				}
			}
		}
	})
}
