package policy_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// examples returns the YAML of the page.
func examples(t *testing.T) (page string, all []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		if yaml, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			all = append(all, yaml)
		}
	}
	return string(text), all
}

func TestTheExamplesOfThePageHold(t *testing.T) {
	t.Parallel()
	_, all := examples(t)
	if len(all) != 2 {
		t.Fatalf("%d examples", len(all))
	}
	if s := load(t, all[0]).Settings(); !s.Signed || s.Preview.Seed != "seed.sql" {
		t.Errorf("%+v", s)
	}
	p := load(t, head+"  "+strings.ReplaceAll(strings.TrimSpace(all[1]), "\n", "\n  ")+"\n")
	pro := acme(func(t *tenant.Tenant) { t.Labels["plan"] = "pro" })
	large := acme(func(t *tenant.Tenant) { t.Compute.Memory *= 3 })
	for rule, step := range map[string]plan.Step{
		"pro-keeps-its-data": added(pro), "churned-first": deleted(pro),
		"grow-in-steps": {Desired: &plan.Desired{Tenant: large}, Applied: &plan.Applied{Tenant: acme(nil)}},
	} {
		if got := p.Judge(t.Context(), step); len(got) != 1 || !strings.HasPrefix(got[0], "rule "+rule+": ") {
			t.Errorf("%s: %q", rule, got)
		}
	}
	if got := p.Judge(t.Context(), added(acme(nil))); got != nil {
		t.Errorf("a harmless tenant: %q", got)
	}
}

// TestThePageHasEveryKey also checks that the schema tells editors of each.
func TestThePageHasEveryKey(t *testing.T) {
	t.Parallel()
	page, _ := examples(t)
	var root map[string]any
	if err := json.Unmarshal(policy.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if ref, ok := s["$ref"].(string); ok {
			for k, v := range root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any) {
				if s[k] == nil {
					s[k] = v
				}
			}
		}
		if text, _ := s["description"].(string); !strings.HasSuffix(text, ".") {
			t.Errorf("%s: description %q", path, text)
		}
		if s["type"] == nil {
			t.Errorf("%s: no type", path)
		}
		if items, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		properties, _ := s["properties"].(map[string]any)
		if s["type"] == "object" && s["additionalProperties"] != false {
			t.Errorf("%s: unknown keys pass", path)
		}
		for key, sub := range properties {
			keys++
			below := strings.TrimPrefix(path+"."+key, ".spec.")
			parent, last := "", below
			if i := strings.LastIndex(below, "."); i >= 0 {
				parent, last = below[:i], below[i:]
			}
			named := strings.Contains(page, "`"+below+"`") || strings.Contains(page, "| `"+parent+".") && strings.Contains(page, "`"+last+"`")
			if sub, ok := sub.(map[string]any); ok {
				section := sub["properties"] != nil || sub["items"] != nil && strings.Contains(page, "`"+below+"[]")
				if strings.HasPrefix(path, ".spec") && !named && !section {
					t.Errorf("the page lacks %s", below)
				}
				walk(path+"."+key, sub)
			}
		}
	}
	walk("", root)
	if keys < 30 {
		t.Errorf("only %d keys", keys)
	}
}
