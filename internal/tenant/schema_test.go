package tenant_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/tenant"
	"github.com/gitopsd/gitopsd/schema"
)

// node is a JSON Schema.
type node = map[string]any

func rootSchema(tb testing.TB) node {
	tb.Helper()
	var root node
	if err := json.Unmarshal(schema.Tenant, &root); err != nil {
		tb.Fatal(err)
	}
	return root
}

// eachKey calls f for every key that the schema knows, with its path, whether
// its mapping needs it, and its schema; list items are "[]".
func eachKey(root, s node, path string, f func(path string, needed bool, s node)) {
	s = resolve(root, s)
	if items, ok := s["items"].(node); ok {
		eachKey(root, items, path+"[]", f)
	}
	props, _ := s["properties"].(node)
	for key, sub := range props {
		below := strings.TrimPrefix(path+"."+key, ".")
		needed := strings.HasPrefix(below, "spec.app.") && oneOf(s, key)
		if required, ok := s["required"].([]any); ok {
			needed = needed || slices.Contains(required, any(key))
		}
		f(below, needed, sub.(node))
		eachKey(root, sub.(node), below, f)
	}
}

// resolve returns the schema that s refers to.
func resolve(root, s node) node {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	return root["$defs"].(node)[strings.TrimPrefix(ref, "#/$defs/")].(node)
}

func oneOf(s node, key string) bool {
	branches, _ := s["oneOf"].([]any)
	return slices.ContainsFunc(branches, func(b any) bool {
		return slices.Contains(b.(node)["required"].([]any), any(key))
	})
}

func TestSchemaTellsEditorsEverything(t *testing.T) {
	t.Parallel()
	root := rootSchema(t)
	withoutDefault := []string{ // optional, and nothing stands for "none"
		"spec.app.design.models[].fields[].default", "spec.app.design.models[].fields[].ref",
	}
	keys := 0
	eachKey(root, root, "", func(path string, needed bool, s node) {
		keys++
		if text, _ := s["description"].(string); len(text) < 10 || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: description %q", path, text)
		}
		if _, ok := s["default"]; ok == needed && !slices.Contains(withoutDefault, path) {
			t.Errorf("%s: has a default: %t, must be written: %t", path, ok, needed)
		}
		full := resolve(root, s)
		if full["type"] == nil {
			t.Errorf("%s: no type", path)
		}
		if full["type"] == "object" && full["additionalProperties"] == nil {
			t.Errorf("%s: unknown keys pass", path)
		}
	})
	if keys < 45 {
		t.Errorf("only %d keys", keys)
	}
}

func TestSchemaAndModelHaveTheSameDefaults(t *testing.T) {
	t.Parallel()
	root := rootSchema(t)
	file := map[string]any{}
	put := func(path string, value any) {
		at := file
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			if _, ok := at[key]; !ok {
				at[key] = map[string]any{}
			}
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = value
	}
	eachKey(root, root, "", func(path string, _ bool, s node) {
		value, ok := s["default"]
		source := strings.HasPrefix(path, "spec.app.design") || strings.HasPrefix(path, "spec.app.git")
		if m, section := value.(map[string]any); ok && !source && !(section && len(m) == 0) {
			put(path, value)
		}
	})
	put("apiVersion", "gitopsd.dev/v1")
	put("kind", "Tenant")
	put("metadata.name", "acme")
	put("spec.app.path", "apps/acme")
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mustParse(t, minimal), mustParse(t, string(data))); diff != "" {
		t.Errorf("defaults of the model (-) and of the schema (+):\n%s\n%s", diff, data)
	}
}

