package tenant

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"
)

// wrongType words a value of another type than the schema's.
func (w violations) wrongType(path []string, s map[string]any, k *kind.Type) {
	n := w.report.nodeAt(path)
	if k.Got == "null" {
		hint := "write one, or remove the key"
		if k.Want[0] == "string" {
			hint += `; an empty text is ""`
		}
		w.report.at(w.report.locate(path...), subject(path)+" has no value", hint)
		return
	}
	var wants []string
	for _, t := range k.Want {
		wants = append(wants, typeName(t))
	}
	hint := ""
	switch {
	case wanted(s) != "" && k.Want[0] == "string":
		hint, wants = wanted(s), wants[:1]
		if len(k.Want) == 1 && n.Kind == yaml.ScalarNode {
			hint = "put it in quotes: " + strconv.Quote(n.Value)
		}
	case n.Kind == yaml.ScalarNode:
		hint = scalarHint(n, k)
		if hint == "" && k.Want[0] == "integer" { // the description has the unit
			hint = firstSentence(s)
		}
	case k.Got == "object" && k.Want[0] == "array":
		hint = "write - before each item"
	}
	w.report.at(w.report.locate(path...),
		fmt.Sprintf("%s is %s, but must be %s", subject(path), shown(n, k.Got), strings.Join(wants, " or ")), hint)
}

// scalarHint says how to write the scalar so that it is of the type wanted.
func scalarHint(n *yaml.Node, k *kind.Type) string {
	old, value := oldBool(n.Value)
	_, numeric := strconv.ParseFloat(n.Value, 64)
	switch want := k.Want[0]; {
	case want == "string":
		return "put it in quotes: " + strconv.Quote(n.Value)
	case want == "boolean" && old:
		return fmt.Sprintf("write %t", value)
	case want == "boolean" && (n.Value == "true" || n.Value == "false"),
		(want == "integer" || want == "number") && k.Got == "string" && numeric == nil && n.Style != 0:
		return fmt.Sprintf("write %s without quotes", n.Value)
	case want == "array":
		return fmt.Sprintf("write [%s]", n.Value)
	}
	return ""
}

func subject(path []string) string {
	if len(path) == 0 {
		return "the file"
	}
	return spell(path)
}

// typeName is what people call a JSON type.
func typeName(jsonType string) string {
	switch jsonType {
	case "object":
		return "a mapping (key: value)"
	case "array":
		return "a list"
	case "string":
		return "a text"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "boolean":
		return "true or false"
	}
	return jsonType
}

// shown describes the value that stands in the file.
func shown(n *yaml.Node, got string) string {
	switch got {
	case "string":
		return "the text " + quote(n.Value)
	case "number":
		return "the number " + n.Value
	case "boolean":
		return n.Value
	case "object":
		return "a mapping"
	}
	return typeName(got)
}

func (w violations) notInEnum(path []string, k *kind.Enum) {
	names := make([]string, len(k.Want))
	for i, v := range k.Want {
		names[i] = fmt.Sprint(v)
	}
	text, _ := k.Got.(string)
	message := fmt.Sprintf("%s is %s", spell(path), quote(text))
	if len(names) == 1 {
		w.report.at(w.report.locate(path...), message, "must be "+names[0])
		return
	}
	hint := "must be " + strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	if near := nearest(text, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? it %s", near, hint)
	}
	w.report.at(w.report.locate(path...), message, hint)
}

// badValue words a value of the right type that is not acceptable.
func (w violations) badValue(e *jsonschema.ValidationError) {
	s, path := w.rules.at(e.SchemaURL), e.InstanceLocation
	message, hint := w.unsuitable(s, path)
	switch k := e.ErrorKind.(type) {
	case *kind.Not:
		if reserved := w.reserved(s); reserved != "" {
			message = fmt.Sprintf("%s is a reserved name", quote(w.report.nodeAt(path).Value))
			hint = reserved
		}
	case *kind.Minimum:
		hint = cmp.Or(hint, "must be at least "+k.Want.RatString())
	case *kind.Maximum:
		hint = cmp.Or(hint, "must be at most "+k.Want.RatString())
	case *kind.MaxLength:
		message, hint = tooLong(path, "characters", k.Got, k.Want)
	case *kind.MaxItems:
		message, hint = tooLong(path, "items", k.Got, k.Want)
	case *kind.MaxProperties:
		message, hint = tooLong(path, "keys", k.Got, k.Want)
	case *kind.MinItems:
		message, hint = subject(path)+" is empty", fmt.Sprintf("write at least %d", k.Want)
	}
	w.report.at(w.report.locate(path...), message, hint)
}

// unsuitable words a value that is not what its schema describes. An address
// is not repeated: it may hold a password.
func (w violations) unsuitable(s map[string]any, path []string) (message, hint string) {
	n := w.report.nodeAt(path)
	hint = cmp.Or(valueHint(path, n.Value), wanted(s))
	if slices.Contains(path, "url") {
		return subject(path) + " is no usable address", hint
	}
	if n.Style == 0 && n.Tag != "!!str" {
		return subject(path) + " is " + n.Value, hint
	}
	return subject(path) + " is " + quote(n.Value), hint
}

func tooLong(path []string, unit string, got, want int) (message, hint string) {
	return fmt.Sprintf("%s has %d %s", subject(path), got, unit), fmt.Sprintf("at most %d", want)
}

// valueHint says what is wrong with values that are often written wrong.
func valueHint(path []string, value string) string {
	switch {
	case len(path) == 3 && path[1] == "domains":
		return domainHint(value)
	case slices.Contains(path, "url") && !strings.Contains(value, "://") && strings.Contains(value, "@"):
		return "write https://host/path instead of git@host:path"
	case slices.Contains(path, "url") && strings.HasPrefix(value, "http://"):
		return "write https://"
	}
	return ""
}

func domainHint(host string) string {
	switch _, err := netip.ParseAddr(host); {
	case err == nil:
		return "an IP address gets no certificate; write a host name"
	case strings.Contains(host, "://"):
		return "write the host name alone, without scheme and path"
	case strings.Contains(host, "*"):
		return "wildcards are not supported; list each host name"
	case strings.Contains(host, ":"):
		return "write the host name without a port"
	case strings.IndexFunc(host, func(c rune) bool { return c > 0x7F }) >= 0:
		return "write the name's ASCII form, which begins with xn--"
	case strings.HasSuffix(host, "."):
		return "write it without the dot at the end"
	case host != strings.ToLower(host):
		return "write it in lower case: " + quote(strings.ToLower(host))
	}
	return ""
}

// list writes names in a row.
func list(names []any) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = fmt.Sprint(name)
	}
	return strings.Join(texts, ", ")
}
