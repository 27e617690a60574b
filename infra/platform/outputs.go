package platform

import (
	"encoding/json"
	"fmt"
)

func decode(values map[string]any) (Outputs, error) {
	var o Outputs
	cell, ok := values[Output]
	if !ok {
		return o, fmt.Errorf("%s is missing", Output)
	}
	b, err := json.Marshal(cell)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, err
	}
	if o.Shared.Cell == "" || o.Shared.Account == "" {
		return o, fmt.Errorf("%s has no shared part", Output)
	}
	return o, nil
}
