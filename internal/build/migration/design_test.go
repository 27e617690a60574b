package migration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/build/migration"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func field(name string, typ tenant.FieldType, change ...func(*tenant.Field)) tenant.Field {
	f := tenant.Field{Name: name, Type: typ}
	for _, c := range change {
		c(&f)
	}
	return f
}

func required(f *tenant.Field) { f.Required = true }
func unique(f *tenant.Field)   { f.Unique = true }
func refers(to string) func(*tenant.Field) {
	return func(f *tenant.Field) { f.Type, f.Ref = tenant.FieldRef, to }
}

func designOf(fields ...tenant.Field) *tenant.Design {
	return &tenant.Design{Models: []tenant.Model{
		{Name: "task", Fields: fields},
		{Name: "tag", Fields: []tenant.Field{field("name", tenant.FieldString)}},
	}}
}

type designCase struct {
	before, after *tenant.Design
	want          string
}

func designCases() map[string]designCase {
	title := field("title", tenant.FieldString)
	return map[string]designCase{
		"new":                {nil, designOf(title, field("tag", "", refers("tag"))), "design safe\n"},
		"same":               {designOf(title), designOf(title), ""},
		"model added":        {&tenant.Design{Models: designOf(title).Models[:1]}, designOf(title), "design safe\n"},
		"model removed":      {designOf(title), &tenant.Design{Models: designOf(title).Models[:1]}, ""},
		"field added":        {designOf(title), designOf(title, field("due", tenant.FieldDate)), "design safe\n"},
		"required added":     {designOf(title), designOf(title, field("due", tenant.FieldDate, required)), "design safe\n"},
		"required ref added": {designOf(title), designOf(title, field("tag", "", refers("tag"), required)), "design caution fails if there are records; SHARE ROW EXCLUSIVE\n"},
		"field removed":      {designOf(title, field("n", tenant.FieldInt, required)), designOf(title), ""},
		"must-have removed":  {designOf(title, field("tag", "", refers("tag"), required)), designOf(title), "design safe\n"},
		"widened":            {designOf(field("n", tenant.FieldInt)), designOf(field("n", tenant.FieldText)), "design caution written anew\n"},
		"narrowed":           {designOf(field("n", tenant.FieldText)), designOf(field("n", tenant.FieldInt)), "design error cannot change from text to int without losing data\n"},
		"made required":      {designOf(title), designOf(field("title", tenant.FieldString, required)), "design caution UPDATE tasks; SET NOT NULL\n"},
		"made unique":        {designOf(title), designOf(field("title", tenant.FieldString, unique)), "design caution two rows are alike\n"},
		"not unique":         {designOf(field("title", tenant.FieldString, unique)), designOf(title), "design caution Constraint tasks_title_key of tasks is dropped\n"},
		"refers elsewhere":   {designOf(field("t", "", refers("tag"))), designOf(field("t", "", refers("task"))), "design caution is dropped; SHARE ROW EXCLUSIVE\n"},
		"invalid":            {designOf(title), designOf(title, title), "design error two fields\n"},
		"was invalid":        {designOf(title, title), designOf(title), "design safe\n"},
	}
}

func TestDiffDesign(t *testing.T) {
	t.Parallel()
	for name, c := range designCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := migration.DiffDesign(c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			check(t, got, c.want)
		})
	}
}

// What is shown is what runs: on a database that the design before made, with
// and without records.
func TestDesignMigratesAsShown(t *testing.T) {
	t.Parallel()
	for name, c := range designCases() {
		if strings.Contains(name, "invalid") {
			continue
		}
		for _, records := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				conn, err := pgx.Connect(t.Context(), migration.NewDatabase(t))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(t.Context())
				var before []design.Table
				if c.before != nil {
					before = schema(t, c.before)
					if _, err := design.Migrate(t.Context(), conn, before); err != nil {
						t.Fatal(err)
					}
				}
				if records && len(before) > 0 {
					fill(t, conn, before)
				}
				want, wantErr := design.Migrate(t.Context(), conn, schema(t, c.after))
				got, gotErr := design.Between(before, schema(t, c.after), records)
				if (wantErr != nil) != (gotErr != nil) {
					t.Fatalf("it runs with %v, it is shown with %v", wantErr, gotErr)
				}
				if diff := cmp.Diff(want, got); diff != "" && wantErr == nil {
					t.Errorf("runs and is shown:\n%s", diff)
				}
			})
		}
	}
}

func schema(t *testing.T, d *tenant.Design) []design.Table {
	t.Helper()
	tables, err := design.Schema(d)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// fill adds a record to each table, the last one first since the first refers
// to it. What may be empty is.
func fill(t *testing.T, conn *pgx.Conn, tables []design.Table) {
	t.Helper()
	for i := len(tables) - 1; i >= 0; i-- {
		columns, values := "", ""
		for _, c := range tables[i].Columns {
			if c.NotNull {
				columns, values = columns+`, "`+c.Name+`"`, values+", 1"
			}
		}
		sql := `INSERT INTO "` + tables[i].Name + `" (id` + columns + `) VALUES (1` + values + `)`
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}