// TestEachKeyReachesTheModel writes every key of the schema with another value
// than the default and sees that it moves the right digest.
func TestEachKeyReachesTheModel(t *testing.T) {
	t.Parallel()
	const (
		bySource = "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: %s, labels: {%s}}\nspec: {app: {%s %s}, compute: {%s scale: {%s}}, isolation: {%s}, database: {%s}, cache: {%s}, deletion: {%s} %s}\n"
		design   = "design: {title: T, models: [{name: m, fields: [{name: a, type: int, required: false, unique: false, default: 1}, {name: r, type: ref, ref: m}]}, {name: n, fields: [{name: a, type: int}]}]}"
		git      = "git: {url: 'https://a/b', ref: main, path: x}"
	)
	file := func(place int, text string) string {
		at := []any{"acme", "", "path: apps/acme", "", "", "", "", "", "", "", ""}
		at[place] = text
		return fmt.Sprintf(bySource, at...)
	}
	swap := func(source, old, changed string) [2]string {
		if !strings.Contains(source, old) {
			t.Fatalf("%q is not in %q", old, source)
		}
		return [2]string{file(2, source), file(2, strings.Replace(source, old, changed, 1))}
	}
	to := func(place int, text string) [2]string { return [2]string{file(place, ""), file(place, text)} }
	infra := map[string][2]string{
		"metadata.labels":              to(1, "a: b"),
		"spec.suspend":                 to(10, ", suspend: true"),
		"spec.domains":                 to(10, ", domains: [a.example]"),
		"spec.compute.cpu":             to(4, "cpu: 512,"),
		"spec.compute.memory":          to(4, "memory: 1024,"),
		"spec.compute.idleAfter":       to(4, "idleAfter: 1m,"),
		"spec.compute.scale.min":       to(5, "min: 2"),
		"spec.compute.scale.max":       to(5, "max: 2"),
		"spec.compute.scale.targetCPU": to(5, "targetCPU: 50"),
		"spec.isolation.compute":       to(6, "compute: dedicated"),
		"spec.isolation.database":      to(6, "database: dedicated"),
		"spec.isolation.cache":         to(6, "cache: dedicated"),
		"spec.isolation.edge":          to(6, "edge: dedicated"),
		"spec.database.enabled":        to(7, "enabled: false"),
		"spec.database.connections":    to(7, "connections: 11"),
		"spec.cache.enabled":           to(8, "enabled: false"),
		"spec.deletion.protect":        to(9, "protect: true"),
		"spec.deletion.grace":          to(9, "grace: 1h"),
	}
	app := map[string][2]string{
		"spec.app.path":                              swap("path: apps/acme", "acme", "bolt"),
		"spec.app.env":                               to(3, ", env: {A: b}"),
		"spec.app.secrets":                           to(3, ", secrets: [A]"),
		"spec.app.health":                            to(3, ", health: /"),
		"spec.app.git.url":                           swap(git, "a/b", "a/c"),
		"spec.app.git.ref":                           swap(git, "main", "v1"),
		"spec.app.git.path":                          swap(git, "path: x", "path: y"),
		"spec.app.design.title":                      swap(design, "title: T", "title: U"),
		"spec.app.design.models[].name":              swap(design, "name: n", "name: o"),
		"spec.app.design.models[].fields[].name":     swap(design, "name: a", "name: b"),
		"spec.app.design.models[].fields[].type":     swap(design, "type: int", "type: float"),
		"spec.app.design.models[].fields[].required": swap(design, "required: false", "required: true"),
		"spec.app.design.models[].fields[].unique":   swap(design, "unique: false", "unique: true"),
		"spec.app.design.models[].fields[].default":  swap(design, "default: 1", "default: 2"),
		"spec.app.design.models[].fields[].ref":      swap(design, "ref: m", "ref: n"),
	}
	check := func(path string, files [2]string, want [2]bool) {
		before, after := digests(mustParse(t, files[0]), ""), digests(mustParse(t, files[1]), "")
		if moved := [2]bool{before[0] != after[0], before[1] != after[1]}; moved != want {
			t.Errorf("%s: infra and app digest moved: %v, want %v", path, moved, want)
		}
	}
	for path, files := range infra {
		check(path, files, [2]bool{true, false})
	}
	for path, files := range app {
		check(path, files, [2]bool{false, true})
	}
	tested := slices.Concat(slices.Collect(maps.Keys(infra)), slices.Collect(maps.Keys(app)),
		[]string{"apiVersion", "kind", "metadata.name"}) // which are the same in every valid file of a tenant
	root := rootSchema(t)
	eachKey(root, root, "", func(path string, _ bool, s node) {
		full := resolve(root, s)
		_, section := full["properties"]
		items, _ := full["items"].(node)
		if items != nil {
			_, section = resolve(root, items)["properties"]
		}
		if !section && !slices.Contains(tested, path) {
			t.Errorf("%s is not tested", path)
		}
	})
}

func TestSchemaStatesTheModelsLimits(t *testing.T) {
	t.Parallel()
	root := rootSchema(t)
	eachKey(root, root, "", func(path string, _ bool, s node) {
		if path == "metadata.name" && s["maxLength"] != float64(tenant.MaxName) {
			t.Errorf("metadata.name: maxLength %v, want %d", s["maxLength"], tenant.MaxName)
		}
	})
	for _, kind := range []tenant.FieldType{
		tenant.FieldString, tenant.FieldText, tenant.FieldInt, tenant.FieldFloat, tenant.FieldBool,
		tenant.FieldDate, tenant.FieldTime, tenant.FieldUUID, tenant.FieldJSON, tenant.FieldRef,
	} {
		types := root["$defs"].(node)["field"].(node)["properties"].(node)["type"].(node)["enum"].([]any)
		if len(types) != 10 || !slices.Contains(types, any(string(kind))) {
			t.Errorf("the schema's field types are %v, without %s", types, kind)
		}
	}
}
