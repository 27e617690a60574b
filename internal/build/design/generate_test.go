package design_test

import (
	"bytes"
	"flag"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var update = flag.Bool("update", false, "write the golden files")

func tasks() *tenant.Design {
	return &tenant.Design{Title: "Team \"tasks\"", Models: []tenant.Model{
		{Name: "project", Fields: []tenant.Field{{Name: "name", Type: tenant.FieldString, Required: true, Unique: true}}},
		{Name: "task", Fields: []tenant.Field{
			{Name: "title", Type: tenant.FieldString, Required: true},
			{Name: "done", Type: tenant.FieldBool},
			{Name: "due", Type: tenant.FieldDate},
			{Name: "priority", Type: tenant.FieldInt, Default: 2.0},
			{Name: "starts", Type: tenant.FieldTime, Default: "2024-01-02T03:04:05Z"},
			{Name: "project", Type: tenant.FieldRef, Ref: "project"},
		}},
	}}
}

// The generated source as it is: a change of the generator is seen in review.
func TestGenerateGolden(t *testing.T) {
	t.Parallel()
	files, err := design.Generate(tasks())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Path, "internal/") || strings.HasPrefix(f.Path, "go.") {
			continue // copied as they are
		}
		golden := filepath.Join("testdata", "tasks", f.Path+".golden")
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(f.Data)); diff != "" {
			t.Errorf("%s (-update writes it):\n%s", f.Path, diff)
		}
	}
}

func TestGenerateIsWholeAndStable(t *testing.T) {
	t.Parallel()
	files, err := design.Generate(tasks())
	if err != nil {
		t.Fatal(err)
	}
	again, err := design.Generate(tasks())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, again); diff != "" {
		t.Errorf("the same design gives something else:\n%s", diff)
	}
	have := map[string]bool{}
	for _, f := range files {
		have[f.Path] = true
		if !strings.HasSuffix(f.Path, ".go") {
			continue
		}
		if formatted, err := format.Source(f.Data); err != nil || !bytes.Equal(formatted, f.Data) {
			t.Errorf("%s is not as gofmt has it: %v", f.Path, err)
		}
		if strings.HasSuffix(f.Path, "_test.go") {
			t.Errorf("%s is a test", f.Path)
		}
	}
	for _, want := range []string{"go.mod", "go.sum", "main.go", "project_model.go", "task_model.go", "internal/kit/kit.go", "internal/kit/page.js"} {
		if !have[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

func TestDesignsThatAreRefused(t *testing.T) {
	t.Parallel()
	field := func(f tenant.Field) *tenant.Design {
		return &tenant.Design{Models: []tenant.Model{{Name: "m", Fields: []tenant.Field{f}}}}
	}
	one := []tenant.Field{{Name: "x", Type: tenant.FieldInt}}
	for name, d := range map[string]*tenant.Design{
		"none":             nil,
		"no models":        {},
		"no fields":        {Models: []tenant.Model{{Name: "m"}}},
		"model name":       {Models: []tenant.Model{{Name: `m"; DROP TABLE x; --`, Fields: one}}},
		"model path":       {Models: []tenant.Model{{Name: "../m", Fields: one}}},
		"model length":     {Models: []tenant.Model{{Name: strings.Repeat("m", 63), Fields: one}}},
		"two models":       {Models: []tenant.Model{{Name: "m", Fields: one}, {Name: "m", Fields: one}}},
		"field name":       field(tenant.Field{Name: "x\n", Type: tenant.FieldInt}),
		"field length":     field(tenant.Field{Name: strings.Repeat("f", 64), Type: tenant.FieldInt}),
		"reserved":         field(tenant.Field{Name: "id", Type: tenant.FieldInt}),
		"two fields":       {Models: []tenant.Model{{Name: "m", Fields: append(one, one...)}}},
		"no such type":     field(tenant.Field{Name: "x", Type: "int); --"}),
		"no such ref":      field(tenant.Field{Name: "x", Type: tenant.FieldRef, Ref: "y"}),
		"ref's default":    field(tenant.Field{Name: "x", Type: tenant.FieldRef, Ref: "m", Default: 1.0}),
		"unique json":      field(tenant.Field{Name: "x", Type: tenant.FieldJSON, Unique: true}),
		"text for int":     field(tenant.Field{Name: "x", Type: tenant.FieldInt, Default: "1"}),
		"fraction for int": field(tenant.Field{Name: "x", Type: tenant.FieldInt, Default: 1.5}),
		"huge int":         field(tenant.Field{Name: "x", Type: tenant.FieldInt, Default: 1e19}),
		"bool for text":    field(tenant.Field{Name: "x", Type: tenant.FieldText, Default: true}),
		"no date":          field(tenant.Field{Name: "x", Type: tenant.FieldDate, Default: "2024-02-30"}),
		"no time":          field(tenant.Field{Name: "x", Type: tenant.FieldTime, Default: "now()"}),
		"no uuid":          field(tenant.Field{Name: "x", Type: tenant.FieldUUID, Default: "x"}),
		"null in text":     field(tenant.Field{Name: "x", Type: tenant.FieldText, Default: "a\x00"}),
		"long string":      field(tenant.Field{Name: "x", Type: tenant.FieldString, Default: strings.Repeat("x", 1001)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := design.Generate(d); !fault.Is(err, fault.Invalid) {
				t.Errorf("Generate: %v", err)
			}
			if _, err := design.Schema(d); !fault.Is(err, fault.Invalid) {
				t.Errorf("Schema: %v", err)
			}
		})
	}
}

// Any design that is accepted becomes Go that can be parsed.
func FuzzGenerate(f *testing.F) {
	f.Add("title", "m", "f", "string", "default")
	f.Add("\"`\x00", "x_test", "type", "json", "`\"'\\")
	f.Add("</script>", "select", "func", "time", "2024-01-02T03:04:05Z")
	f.Fuzz(func(t *testing.T, title, model, field, typ, value string) {
		d := &tenant.Design{Title: title, Models: []tenant.Model{{Name: model, Fields: []tenant.Field{
			{Name: field, Type: tenant.FieldType(typ), Default: value}, {Name: "other", Type: tenant.FieldRef, Ref: model},
		}}}}
		files, err := design.Generate(d) // parses what it wrote
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		for _, file := range files {
			if strings.Contains(file.Path, "..") || strings.ContainsAny(file.Path, "\\\x00 ") {
				t.Errorf("path %q", file.Path)
			}
		}
	})
}
