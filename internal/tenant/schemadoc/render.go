package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/tenant"
	"github.com/gitopsd/gitopsd/schema"
)

//go:embed head.md
var head string

//go:embed example.yaml
var example []byte

//go:embed wrong.yaml
var wrong []byte

// page is the Markdown being written.
type page struct {
	bytes.Buffer
	root node
}

// render returns docs/tenant.md.
func render() ([]byte, error) {
	p := &page{}
	if err := json.Unmarshal(schema.Tenant, &p.root); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if _, problems := tenant.Parse("tenants/acme.yaml", example); problems != nil {
		return nil, fmt.Errorf("the example has problems: %w", problems)
	}
	_, problems := tenant.Parse("tenants/bolt.yaml", wrong)
	if problems == nil {
		return nil, fmt.Errorf("the example of a file with problems has none")
	}
	p.WriteString(strings.NewReplacer(
		"{{example}}", strings.TrimSpace(string(example)),
		"{{wrong}}", strings.TrimSpace(string(wrong)),
		"{{problems}}", problems.Error(),
		"{{size}}", strconv.Itoa(tenant.MaxFile>>10),
	).Replace(head))
	p.section("", p.root)
	return p.Bytes(), nil
}

// section writes the table of a mapping's keys, then the sections below it.
func (p *page) section(path string, n node) {
	title, intro := "The file", n.Description
	if path != "" {
		title = "`" + path + "`"
	}
	fmt.Fprintf(p, "\n### %s\n\n%s\n\n", title, intro)
	p.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, m := range n.Properties {
		full := m.node.resolve(&p.root)
		fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", m.name, p.kind(full), initial(n, m.name, full), p.meaning(full))
	}
	for _, m := range n.Properties {
		full, below := m.node.resolve(&p.root), strings.TrimPrefix(path+"."+m.name, ".")
		if full.Items != nil {
			full, below = full.Items.resolve(&p.root), below+"[]"
		}
		if full.Properties != nil {
			p.section(below, full)
		}
	}
}

// kind returns what people call the type.
func (p *page) kind(n node) string {
	switch {
	case n.Enum != nil:
		return "`" + strings.Join(n.Enum, "` \\| `") + "`"
	case n.Wanted != "" && strings.Contains(n.Wanted, "duration"):
		return "duration"
	case n.Items != nil && n.Items.resolve(&p.root).Properties != nil:
		return "list of mappings"
	case n.Items != nil:
		return "list of texts"
	case n.Type[0] == "object" && n.Properties == nil:
		return "mapping of texts"
	}
	words := map[string]string{
		"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` \\| `false`", "object": "mapping",
	}
	names := make([]string, len(n.Type))
	for i, t := range n.Type {
		names[i] = words[t]
	}
	return strings.Join(names, ", ")
}

// initial returns the default's cell.
func initial(parent node, key string, n node) string {
	inOneOf := slices.ContainsFunc(parent.OneOf, func(b node) bool { return slices.Contains(b.Required, key) })
	var text string
	switch {
	case slices.Contains(parent.Required, key):
		return "**required**"
	case inOneOf:
		return "**one of them**"
	case n.Default == nil:
		return ""
	case n.Properties != nil: // its own table has the defaults
		return ""
	case json.Unmarshal(n.Default, &text) == nil && text != "":
		return "`" + text + "`"
	}
	return "`" + string(n.Default) + "`"
}

// meaning returns the description with the limits.
func (p *page) meaning(n node) string {
	parts := []string{n.Description}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	value, whose := n, ""
	if n.Items != nil && n.Items.resolve(&p.root).Properties == nil {
		value, whose = n.Items.resolve(&p.root), "Each "
	}
	if n.Names != nil {
		p.rule(&parts, "Keys ", *n.Names)
		_ = json.Unmarshal(n.Additional, &value) // additionalProperties is a schema here
		value.Names, whose = nil, "Values "
	}
	p.rule(&parts, whose, value)
	if n.Minimum != nil && n.Maximum != nil && n.Wanted == "" {
		add("%d to %d.", *n.Minimum, *n.Maximum)
	}
	if n.MaxItems > 0 {
		add("At most %d.", n.MaxItems)
	}
	return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(strings.Join(parts, " "))
}

// rule adds what a text must be.
func (p *page) rule(parts *[]string, whose string, n node) {
	if n.Wanted != "" {
		text := whose + n.Wanted
		if n.MaxLength > 0 {
			text += fmt.Sprintf("; at most %d characters", n.MaxLength)
		}
		*parts = append(*parts, strings.ToUpper(text[:1])+text[1:]+".")
	}
	if n.Not != nil {
		if names := n.Not.resolve(&p.root).Enum; names != nil {
			*parts = append(*parts, "Reserved: `"+strings.Join(names, "`, `")+"`.")
		}
	}
}
