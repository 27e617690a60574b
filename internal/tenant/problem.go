package tenant

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a tenant file.
type Problem struct {
	File    string `json:"file"`   // relative to the repository's root
	Line    int    `json:"line"`   // from 1; 0 if the file as a whole is meant
	Column  int    `json:"column"` // from 1, in characters
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what would be right
}

// String returns the problem as file:line:column: message (hint).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is a list of them, as an error: one line each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
