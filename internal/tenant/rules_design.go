package tenant

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxString is the length of a FieldString, in characters.
const maxString = 1000

// maxModels is the schema's bound on the models of a design.
const maxModels = 100

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// design checks the models against each other and each default against its
// field's type.
func (c rules) design() {
	path := []string{"spec", "app", "design", "models"}
	models, _ := dig(c.value, path...).([]any)
	if len(models) > maxModels { // the schema said so; comparing them all may take long
		return
	}
	names := c.names(path, models)
	for i, model := range models {
		at := append(slices.Clone(path), index(i), "fields")
		fields, _ := dig(model, "fields").([]any)
		c.names(at, fields)
		for j, field := range fields {
			c.field(append(slices.Clone(at), index(j)), field, names)
		}
	}
}

// names checks that the items of a list have names that stay apart also where
// they are written without underscores, as in code; it returns them.
func (c rules) names(path []string, items []any) []string {
	var names []string
	seen := make(map[string]int, len(items))
	for i, item := range items {
		name, ok := dig(item, "name").(string)
		if !ok {
			continue
		}
		names = append(names, name)
		bare := strings.ReplaceAll(name, "_", "")
		first, twice := seen[bare]
		if !twice {
			seen[bare] = i
			continue
		}
		other, _ := dig(items[first], "name").(string)
		line := c.report.locate(append(slices.Clone(path), index(first), "name")...).line
		at := append(slices.Clone(path), index(i), "name")
		if other == name {
			c.bad(at, "", "is %s, like the one in line %d", quote(name), line)
		} else {
			c.bad(at, "names must differ in more than underscores", "is %s, too like %s in line %d", quote(name), quote(other), line)
		}
	}
	return names
}

func (c rules) field(path []string, field any, models []string) {
	kind, _ := dig(field, "type").(string)
	if kind == "" {
		return
	}
	ref, hasRef := dig(field, "ref").(string)
	refPath := append(slices.Clone(path), "ref")
	switch isRef := FieldType(kind) == FieldRef; {
	case isRef && dig(field, "ref") == nil:
		c.bad(path, "write ref: with one of the models "+briefly(models), "has the type ref, but no ref")
	case isRef && hasRef && !slices.Contains(models, ref):
		c.report.atWith(c.report.locate(refPath...),
			fmt.Sprintf("%s is %s, which is no model of this design", spell(refPath), quote(ref)),
			func() string { return modelHint(ref, models) })
	case !isRef && hasRef:
		c.bad(refPath, "write type: ref, or remove it", "is only for the type ref")
	}
	if value := dig(field, "default"); value != nil {
		if want := defaultFault(FieldType(kind), value); want != "" {
			at := append(slices.Clone(path), "default")
			c.bad(at, c.defaultHint(at, kind), "does not fit the type %s: %s", quote(kind), want)
		}
	}
}

// briefly lists names, but not a hundred of them.
func briefly(names []string) string {
	const most = 10
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "…")
	}
	return strings.Join(names, ", ")
}

func modelHint(ref string, models []string) string {
	if near := nearest(ref, models); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "models: " + briefly(models)
}

// defaultHint says how a default would fit that is only written wrong.
func (c rules) defaultHint(path []string, kind string) string {
	n := c.report.nodeAt(path)
	if old, value := oldBool(n.Value); old && kind == string(FieldBool) {
		return fmt.Sprintf("write %t", value)
	}
	if kind == string(FieldString) || kind == string(FieldText) {
		return "put it in quotes: " + quote(n.Value)
	}
	return ""
}

// defaultFault says what a default of a type must be, or "" if it is that.
func defaultFault(kind FieldType, value any) string {
	text, isText := value.(string)
	n, isNumber := number(value)
	_, isBool := value.(bool)
	fits, want := true, ""
	switch kind {
	case FieldString:
		fits, want = isText && utf8.RuneCountInString(text) <= maxString, fmt.Sprintf("must be a text of at most %d characters", maxString)
	case FieldText:
		fits, want = isText, "must be a text"
	case FieldInt: // beyond 2^53, JSON numbers are not exact
		fits, want = isNumber && n == math.Trunc(n) && math.Abs(n) <= 1<<53, "must be a whole number within ±2^53"
	case FieldFloat:
		fits, want = isNumber, "must be a number"
	case FieldBool:
		fits, want = isBool, "must be true or false"
	case FieldDate:
		_, err := time.Parse(time.DateOnly, text)
		fits, want = err == nil, "must be a date such as 2025-01-31"
	case FieldTime:
		_, err := time.Parse(time.RFC3339, text)
		fits, want = err == nil, "must be a time such as 2025-01-31T09:30:00Z"
	case FieldUUID:
		fits, want = uuidForm.MatchString(text), "must be a UUID such as 6f9619ff-8b86-d011-b42d-00c04fc964ff"
	case FieldJSON: // \u0000 is JSON, but nothing that Postgres stores
		fits, want = json.Valid([]byte(text)) && !strings.Contains(text, `\u0000`), `must be JSON in quotes, such as '{"a": 1}'`
	case FieldRef:
		fits, want = false, "a ref has no default"
	}
	if fits {
		return ""
	}
	return want
}
