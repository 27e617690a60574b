package tenant

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits of a tenant file. Each is far above what a real one needs, and low
// enough that a hostile one costs milliseconds.
const (
	MaxFile     = 256 << 10 // bytes of a file
	maxDepth    = 24        // mappings and lists in one another
	maxExpanded = 10_000    // values that come from aliases
	maxProblems = 100       // reported of a file; the rest is counted
)

// Parse reads a tenant file. It returns either the tenant, with every default
// filled in, or the problems of the file, ordered by position: all of them,
// unless the text is no YAML at all. path is relative to the repository's root;
// its stem must be the tenant's name.
func Parse(path string, data []byte) (*Tenant, Problems) {
	f := parse(path, data)
	return f.Tenant, f.Problems
}

// parse is Parse, keeping what later checks need.
func parse(name string, data []byte) File {
	f := File{Path: name, Name: stem(name)}
	format := theFormat()
	r := format.report(name)
	doc, ok := readDocument(r, data)
	if ok {
		f.domains = check(r, format.rules, doc, f.Name)
		if len(r.found) == 0 {
			f.Tenant = decode(doc.value)
		}
	}
	f.Problems = r.sorted()
	return f
}

// check applies the schema and the rules to a document that could be read, and
// returns where its domains stand.
func check(r *report, rules *rulebook, doc *document, stem string) []place {
	r.root = doc.root
	for i, phase := range []func(){
		func() { checkSchema(r, rules, doc.value) },
		func() { checkRules(r, doc.value, stem) },
		func() { checkUnclear(r, doc.unclear) },
	} {
		r.phase = i + 1
		phase()
	}
	domains, _ := dig(doc.value, "spec", "domains").([]any)
	places := make([]place, len(domains))
	for i := range domains {
		places[i] = r.locate("spec", "domains", index(i))
	}
	return places
}

// stem returns a file's name without directory and suffix.
func stem(name string) string {
	base := path.Base(name)
	return strings.TrimSuffix(base, path.Ext(base))
}

// report collects the problems of one file.
type report struct {
	file  string
	kind  string // what the file describes, as its key kind says
	root  *yaml.Node
	phase int // of the checks; an earlier one's problem explains a later one's
	found []finding
	keys  map[*yaml.Node]map[string]int // see keysOf
}

// noun is what the file describes, in a sentence.
func (r *report) noun() string { return strings.ToLower(r.kind) }

// finding is a problem before it is known whether it will be reported.
type finding struct {
	Problem
	phase int
	more  func() string // the hint, if it costs time to make
}

// add notes a problem at a position; line 0 means the file as a whole.
func (r *report) add(line, column int, message, hint string) {
	r.found = append(r.found, finding{phase: r.phase, Problem: Problem{
		File: r.file, Line: line, Column: column, Message: message, Hint: hint,
	}})
}

// at notes a problem where the user can see it.
func (r *report) at(p place, message, hint string) {
	if p.alias != nil {
		message += fmt.Sprintf("; the value comes from &%s in line %d", p.alias.Value, p.alias.Alias.Line)
	}
	r.add(p.line, p.column, message, hint)
}

// atWith is at, with a hint that is only made if the problem is reported.
func (r *report) atWith(p place, message string, hint func() string) {
	r.at(p, message, "")
	r.found[len(r.found)-1].more = hint
}

// sorted returns the problems ordered by position, cut at maxProblems. Where an
// earlier phase found something, what a later one found at the same position
// follows from it and is left out. The order does not depend on that of the
// findings, in which the validator is random.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.phase, b.phase), cmp.Compare(a.Message, b.Message))
	})
	found := r.found[:0]
	for _, f := range r.found {
		if n := len(found) - 1; n >= 0 && f.Line == found[n].Line && f.Column == found[n].Column &&
			(f.phase != found[n].phase || f.Message == found[n].Message) {
			continue
		}
		found = append(found, f)
	}
	var ps Problems
	for i, f := range found {
		if i == maxProblems {
			f.Message, f.Hint = fmt.Sprintf("and %d more problems from here on", len(found)-i), ""
			return append(ps, f.Problem)
		}
		if f.more != nil {
			f.Hint = f.more()
		}
		ps = append(ps, f.Problem)
	}
	return ps
}
