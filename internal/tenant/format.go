package tenant

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Format is a kind of YAML file that a JSON Schema describes: tenant files, and
// others of a repository that are read as strictly and reported as well.
type Format struct {
	kind  string
	rules *rulebook
}

// NewFormat returns the format of the files whose key kind says so. It panics if
// the schema, which is part of the program, does not compile.
func NewFormat(kind string, schema []byte) *Format {
	return &Format{kind: kind, rules: newRulebook(strings.ToLower(kind)+".schema.json", schema)}
}

func (f *Format) report(file string) *report { return &report{file: file, kind: f.kind} }

// Document is a file that was read, and what is wrong with it.
type Document struct {
	// Value is the file's content as JSON has it; nil if it could not be read.
	Value map[string]any

	report *report
	data   []byte
}

// Read checks a file against the format's schema, within the limits of a tenant
// file. The name is only shown.
func (f *Format) Read(name string, data []byte) *Document {
	d := &Document{report: f.report(name), data: data}
	doc, ok := readDocument(d.report, data)
	if !ok {
		return d
	}
	d.report.root = doc.root
	d.report.phase = 1
	checkSchema(d.report, f.rules, doc.value)
	d.report.phase = 2
	checkUnclear(d.report, doc.unclear)
	d.Value, _ = doc.value.(map[string]any)
	return d
}

// Problems returns what is wrong, by position.
func (d *Document) Problems() Problems {
	r := *d.report
	r.found = slices.Clone(r.found) // which sorting uses up
	return r.sorted()
}

// Refuse notes a problem with the value at a path.
func (d *Document) Refuse(path []string, message, hint string) {
	d.report.at(d.report.locate(path...), message, hint)
}

// RefuseInside notes a problem in a text of several tokens, at a line and column
// of it, both from 1. Where the file writes the text so that its columns are not
// the file's (folded, escaped), the problem stands where the text begins.
func (d *Document) RefuseInside(path []string, line, column int, message, hint string) {
	at := d.report.locate(path...)
	if at.alias == nil {
		at.line, at.column = d.inside(d.report.nodeAt(path), at, line, column)
	}
	d.report.at(at, message, hint)
}

// Place returns where the value at a path stands, both from 1.
func (d *Document) Place(path ...string) (line, column int) {
	p := d.report.locate(path...)
	return p.line, p.column
}

// inside returns where a line and column of a scalar's text stand in the file.
func (d *Document) inside(n *yaml.Node, at place, line, column int) (int, int) {
	lines := bytes.Split(d.data, []byte("\n"))
	if n.Line < 1 || n.Line > len(lines) {
		return at.line, at.column
	}
	switch {
	case n.Style&yaml.LiteralStyle != 0 && n.Line+line <= len(lines):
		indent := 0
		for _, l := range lines[n.Line:] { // the first line with a text sets it
			if text := bytes.TrimLeft(l, " "); len(bytes.TrimSpace(text)) > 0 {
				indent = len(l) - len(text)
				break
			}
		}
		return n.Line + line, indent + column
	case line != 1:
	case n.Style&^yaml.FlowStyle == 0 && !strings.Contains(n.Value, "\n"):
		if plainAt(lines[n.Line-1], n.Column, n.Value) {
			return n.Line, n.Column + column - 1
		}
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		if plainAt(lines[n.Line-1], n.Column+1, n.Value) {
			return n.Line, n.Column + column
		}
	}
	return at.line, at.column
}

// plainAt reports whether the line has the text, as it is, from a column on.
func plainAt(line []byte, column int, text string) bool {
	for range column - 1 {
		_, size := utf8.DecodeRune(line)
		line = line[size:]
	}
	return bytes.HasPrefix(line, []byte(text))
}
