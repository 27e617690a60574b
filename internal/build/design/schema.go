package design

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/build/design/kit"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Bounds of a design. Postgres allows 63 bytes an identifier and 1,600 columns.
const (
	maxModels = 200
	maxFields = 200
	maxName   = 63
)

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// reserved are the columns that every table has.
var reserved = map[string]bool{"id": true, "created_at": true, "updated_at": true}

// Table is a model as it is stored.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"` // without id, created_at and updated_at
}

// Column is a field as it is stored.
type Column struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // as Postgres' format_type writes it
	NotNull  bool   `json:"notNull,omitempty"`
	Default  string `json:"default,omitempty"` // an SQL literal with its type
	Unique   bool   `json:"unique,omitempty"`
	Refers   string `json:"refers,omitempty"` // a table, by its id
	Backfill string `json:"backfill"`         // literal for rows that are there before the column; "" if none is right
}

var sqlTypes = map[tenant.FieldType]string{
	tenant.FieldString: "character varying(1000)",
	tenant.FieldText:   "text",
	tenant.FieldInt:    "bigint",
	tenant.FieldFloat:  "double precision",
	tenant.FieldBool:   "boolean",
	tenant.FieldDate:   "date",
	tenant.FieldTime:   "timestamp with time zone",
	tenant.FieldUUID:   "uuid",
	tenant.FieldJSON:   "jsonb",
	tenant.FieldRef:    "bigint",
}

// zeros are what a required field gets in rows that were there before it.
var zeros = map[tenant.FieldType]string{
	tenant.FieldString: "''",
	tenant.FieldText:   "''",
	tenant.FieldInt:    "0",
	tenant.FieldFloat:  "0",
	tenant.FieldBool:   "false",
	tenant.FieldDate:   "'1970-01-01'",
	tenant.FieldTime:   "'1970-01-01T00:00:00Z'",
	tenant.FieldUUID:   "'00000000-0000-0000-0000-000000000000'",
	tenant.FieldJSON:   "'null'",
}

// tableName is the table of a model, and its name in the API.
func tableName(model string) string { return model + "s" }

