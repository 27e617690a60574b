package build_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// pack makes a release of migrations alone: Migrate looks at nothing else.
func pack(t testing.TB, in pipeline.Build, files map[string]string) string {
	t.Helper()
	s, err := release.Open(in.Volume).Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	if err := s.AddBinary("/bin/true"); err != nil {
		t.Fatal(err)
	}
	for name, sql := range files {
		if err := s.Add(release.Migrations, name, strings.NewReader(sql)); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := s.Commit(release.Manifest{Tenant: in.Tenant.Name, Health: "/healthz"})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func columns(t testing.TB, url, table string) []string {
	t.Helper()
	return query[string](t, url, `SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' !' ELSE '' END
		FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('id', 'created_at', 'updated_at') ORDER BY attname`, table)
}

func TestMigrateFiles(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	in := pathApp(t, "migrate", "a", "c")
	url := newDatabase(t)
	migrate := func(files map[string]string) ([]string, error) {
		out, err := b.Migrate(t.Context(), in, pack(t, in, files), url)
		return out.Applied, err
	}
	must := func(files map[string]string, want ...string) {
		t.Helper()
		got, err := migrate(files)
		if err != nil {
			t.Fatalf("%v\n%s", err, detail(err))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	files := map[string]string{
		"001_a.sql": "-- +goose Up\nCREATE TABLE a (x int);\n-- +goose Down\nDROP TABLE a;\n",
		"003_c.sql": "-- +goose Up\nALTER TABLE a ADD z int;\nINSERT INTO a VALUES (1, 2);\n",
	}
	must(nil)
	must(files, "001_a.sql", "003_c.sql")
	must(files)
	// Merged late.
	files["002_b.sql"] = "-- +goose Up\n-- +goose StatementBegin\nDO $$ BEGIN\n  EXECUTE 'ALTER TABLE a ADD y int';\nEND $$;\n-- +goose StatementEnd\n"
	must(files, "002_b.sql")
	// A revert: the database is ahead.
	must(map[string]string{"001_a.sql": files["001_a.sql"]})
	if got := len(columns(t, url, "a")); got != 3 {
		t.Errorf("%d columns, want 3", got)
	}

	files["004_d.sql"] = "-- +goose Up\nCREATE TABLE d ();\n"
	files["005_e.sql"] = "-- +goose Up\nINSERT INTO a (x) VALUES (7);\n\n-- why\nUPDATE a\n  SET x = 8,\n      nope = 9;\n"
	_, err := migrate(files)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `migrations/005_e.sql:7: column "nope" of relation "a" does not exist`) {
		t.Errorf("got %s: %v", fault.KindOf(err), err)
	}
	for _, want := range []string{"SQLSTATE 42703", "statement: UPDATE a", "1 migrations before it were applied"} {
		if !strings.Contains(detail(err), want) {
			t.Errorf("the detail lacks %q:\n%s", want, detail(err))
		}
	}
	if got := query[int](t, url, "SELECT x FROM a ORDER BY x"); len(got) != 1 || got[0] != 1 {
		t.Errorf("the failed migration left %v", got)
	}
	files["005_e.sql"] = "-- +goose Up\nINSERT INTO a (x) VALUES (7);\n"
	must(files, "005_e.sql")
}

func TestMigrateErrors(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	in := pathApp(t, "migrate-errors", "a", "c")
	url := newDatabase(t)
	digest := pack(t, in, map[string]string{"1_a.sql": "-- +goose Up\nCREATE TABLE a ();\n"})
	if _, err := b.Migrate(t.Context(), in, digest, ""); !fault.Is(err, fault.Invalid) || !strings.Contains(detail(err), "database.enabled") {
		t.Errorf("without a database: %v", err)
	}
	const secret = "hunter2"
	for _, bad := range []string{"postgres://x:" + secret + "@127.0.0.1:1/x", "postgres://x:" + secret + "@[::", strings.Replace(url, "/t", "/none_t", 1)} {
		_, err := b.Migrate(t.Context(), in, digest, bad)
		if err == nil || fault.Is(err, fault.Invalid) || strings.Contains(err.Error()+detail(err), secret) {
			t.Errorf("%s: %s %v", bad, fault.KindOf(err), err)
		}
	}
	unfinished := pack(t, in, map[string]string{"1_a.sql": "-- +goose Up\nCREATE TABLE a ()\n"})
	if _, err := b.Migrate(t.Context(), in, unfinished, url); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "semicolon") {
		t.Errorf("unfinished: %s %v", fault.KindOf(err), err)
	}
	if _, err := b.Migrate(t.Context(), in, strings.Repeat("0", 64), url); err == nil {
		t.Error("a release that is not there was migrated to")
	}
}

func TestMigrationsOfOneDatabaseWait(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	for _, kind := range []string{"path", "design"} {
		in := pathApp(t, "both", "a", "c")
		digest := pack(t, in, map[string]string{
			"1_a.sql": "-- +goose Up\nCREATE TABLE a ();\nSELECT pg_sleep(0.2);\n", "2_b.sql": "-- +goose Up\nCREATE TABLE b ();\n",
		})
		if kind == "design" {
			in = designApp(t, "both", example(t, "tasks").App.Design)
			_, digest = makeRelease(t, b, in)
		}
		url := newDatabase(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var applied []string
		for range 4 {
			wg.Go(func() {
				out, err := b.Migrate(context.Background(), in, digest, url)
				if err != nil {
					t.Errorf("%s: %v\n%s", kind, err, detail(err))
				}
				mu.Lock()
				defer mu.Unlock()
				applied = append(applied, out.Applied...)
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, a := range applied {
			if seen[a] {
				t.Errorf("%s: %s ran twice", kind, a)
			}
			seen[a] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: applied %v", kind, applied)
		}
	}
}

// A transaction of the app that holds a lock makes a migration fail, to be
// tried again, rather than stop all that comes after it.
func TestMigrationDoesNotWaitForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for lock_timeout")
	}
	t.Parallel()
	b := newBuilder(t, newRepository(t), warm(t))
	in := pathApp(t, "locked", "a", "c")
	url := newDatabase(t)
	execute(t, url, "CREATE TABLE a ()")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE a"); err != nil {
		t.Fatal(err)
	}
	_, err = b.Migrate(t.Context(), in, pack(t, in, map[string]string{"1_a.sql": "-- +goose Up\nALTER TABLE a ADD x int;\n"}), url)
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "1_a.sql") {
		t.Errorf("got %s: %v", fault.KindOf(err), err)
	}
}

// designs migrates one database through designs, one after the other.
type designs struct {
	t   *testing.T
	b   *build.Builder
	in  pipeline.Build
	url string
}

func newDesigns(t *testing.T) *designs {
	return &designs{t: t, b: newBuilder(t, newRepository(t), warm(t)), in: designApp(t, "designs", nil), url: newDatabase(t)}
}

func (d *designs) migrate(models ...tenant.Model) ([]string, error) {
	d.t.Helper()
	d.in.Tenant.App.Design = &tenant.Design{Models: models}
	schema := schemaOf(d.t, d.in.Tenant.App.Design)
	s, err := release.Open(d.in.Volume).Stage()
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Abort()
	if err := s.AddBinary("/bin/true"); err != nil {
		d.t.Fatal(err)
	}
	digest, err := s.Commit(release.Manifest{Tenant: "designs", Health: "/", Schema: schema})
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := d.b.Migrate(d.t.Context(), d.in, digest, d.url)
	return out.Applied, err
}

func (d *designs) must(models ...tenant.Model) []string {
	d.t.Helper()
	applied, err := d.migrate(models...)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, detail(err))
	}
	if again, err := d.migrate(models...); err != nil || len(again) > 0 {
		d.t.Errorf("the same again: %v, %v", again, err)
	}
	return applied
}

