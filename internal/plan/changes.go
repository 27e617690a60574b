package plan

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Changes returns the fields that differ between two tenants, dotted and
// sorted, such as "compute.scale.max". A list counts as one field.
func Changes(from, to *tenant.Tenant) []string {
	fields := map[string]struct{}{}
	compare("", tree(from), tree(to), fields)
	return slices.Sorted(maps.Keys(fields))
}

func tree(t *tenant.Tenant) map[string]any {
	var m map[string]any
	b, err := json.Marshal(t)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic(err) // a Tenant survives JSON
	}
	return m
}

func compare(path string, from, to any, fields map[string]struct{}) {
	a, isA := from.(map[string]any)
	b, isB := to.(map[string]any)
	if (isA || from == nil) && (isB || to == nil) && (isA || isB) {
		keys := maps.Clone(b)
		if keys == nil {
			keys = map[string]any{}
		}
		maps.Copy(keys, a)
		for k := range keys {
			compare(join(path, k), a[k], b[k], fields)
		}
		return
	}
	if !reflect.DeepEqual(from, to) {
		fields[path] = struct{}{}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
