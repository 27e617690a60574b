package check

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Statement is one statement of a policy that a program registered.
type Statement struct {
	Of        string // <token> <name> of the resource it is part of
	Effect    string
	Actions   []string
	Resources []string
	Condition map[string]any
}

// Policies returns all statements of all policies among the resources: of every
// input that is one, whatever its name.
func Policies(resources []Resource) ([]Statement, error) {
	var out []Statement
	for _, r := range resources {
		for k, v := range r.Inputs {
			text, ok := textOf(v)
			if !ok || !strings.Contains(text, `"Statement"`) {
				continue
			}
			var doc struct {
				Statement []struct {
					Effect           string
					Action, Resource any
					Condition        map[string]any
				}
			}
			if err := json.Unmarshal([]byte(text), &doc); err != nil {
				return nil, fmt.Errorf("%s of %s %s: %w", k, r.Token, r.Name, err)
			}
			for _, s := range doc.Statement {
				out = append(out, Statement{r.Token + " " + r.Name, s.Effect, list(s.Action), list(s.Resource), s.Condition})
			}
		}
	}
	return out, nil
}

func textOf(v resource.PropertyValue) (string, bool) {
	if v.IsSecret() {
		v = v.SecretValue().Element
	}
	if !v.IsString() {
		return "", false
	}
	return v.StringValue(), true
}

// list returns a policy's one or many.
func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			s, _ := e.(string)
			out = append(out, s)
		}
		return out
	}
	return nil
}

// TooWide says which statements allow actions by a pattern.
func TooWide(statements []Statement) []string {
	var out []string
	for _, s := range statements {
		if s.Effect != "Allow" {
			continue
		}
		if len(s.Actions) == 0 {
			out = append(out, s.Of+": allows no named action")
		}
		for _, a := range s.Actions {
			if strings.ContainsAny(a, "*?") || !strings.Contains(a, ":") {
				out = append(out, fmt.Sprintf("%s: allows %s", s.Of, a))
			}
		}
	}
	return out
}
