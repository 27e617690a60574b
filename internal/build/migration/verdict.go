package migration

import (
	"fmt"
	"slices"
	"strings"
)

// Migration is one file, or the whole change of a design's tables.
type Migration struct {
	Name    string  `json:"name"`          // of the file, or "design"
	SQL     string  `json:"sql,omitempty"` // of its Up section, at most maxSQL bytes and a line that says that it is cut
	Verdict Verdict `json:"verdict"`
	// Why has what is to be said of it, also of one that is Safe. Names in it
	// come from the SQL.
	Why []string `json:"why,omitempty"`
}

// Verdict says how dangerous a migration is.
type Verdict string

// The verdicts, the worst last.
const (
	Safe        Verdict = "safe"        // nobody notices
	Caution     Verdict = "caution"     // it may fail, wait, make others wait, or break the release before it
	Destructive Verdict = "destructive" // data is lost
	Error       Verdict = "error"       // it cannot run, or does not do what it seems to
)

// Severity returns 0 for Safe, and more for worse.
func (v Verdict) Severity() int {
	return slices.Index([]Verdict{Safe, Caution, Destructive, Error}, v)
}

const (
	maxSQL  = 4 << 10 // bytes of a migration's SQL that are shown
	mostWhy = 20      // reasons of one migration
	maxName = 80      // characters of a name in a reason
)

// report collects what is to be said of one migration.
type report struct {
	verdict Verdict
	why     []string
	more    int
	line    int // of the statement that is looked at; 0 to name none
}

func newReport() *report { return &report{verdict: Safe} }

func (r *report) add(v Verdict, format string, args ...any) {
	if v.Severity() > r.verdict.Severity() {
		r.verdict = v
	}
	text := fmt.Sprintf(format, args...)
	if r.line > 0 {
		text = fmt.Sprintf("line %d: %s", r.line, text)
	}
	switch {
	case slices.Contains(r.why, text):
	case len(r.why) < mostWhy:
		r.why = append(r.why, text)
	default:
		r.more++
	}
}

func (r *report) migration(name, sql string) Migration {
	why := r.why
	if r.more > 0 {
		why = append(why, fmt.Sprintf("and %d more", r.more))
	}
	return Migration{Name: name, SQL: bounded(sql), Verdict: r.verdict, Why: why}
}

// bounded cuts SQL to what is shown.
func bounded(sql string) string {
	sql = strings.ToValidUTF8(sql, "\uFFFD")
	if len(sql) <= maxSQL {
		return sql
	}
	return strings.ToValidUTF8(sql[:maxSQL], "") + fmt.Sprintf("\n-- cut: %d bytes in all", len(sql))
}

// shown makes a name short enough for a reason.
func shown(name string) string {
	if r := []rune(name); len(r) > maxName {
		return string(r[:maxName-1]) + "…"
	}
	return name
}
