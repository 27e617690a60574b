package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// checkSchema validates the value and words each violation.
func checkSchema(r *report, b *rulebook, value any) {
	var v *jsonschema.ValidationError
	if err := b.compiled.Validate(value); errors.As(err, &v) {
		violations{report: r, rules: b, value: value}.visit(v)
	}
}

// violations turns the validator's tree of errors into problems.
type violations struct {
	report *report
	rules  *rulebook
	value  any
}

// visit words the leaves below e.
func (w violations) visit(e *jsonschema.ValidationError) {
	path := e.InstanceLocation
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			w.unknownKey(e, key)
		}
	case *kind.PropertyNames:
		w.badName(e, k.Property)
	case *kind.Required:
		w.missing(path, w.rules.at(e.SchemaURL), k.Missing)
	case *kind.OneOf:
		w.notOne(path, w.rules.at(e.SchemaURL))
	case *kind.Type:
		w.wrongType(path, w.rules.at(e.SchemaURL), k)
	case *kind.Enum:
		w.notInEnum(path, k)
	case *kind.UniqueItems:
		w.twice(path)
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			w.visit(cause)
		}
	default:
		w.badValue(e)
	}
}

func (w violations) unknownKey(e *jsonschema.ValidationError, key string) {
	path := append(slices.Clone(e.InstanceLocation), key)
	where := "at the top of the file"
	if len(e.InstanceLocation) > 0 {
		where = "in " + spell(e.InstanceLocation)
	}
	w.report.atWith(w.report.locateKey(path...),
		fmt.Sprintf("unknown key %s %s", quote(key), where), func() string { return w.keyHint(e, key) })
}

// keyHint says which key was meant, or where the key belongs, or which there are.
func (w violations) keyHint(e *jsonschema.ValidationError, key string) string {
	known := keysOf(properties(w.rules.at(e.SchemaURL)))
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if homes := w.rules.homes[key]; len(homes) == 1 && homes[0] != "" {
		return fmt.Sprintf("%q belongs in %s", key, homes[0])
	}
	return "known here: " + strings.Join(known, ", ")
}

// badName words a key of a free mapping (labels, env) that cannot be a name.
// The validator's own location is of no use here: it shares memory with later
// ones. The schema's place says the same, since these mappings stand in no list.
func (w violations) badName(e *jsonschema.ValidationError, name string) {
	s := w.rules.at(e.SchemaURL)
	_, fragment, _ := strings.Cut(strings.TrimSuffix(e.SchemaURL, "/propertyNames"), "#/")
	var path []string
	for token := range strings.SplitSeq(fragment, "/") {
		if token != "properties" {
			path = append(path, token)
		}
	}
	message, hint := fmt.Sprintf("%s is no possible key of %s", quote(name), spell(path)), wanted(s)
	for _, leaf := range leaves(e) {
		switch k := leaf.ErrorKind.(type) {
		case *kind.Not:
			message = fmt.Sprintf("%s is a reserved name", quote(name))
			hint = w.reserved(s)
		case *kind.MaxLength:
			hint = fmt.Sprintf("at most %d characters", k.Want)
		}
	}
	w.report.at(w.report.locateKey(append(path, name)...), message, hint)
}

// leaves returns the errors that say what is wrong in the end.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

// reserved lists the names a schema's "not" takes out, or returns "".
func (w violations) reserved(s map[string]any) string {
	not, _ := s["not"].(map[string]any)
	names, _ := w.rules.resolve(not)["enum"].([]any)
	if len(names) == 0 {
		return ""
	}
	return "reserved: " + list(names)
}

func (w violations) missing(path []string, s map[string]any, keys []string) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = spell(append(slices.Clone(path), key))
	}
	verb := "is"
	if len(names) > 1 {
		verb = "are"
	}
	hint := ""
	if len(keys) == 1 {
		sub, _ := properties(s)[keys[0]].(map[string]any)
		hint = example(keys[0], sub)
	}
	w.report.at(w.report.locate(path...), fmt.Sprintf("%s %s missing", strings.Join(names, " and "), verb), hint)
}

// example says what to write for a missing key.
func example(key string, s map[string]any) string {
	if only, _ := s["enum"].([]any); len(only) == 1 {
		return fmt.Sprintf("write %s: %v", key, only[0])
	}
	return key + ": " + firstSentence(s)
}

// firstSentence returns what a schema says of its value, without the dot.
func firstSentence(s map[string]any) string {
	description, _ := s["description"].(string)
	sentence, _, _ := strings.Cut(description, ". ")
	return strings.TrimSuffix(sentence, ".")
}

// notOne words that a mapping has none of the keys of which it needs one, or several.
func (w violations) notOne(path []string, s map[string]any) {
	var all, present []string
	branches, _ := s["oneOf"].([]any)
	has, _ := dig(w.value, path...).(map[string]any)
	for _, branch := range branches {
		required, _ := dig(branch, "required").([]any)
		for _, key := range required {
			name, _ := key.(string)
			all = append(all, name)
			if _, ok := has[name]; ok {
				present = append(present, name)
			}
		}
	}
	first, last := strings.Join(all[:len(all)-1], ", "), all[len(all)-1]
	choice := "exactly one of " + first + " and " + last
	if len(present) == 0 {
		w.report.at(w.report.locate(path...), fmt.Sprintf("%s has no %s or %s", spell(path), first, last), "write "+choice)
		return
	}
	slices.SortFunc(present, func(a, b string) int {
		pa, pb := w.keyPlace(path, a), w.keyPlace(path, b)
		return (pa.line-pb.line)*MaxFile + pa.column - pb.column
	})
	w.report.at(w.keyPlace(path, present[1]),
		fmt.Sprintf("%s has %s", spell(path), strings.Join(present, " and ")), "keep "+choice)
}

func (w violations) keyPlace(path []string, key string) place {
	return w.report.locateKey(append(slices.Clone(path), key)...)
}

// twice words the repetitions in a list of texts; the validator names but one.
func (w violations) twice(path []string) {
	items, _ := dig(w.value, path...).([]any)
	first := make(map[string]int, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			continue
		}
		before, again := first[text]
		if !again {
			first[text] = i
			continue
		}
		p := append(slices.Clone(path), index(i))
		p0 := append(slices.Clone(path), index(before))
		w.report.at(w.report.locate(p...), fmt.Sprintf("%s is %s again", spell(p), quote(text)),
			fmt.Sprintf("it stands in line %d already", w.report.locate(p0...).line))
	}
}