// Schema returns the tables of a design. A design that cannot be built is
// fault.Invalid.
func Schema(d *tenant.Design) ([]Table, error) {
	if err := check(d); err != nil {
		return nil, err
	}
	tables := make([]Table, 0, len(d.Models))
	for _, m := range d.Models {
		t := Table{Name: tableName(m.Name), Columns: []Column{}}
		for _, f := range m.Fields {
			c, err := column(f)
			if err != nil {
				return nil, fault.Errorf(fault.Invalid, "model %q, field %q: %w", m.Name, f.Name, err)
			}
			t.Columns = append(t.Columns, c)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

func column(f tenant.Field) (Column, error) {
	c := Column{Name: f.Name, Type: sqlTypes[f.Type], NotNull: notNull(f), Unique: f.Unique, Backfill: zeros[f.Type]}
	if f.Type == tenant.FieldRef {
		c.Refers = tableName(f.Ref)
	}
	v, err := value(f)
	switch {
	case err != nil:
		return c, err
	case v == nil && f.Type == tenant.FieldBool && !f.Required:
		c.Default = "false"
	case v != nil:
		c.Default = sqlLiteral(v)
		c.Backfill = c.Default
	}
	if f.Unique && v == nil {
		c.Backfill = "" // the same value in every row would not be unique
	}
	return c, nil
}

// notNull says whether a field always has a value. A bool has two states, not
// three.
func notNull(f tenant.Field) bool { return f.Required || f.Type == tenant.FieldBool }

// check refuses what the schema of tenant files refuses too: the generator
// relies on it for what gets into code and SQL.
func check(d *tenant.Design) error {
	if d == nil || len(d.Models) == 0 {
		return fault.Errorf(fault.Invalid, "the design has no models")
	}
	if len(d.Models) > maxModels {
		return fault.Errorf(fault.Invalid, "the design has %d models, at most %d are possible", len(d.Models), maxModels)
	}
	models := map[string]bool{}
	for _, m := range d.Models {
		if err := checkName(m.Name, maxName-1); err != nil { // its table has one letter more
			return fault.Errorf(fault.Invalid, "model %q: %w", m.Name, err)
		}
		if models[m.Name] {
			return fault.Errorf(fault.Invalid, "there are two models %q", m.Name)
		}
		models[m.Name] = true
	}
	for _, m := range d.Models {
		if err := checkFields(m, models); err != nil {
			return fault.Errorf(fault.Invalid, "model %q: %w", m.Name, err)
		}
	}
	return nil
}

func checkFields(m tenant.Model, models map[string]bool) error {
	if len(m.Fields) == 0 || len(m.Fields) > maxFields {
		return fmt.Errorf("has %d fields, must have 1 to %d", len(m.Fields), maxFields)
	}
	seen := map[string]bool{}
	for _, f := range m.Fields {
		if err := checkName(f.Name, maxName); err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		switch {
		case reserved[f.Name]:
			return fmt.Errorf("field %q: every model has it already", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("there are two fields %q", f.Name)
		case sqlTypes[f.Type] == "":
			return fmt.Errorf("field %q: there is no type %q", f.Name, f.Type)
		case f.Type == tenant.FieldRef && !models[f.Ref]:
			return fmt.Errorf("field %q: there is no model %q to refer to", f.Name, f.Ref)
		case f.Type == tenant.FieldRef && f.Default != nil:
			return fmt.Errorf("field %q: a ref cannot have a default", f.Name)
		case f.Type == tenant.FieldJSON && f.Unique:
			return fmt.Errorf("field %q: json cannot be unique", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

func checkName(name string, most int) error {
	if !identifier.MatchString(name) {
		return fmt.Errorf("a name is lower-case letters, digits and _, and starts with a letter")
	}
	if len(name) > most {
		return fmt.Errorf("a name has at most %d characters", most)
	}
	return nil
}

// value returns a field's default as string, int64, float64, bool, time.Time or
// kit.JSON, by the field's type; nil without one.
func value(f tenant.Field) (any, error) {
	if f.Default == nil {
		return nil, nil
	}
	if f.Type == tenant.FieldJSON {
		b, err := json.Marshal(f.Default)
		return kit.JSON(b), err
	}
	wrong := fmt.Errorf("the default %v is not of type %s", f.Default, f.Type)
	switch d := f.Default.(type) {
	case bool:
		if f.Type == tenant.FieldBool {
			return d, nil
		}
	case int:
		return number(f.Type, float64(d), int64(d), true, wrong)
	case int64:
		return number(f.Type, float64(d), d, true, wrong)
	case float64:
		whole := d == math.Trunc(d) && math.Abs(d) < 1<<63
		return number(f.Type, d, int64(d), whole, wrong)
	case string:
		return text(f.Type, d, wrong)
	}
	return nil, wrong
}

func number(t tenant.FieldType, f float64, i int64, whole bool, wrong error) (any, error) {
	switch {
	case t == tenant.FieldInt && whole:
		return i, nil
	case t == tenant.FieldFloat:
		return f, nil
	}
	return nil, wrong
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func text(t tenant.FieldType, s string, wrong error) (any, error) {
	switch t {
	case tenant.FieldString, tenant.FieldText:
		if strings.ContainsRune(s, 0) || (t == tenant.FieldString && len([]rune(s)) > 1000) {
			return nil, wrong
		}
		return strings.ToValidUTF8(s, "�"), nil
	case tenant.FieldDate:
		if _, err := time.Parse(time.DateOnly, s); err == nil {
			return s, nil
		}
	case tenant.FieldTime:
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return at.UTC(), nil
		}
	case tenant.FieldUUID:
		if uuidForm.MatchString(s) {
			return strings.ToLower(s), nil
		}
	}
	return nil, wrong
}

// sqlLiteral writes a default for DDL, where arguments are not possible.
func sqlLiteral(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return quoteSQL(v.Format(time.RFC3339Nano))
	case kit.JSON:
		return quoteSQL(string(v))
	default:
		return quoteSQL(fmt.Sprint(v))
	}
}

// quoteSQL quotes a string literal so that it means the same whatever
// standard_conforming_strings says.
func quoteSQL(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return "E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}
