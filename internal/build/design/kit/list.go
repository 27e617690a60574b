package kit

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a page, in records.
const (
	defaultLimit = 50
	maxLimit     = 500
)

type list struct {
	sql   strings.Builder
	args  []any
	limit int
}

func (l *list) SQL() string { return l.sql.String() }
func (l *list) Args() []any { return l.args }
func (l *list) Limit() int  { return l.limit }

// arg notes v and returns its placeholder.
func (l *list) arg(v any) string {
	l.args = append(l.args, v)
	return "$" + strconv.Itoa(len(l.args))
}

// newList reads ?limit=, ?after=, ?sort= and ?field=value. Every name that gets
// into the SQL is one of the model's; every value is an argument.
func newList(m *Model, query url.Values) (List, error) {
	l := &list{limit: defaultLimit}
	wrong := map[string]string{}
	var after int64
	sort, descending := "id", false
	var conditions []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := query.Get(name)
		var err error
		switch name {
		case "limit":
			l.limit, err = strconv.Atoi(value)
			if err != nil || l.limit < 1 || l.limit > maxLimit {
				wrong[name] = fmt.Sprintf("must be between 1 and %d", maxLimit)
			}
		case "after":
			if after, err = strconv.ParseInt(value, 10, 64); err != nil {
				wrong[name] = "must be a record's id"
			}
		case "sort":
			sort, descending = strings.CutPrefix(value, "-")
			if !sortable(m, sort) {
				wrong[name] = "no such field to sort by"
			}
		default:
			condition, why := l.filter(m, name, value)
			if why != "" {
				wrong[name] = why
			}
			conditions = append(conditions, condition)
		}
	}
	if err := invalid(wrong); err != nil {
		return nil, err
	}
	if query.Has("after") {
		conditions = append(conditions, l.following(m, sort, descending, after))
	}
	l.finish(conditions, sort, descending)
	return l, nil
}

func (l *list) finish(conditions []string, sort string, descending bool) {
	if len(conditions) > 0 {
		l.sql.WriteString(" WHERE " + strings.Join(conditions, " AND "))
	}
	direction := " ASC"
	if descending {
		direction = " DESC"
	}
	l.sql.WriteString(" ORDER BY ")
	if sort != "id" {
		l.sql.WriteString(quote(sort) + direction + " NULLS LAST, ")
	}
	l.sql.WriteString(`"id"` + direction + " LIMIT " + l.arg(l.limit+1))
}

// following is the condition for records that come after the one with an id:
// with nulls last in both directions, ties by id.
func (l *list) following(m *Model, sort string, descending bool, after int64) string {
	op := ">"
	if descending {
		op = "<"
	}
	id := l.arg(after)
	if sort == "id" {
		return `"id" ` + op + " " + id
	}
	col, table := quote(sort), quote(m.Table)
	last := "(SELECT a." + col + " FROM " + table + ` a WHERE a."id" = ` + id + ")"
	return fmt.Sprintf(`(%[1]s %[2]s %[3]s OR (%[1]s IS NOT DISTINCT FROM %[3]s AND "id" %[2]s %[4]s) OR (%[1]s IS NULL AND %[3]s IS NOT NULL))`,
		col, op, last, id)
}

// filter is the condition for ?name=value; an empty value means null.
func (l *list) filter(m *Model, name, value string) (condition, why string) {
	f, ok := field(m, name)
	if !ok || f.Type == "json" {
		return "", "no such field to filter by"
	}
	if value == "" && !f.Required {
		if f.Type == "string" || f.Type == "text" {
			return "coalesce(" + quote(name) + ", '') = ''", ""
		}
		return quote(name) + " IS NULL", ""
	}
	v, why := parse(f, value)
	if why != "" {
		return "", why
	}
	return quote(name) + " = " + l.arg(v), ""
}

// parse reads a filter's value as the field's type.
func parse(f Field, value string) (any, string) {
	switch f.Type {
	case "int", "ref":
		var n int64
		return &n, set(f, json.RawMessage(value), &n)
	case "float":
		var n float64
		return &n, set(f, json.RawMessage(value), &n)
	case "bool":
		var b bool
		return &b, set(f, json.RawMessage(value), &b)
	case "time":
		var t time.Time
		return &t, setText(f, value, &t)
	}
	var s string
	return &s, setText(f, value, &s)
}

func field(m *Model, name string) (Field, bool) {
	for _, f := range m.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

func sortable(m *Model, name string) bool {
	if name == "id" || name == "created_at" || name == "updated_at" {
		return true
	}
	f, ok := field(m, name)
	return ok && f.Type != "json"
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
