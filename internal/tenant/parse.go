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
	r := &report{file: name}
	doc, ok := readDocument(r, data)
	if ok {
		f.domains = check(r, doc, f.Name)
		if len(r.problems) == 0 {
			f.Tenant = decode(doc.value)
		}
	}
	f.Problems = r.sorted()
	return f
}

// check applies the schema and the rules to a document that could be read, and
// returns where its domains stand.
func check(r *report, doc *document, stem string) []place {
	r.root = doc.root
	checkSchema(r, doc.value)
	checkRules(r, doc.value, stem)
	checkUnclear(r, doc.unclear)
	domains, _ := dig(doc.value, "spec", "domains").([]any)
	places := make([]place, len(domains))
	for i := range domains {
		places[i] = locate(doc.root, "spec", "domains", index(i))
	}
	return places
}

// stem returns a file's name without directory and suffix.
func stem(name string) string {
	base := path.Base(name)
	return strings.TrimSuffix(base, path.Ext(base))
}

// report collects the problems of one file: at most one for each position, the
// first, since what is found later at the same place follows from it.
type report struct {
	file     string
	root     *yaml.Node
	problems Problems
	taken    map[[2]int]bool
}

// add notes a problem at a position; line 0 means the file as a whole.
func (r *report) add(line, column int, message, hint string) {
	at := [2]int{line, column}
	if r.taken[at] {
		return
	}
	if r.taken == nil {
		r.taken = make(map[[2]int]bool)
	}
	r.taken[at] = true
	r.problems = append(r.problems, Problem{
		File: r.file, Line: line, Column: column, Message: message, Hint: hint,
	})
}

// at notes a problem where the user can see it.
func (r *report) at(p place, message, hint string) {
	if p.alias != nil {
		message += fmt.Sprintf("; the value comes from &%s in line %d", p.alias.Value, p.alias.Alias.Line)
	}
	r.add(p.line, p.column, message, hint)
}

// full reports whether further problems will only be counted.
func (r *report) full() bool { return len(r.problems) >= maxProblems }

// sorted returns the problems ordered by position, cut at maxProblems.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(r.problems) - maxProblems; more > 0 {
		first := r.problems[maxProblems]
		r.problems = append(r.problems[:maxProblems:maxProblems], Problem{
			File: r.file, Line: first.Line, Column: first.Column,
			Message: fmt.Sprintf("and %d more problems from here on", more),
		})
	}
	return r.problems
}