func model(name string, fields ...tenant.Field) tenant.Model {
	return tenant.Model{Name: name, Fields: fields}
}

func TestMigrateDesign(t *testing.T) {
	t.Parallel()
	d := newDesigns(t)
	title := tenant.Field{Name: "title", Type: tenant.FieldString, Required: true}
	d.must(model("task", title), model("loop", tenant.Field{Name: "next", Type: tenant.FieldRef, Ref: "loop"}))
	execute(t, d.url, "INSERT INTO tasks (title) VALUES ('a'), ('b')")

	// New fields, required ones too, while there are records.
	d.must(model("project", title), model("task", title,
		tenant.Field{Name: "n", Type: tenant.FieldInt, Required: true}, tenant.Field{Name: "s", Type: tenant.FieldString, Default: "it's"},
		tenant.Field{Name: "day", Type: tenant.FieldDate, Required: true}, tenant.Field{Name: "j", Type: tenant.FieldJSON, Required: true},
		tenant.Field{Name: "done", Type: tenant.FieldBool}, tenant.Field{Name: "project", Type: tenant.FieldRef, Ref: "project"},
		tenant.Field{Name: "u", Type: tenant.FieldUUID, Unique: true}))
	want := []string{"day date !", "done boolean !", "j jsonb !", "n bigint !", "project bigint", "s character varying(1000)", "title character varying(1000) !", "u uuid"}
	if diff := cmp.Diff(want, columns(t, d.url, "tasks")); diff != "" {
		t.Error(diff)
	}
	if got := query[string](t, d.url, "SELECT n || s || day || j || done FROM tasks WHERE title = 'a'"); got[0] != "0it's1970-01-01nullfalse" {
		t.Errorf("the old record has %q", got)
	}

	// Fields that go keep their data, but do not stop new records; back again, too.
	d.must(model("task", tenant.Field{Name: "n", Type: tenant.FieldInt, Required: true}, tenant.Field{Name: "u", Type: tenant.FieldUUID}))
	execute(t, d.url, "INSERT INTO tasks (n) VALUES (5)", "UPDATE tasks SET u = '00000000-0000-0000-0000-000000000001'")
	d.must(model("task", title, tenant.Field{Name: "n", Type: tenant.FieldInt}))
	if got := query[string](t, d.url, "SELECT string_agg(title, ',' ORDER BY id) FROM tasks"); got[0] != "a,b," {
		t.Errorf("titles are %q", got)
	}
	execute(t, d.url, "INSERT INTO tasks (title) VALUES ('c')")

	// Wider types.
	d.must(model("task", tenant.Field{Name: "title", Type: tenant.FieldText}, tenant.Field{Name: "n", Type: tenant.FieldFloat, Required: true, Default: 0.5},
		tenant.Field{Name: "day", Type: tenant.FieldTime}, tenant.Field{Name: "done", Type: tenant.FieldString}))
	if got := query[string](t, d.url, "SELECT string_agg(n || done, ',' ORDER BY id) FROM tasks"); got[0] != "0false,0false,5false,0false" {
		t.Errorf("widened to %q", got)
	}
	d.must(model("task", tenant.Field{Name: "n", Type: tenant.FieldText}, tenant.Field{Name: "j", Type: tenant.FieldText}))
}

