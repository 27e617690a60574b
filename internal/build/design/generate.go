package design

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/gitopsd/gitopsd/internal/build/design/kit"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Module is the import path of every generated module: the same for all
// tenants, so that they share the compiled kit.
const Module = "gitopsd.dev/app"

//go:embed kit/*.go kit/page.html kit/page.css kit/page.js
var kitFS embed.FS

//go:embed go.mod.tmpl
var goMod []byte

//go:embed go.sum.tmpl
var goSum []byte

//go:embed main.go.tmpl
var mainTemplate string

//go:embed model.go.tmpl
var modelTemplate string

// File is one generated file.
type File struct {
	Path string // slash-separated
	Data []byte
}

// model and field are what the templates see.
type model struct {
	Kit, Name, Type, API, Table, Title string
	Select, Insert, Update, Delete     string
	Fields                             []field
	HasDefault                         bool
}

type field struct {
	Name, Title, Type, Go, GoType, Default, Ref string
	Required, Unique, Pointer                   bool
}

// Generate returns the design's module, sorted by path. A design that cannot be
// built is fault.Invalid.
func Generate(d *tenant.Design) ([]File, error) {
	if err := check(d); err != nil {
		return nil, err
	}
	t := template.New("").Funcs(template.FuncMap{"q": strconv.Quote, "raw": rawLiteral})
	template.Must(t.New("main").Parse(mainTemplate))
	template.Must(t.New("model").Parse(modelTemplate))

	files := map[string][]byte{"go.mod": goMod, "go.sum": goSum}
	models, err := describe(d)
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		// The suffix keeps "x_test" and "x_windows" from meaning something to go build.
		if files[m.Name+"_model.go"], err = render(t, "model", m); err != nil {
			return nil, fmt.Errorf("generate model %s: %w", m.Name, err)
		}
	}
	data := map[string]any{"Kit": Module + "/internal/kit", "Title": d.Title, "Models": models}
	if files["main.go"], err = render(t, "main", data); err != nil {
		return nil, fmt.Errorf("generate main: %w", err)
	}
	if err := addKit(files); err != nil {
		return nil, err
	}
	out := make([]File, 0, len(files))
	for _, path := range slices.Sorted(maps.Keys(files)) {
		out = append(out, File{Path: path, Data: files[path]})
	}
	return out, nil
}

// addKit adds the runtime, as it is.
func addKit(files map[string][]byte) error {
	return fs.WalkDir(kitFS, "kit", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files["internal/"+path], err = kitFS.ReadFile(path)
		return err
	})
}

func render(t *template.Template, name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return nil, err
	}
	return format.Source(b.Bytes())
}

// describe makes what the templates see. A Go name that two models or fields
// would share gets a number.
func describe(d *tenant.Design) ([]model, error) {
	taken := map[string]bool{}
	var models []model
	for _, m := range d.Models {
		v := model{Kit: Module + "/internal/kit", Name: m.Name, Table: tableName(m.Name), Title: human(tableName(m.Name))}
		v.Type, v.API = typeNames(camel(m.Name), taken)
		fields := map[string]bool{"ID": true, "CreatedAt": true, "UpdatedAt": true}
		for _, f := range m.Fields {
			field, err := describeField(f, fields)
			if err != nil {
				return nil, fault.Errorf(fault.Invalid, "model %q, field %q: %w", m.Name, f.Name, err)
			}
			v.HasDefault = v.HasDefault || field.Default != ""
			v.Fields = append(v.Fields, field)
		}
		statements(&v)
		models = append(models, v)
	}
	return models, nil
}

var goTypes = map[tenant.FieldType]string{
	tenant.FieldString: "string", tenant.FieldText: "string", tenant.FieldDate: "string", tenant.FieldUUID: "string",
	tenant.FieldInt: "int64", tenant.FieldRef: "int64", tenant.FieldFloat: "float64", tenant.FieldBool: "bool",
	tenant.FieldTime: "time.Time", tenant.FieldJSON: "kit.JSON",
}

func describeField(f tenant.Field, taken map[string]bool) (field, error) {
	v := field{
		Name: f.Name, Title: human(f.Name), Type: string(f.Type), Go: unique(camel(f.Name), taken),
		GoType: goTypes[f.Type], Required: f.Required, Unique: f.Unique, Pointer: !notNull(f),
	}
	if v.Pointer {
		v.GoType = "*" + v.GoType
	}
	if f.Type == tenant.FieldRef {
		v.Ref = tableName(f.Ref)
	}
	d, err := value(f)
	if err != nil {
		return v, err
	}
	v.Default = goLiteral(d)
	return v, nil
}

// goLiteral writes a default as a Go expression; "" for none.
func goLiteral(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		return fmt.Sprintf("int64(%d)", v)
	case float64:
		return "float64(" + strconv.FormatFloat(v, 'g', -1, 64) + ")"
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return fmt.Sprintf("time.Unix(%d, %d).UTC()", v.Unix(), v.Nanosecond())
	case kit.JSON:
		return "kit.JSON(" + strconv.Quote(string(v)) + ")"
	default:
		return strconv.Quote(fmt.Sprint(v))
	}
}

// statements writes the model's SQL. Types that Go keeps as text are cast.
func statements(m *model) {
	var read, names, values, sets []string
	for i, f := range m.Fields {
		column, cast := ident(f.Name), ""
		read = append(read, column)
		switch tenant.FieldType(f.Type) {
		case tenant.FieldDate:
			cast = "::text::date"
		case tenant.FieldUUID:
			cast = "::text::uuid"
		case tenant.FieldJSON:
			cast = "::text::jsonb"
		}
		if cast != "" {
			read[i] += "::text"
		}
		names = append(names, column)
		values = append(values, fmt.Sprintf("$%d%s", i+1, cast))
		sets = append(sets, fmt.Sprintf("%s = $%d%s", column, i+2, cast))
	}
	all := `"id", ` + strings.Join(read, ", ") + `, "created_at", "updated_at"`
	table := ident(m.Table)
	m.Select = "SELECT " + all + " FROM " + table
	m.Insert = "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ") RETURNING " + all
	m.Update = "UPDATE " + table + " SET " + strings.Join(sets, ", ") + `, "updated_at" = now() WHERE "id" = $1 RETURNING ` + all
	m.Delete = "DELETE FROM " + table + ` WHERE "id" = $1`
}

// ident quotes an SQL identifier.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// rawLiteral writes SQL as a raw string if it can be one.
func rawLiteral(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// camel makes an exported Go name of a snake-case one.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// typeNames returns the names of a model's record and API that clash with no
// other model's, nor with a constructor.
func typeNames(base string, taken map[string]bool) (record, api string) {
	for n := 1; ; n++ {
		record = base
		if n > 1 {
			record = fmt.Sprintf("%s_%d", base, n)
		}
		api = strings.ToLower(record[:1]) + record[1:] + "API"
		constructor := "new" + record + "API"
		if !taken[record] && !taken[api] && !taken[constructor] {
			taken[record], taken[api], taken[constructor] = true, true, true
			return record, api
		}
	}
}

func unique(name string, taken map[string]bool) string {
	for n, base := 2, name; taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	taken[name] = true
	return name
}

// human makes a title of a snake-case name.
func human(name string) string {
	s := strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
	return strings.ToUpper(s[:1]) + s[1:]
}

// Assets returns the static files of a generated app's page, by path.
func Assets() map[string]string { return kit.Assets() }
