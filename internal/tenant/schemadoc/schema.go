package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// node is a JSON Schema, as far as the page tells it.
type node struct {
	Ref         string          `json:"$ref"`
	Description string          `json:"description"`
	Type        types           `json:"type"`
	Default     json.RawMessage `json:"default"`
	Enum        []string        `json:"enum"`
	Minimum     *int            `json:"minimum"`
	Maximum     *int            `json:"maximum"`
	MaxLength   int             `json:"maxLength"`
	MaxItems    int             `json:"maxItems"`
	Wanted      string          `json:"patternErrorMessage"`
	Required    []string        `json:"required"`
	Properties  members         `json:"properties"`
	Additional  json.RawMessage `json:"additionalProperties"`
	Names       *node           `json:"propertyNames"`
	Items       *node           `json:"items"`
	Not         *node           `json:"not"`
	OneOf       []node          `json:"oneOf"`
	Defs        members         `json:"$defs"`
}

// types is one type or several.
type types []string

func (t *types) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(t))
	}
	*t = types{""}
	return json.Unmarshal(data, &(*t)[0])
}

// members are named schemas in the order of the file.
type members []member

type member struct {
	name string
	node node
}

func (m *members) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil { // the opening brace
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		one := member{name: fmt.Sprint(name)}
		if err := dec.Decode(&one.node); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*m = append(*m, one)
	}
	return nil
}

// resolve returns n with what it refers to filled in.
func (n node) resolve(root *node) node {
	name, ok := strings.CutPrefix(n.Ref, "#/$defs/")
	if !ok {
		return n
	}
	for _, def := range root.Defs {
		if def.name == name {
			full := def.node
			if n.Description != "" {
				full.Description = n.Description
			}
			if n.Default != nil {
				full.Default = n.Default
			}
			return full
		}
	}
	return n
}
