package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/gitopsd/gitopsd/internal/policy"
)

// TestStarterPolicyShowsEveryKey compares the policy that gitopsd init writes
// with the schema: it has every key, and the default of each that has one, but
// where it gives an example.
func TestStarterPolicyShowsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := starter{}.render("starter/gitopsd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := yaml.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	s := shownSchema{t: t, defs: schema["$defs"].(map[string]any), text: string(text)}
	if seen := s.compare("", schema, shown); seen < 30 {
		t.Errorf("only %d keys were compared: the test reads the schema wrong", seen)
	}
}

type shownSchema struct {
	t    *testing.T
	defs map[string]any
	text string
}

// examples are the keys that are shown with another value than their default.
var examples = []string{".spec.branch", ".spec.rules", ".spec.rules.when"}

// compare returns how many keys it saw.
func (s shownSchema) compare(at string, schema map[string]any, value any) int {
	if ref, ok := schema["$ref"].(string); ok {
		schema = s.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		list, _ := value.([]any)
		if len(list) > 0 {
			return s.compare(at, items, list[0])
		}
		if _, deep := items["$ref"]; deep {
			return s.commented(at, items)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	shown, _ := value.(map[string]any)
	seen := 0
	for key, p := range properties {
		below := at + "." + key
		property := p.(map[string]any)
		got, ok := shown[key]
		if !ok {
			s.t.Errorf("%s is not shown", below)
			continue
		}
		_, nested := property["properties"]
		if want, has := property["default"]; has && !nested && !slices.Contains(examples, below) && !sameJSON(got, want) {
			s.t.Errorf("%s is %v, want its default %v", below, got, want)
		}
		seen += 1 + s.compare(below, property, got)
	}
	return seen
}

// commented looks for the keys of a list's items in the comments: the list is
// empty, as its items are nobody's but the reader's.
func (s shownSchema) commented(at string, items map[string]any) int {
	def := s.defs[strings.TrimPrefix(items["$ref"].(string), "#/$defs/")].(map[string]any)
	seen := 0
	for key := range def["properties"].(map[string]any) {
		seen++
		if !strings.Contains(s.text, key+": ") {
			s.t.Errorf("%s.%s is not shown, not even in a comment", at, key)
		}
	}
	return seen
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
