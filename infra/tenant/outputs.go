package tenant

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// decode reads outputs into a struct by its json tags. All but the optional
// ones must be there and not empty.
func decode(values map[string]any, into any, optional ...string) error {
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return err
	}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if v.Field(i).IsZero() && !slices.Contains(optional, name) {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}