func TestMigrateDesignRefuses(t *testing.T) {
	t.Parallel()
	text := func(name string) tenant.Field { return tenant.Field{Name: name, Type: tenant.FieldText} }
	before := []tenant.Model{model("other", text("x")), model("task", text("title"), tenant.Field{Name: "n", Type: tenant.FieldInt})}
	for _, c := range []struct {
		name  string
		field tenant.Field
		want  string
	}{
		{"narrower", tenant.Field{Name: "title", Type: tenant.FieldString}, "field title: its type cannot change from text to string"},
		{"another type", tenant.Field{Name: "n", Type: tenant.FieldDate}, "field n: its type cannot change from int to date"},
		{"required ref", tenant.Field{Name: "o", Type: tenant.FieldRef, Ref: "other", Required: true}, "field o: it is required and refers"},
		{"required unique", tenant.Field{Name: "o", Type: tenant.FieldText, Unique: true, Required: true}, "field o: it is required and must be unique"},
		{"unique with default", tenant.Field{Name: "o", Type: tenant.FieldText, Unique: true, Default: "x"}, "field o: it is unique and has a default"},
		{"not unique", tenant.Field{Name: "title", Type: tenant.FieldText, Unique: true}, "could not create unique index"},
		{"dangling", tenant.Field{Name: "n", Type: tenant.FieldRef, Ref: "other"}, "violates foreign key"},
		{"nulls, unique", tenant.Field{Name: "n", Type: tenant.FieldInt, Unique: true, Required: true}, "field n: it is required now, and there are records without"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesigns(t)
			d.must(before...)
			execute(t, d.url, "INSERT INTO tasks (title, n) VALUES ('same', 1), ('same', NULL)")
			was := columns(t, d.url, "tasks")
			_, err := d.migrate(before[0], model("task", c.field, text("extra")))
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s: %v, want …%s…", fault.KindOf(err), err, c.want)
			}
			if diff := cmp.Diff(was, columns(t, d.url, "tasks")); diff != "" {
				t.Errorf("the database is not as it was:\n%s", diff)
			}
		})
	}
	t.Run("a table of somebody else", func(t *testing.T) {
		t.Parallel()
		d := newDesigns(t)
		execute(t, d.url, "CREATE TABLE tasks (x int)")
		if _, err := d.migrate(before...); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not one of a design") {
			t.Errorf("got %v", err)
		}
	})
}

// The release before goes on inserting, without the new fields, until the new
// one is healthy.
func TestOldReleaseWorksAfterMigration(t *testing.T) {
	t.Parallel()
	d := newDesigns(t)
	title := tenant.Field{Name: "title", Type: tenant.FieldString}
	d.must(model("task", title))
	var fields []tenant.Field
	for i, typ := range []tenant.FieldType{tenant.FieldString, tenant.FieldText, tenant.FieldInt, tenant.FieldFloat, tenant.FieldBool, tenant.FieldDate, tenant.FieldTime, tenant.FieldUUID, tenant.FieldJSON} {
		fields = append(fields, tenant.Field{Name: fmt.Sprintf("f%d", i), Type: typ, Required: true})
	}
	d.must(model("task", append(fields, title)...))
	execute(t, d.url, "INSERT INTO tasks (title) VALUES ('by the old release')")
}
