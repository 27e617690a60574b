package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Marker begins our one comment on a pull request, so that it is found again.
const Marker = "<!-- gitopsd:plan -->"

// maxShown bounds a comment, in bytes, with room for what ends it: GitHub counts
// characters, which are never more.
const maxShown = MaxComment - 2048

// maxStep bounds what is shown of one tenant, in bytes.
const maxStep = 16 << 10

// page is a comment in the making. Parts that do not fit are left out.
type page struct {
	strings.Builder
	most int
	left int // parts that were left out
}

func (p *page) part(text string) {
	if p.Len()+len(text) > p.most {
		p.left++
		return
	}
	p.WriteString(text)
}

// comment renders a report as Markdown: what it is about in a line, then a part
// to open for each tenant, those first that are refused or lose data. Everything
// in it that people wrote is shown as it is and never as Markdown, HTML or a
// mention.
func (l *Loop) comment(r Report) string {
	end := l.footer(r)
	b := &page{most: maxShown - len(end)}
	b.part(fmt.Sprintf("%s\n### %s %s\n\n", Marker, sign(r), plain(r.Description)))
	switch {
	case len(r.Conflicts) > 0:
		b.part(fmt.Sprintf("Merge or rebase onto %s; these files conflict:\n\n%s", code(l.Branch), list(r.Conflicts, 50)))
	case r.Failure != nil:
		b.part(failure(*r.Failure))
	}
	if r.Hold != "" {
		b.part(hold(r))
	}
	for _, n := range r.Notes {
		b.part(fmt.Sprintf("> %s\n\n", plain(n)))
	}
	for _, p := range r.Previews {
		b.part(preview(p))
	}
	whole := fmt.Sprintf("[the whole plan](%s)", l.Links.Pull(r.Pull.Number))
	for _, s := range slices.SortedStableFunc(slices.Values(r.Steps), func(a, b StepShown) int { return quiet(a) - quiet(b) }) {
		text := step(s, consequences(s.Consequences)+migrations(s.Migrations))
		if len(text) > maxStep {
			text = step(s, fmt.Sprintf("There is much to say: see %s.\n\n", whole))
		}
		b.part(text)
	}
	if b.left > 0 {
		fmt.Fprintf(b, "… and %d more: %s\n\n", b.left, whole)
	}
	b.WriteString(end)
	return b.String()
}

// quiet orders steps: what is refused, what loses data, and the rest.
func quiet(s StepShown) int {
	switch {
	case s.Failure != nil:
		return 0
	case s.loses():
		return 1
	}
	return 2
}

func sign(r Report) string {
	switch {
	case r.State != sync.StateSuccess:
		return "❌"
	case loses(r):
		return "⚠️"
	}
	return "✅"
}

func loses(r Report) bool { return slices.ContainsFunc(r.Steps, StepShown.loses) }

// loses reports whether data would be lost, or taken out of reach.
func (s StepShown) loses() bool {
	return s.Operation == plan.Deprovision ||
		slices.ContainsFunc(s.Consequences, func(c plan.Consequence) bool { return c.Effect == plan.DataLoss }) ||
		slices.ContainsFunc(s.Migrations, func(m Migration) bool { return m.Verdict == VerdictDestructive })
}

// VerdictDestructive is the verdict on a migration that destroys data.
const VerdictDestructive = "destructive"

func failure(f fault.Record) string {
	var b strings.Builder
	if located(f.Detail) == nil { // else the detail says it all
		b.WriteString(plain(f.Message) + "\n\n")
	}
	if f.Detail != "" {
		b.WriteString(fenced("", f.Detail))
	}
	if f.Hint != "" {
		fmt.Fprintf(&b, "Hint: %s\n\n", plain(f.Hint))
	}
	return b.String()
}

func hold(r Report) string {
	if r.Approved != "" {
		return fmt.Sprintf("> [!NOTE]\n> Approved by %s: %s\n\n", plain(r.Approved), plain(r.Hold))
	}
	return fmt.Sprintf("> [!CAUTION]\n> Held: %s.\n> Who may approve it comments `/gitopsd approve`.\n\n", plain(r.Hold))
}

func preview(p PreviewShown) string {
	switch {
	case p.URL != "" && p.Refused == "":
		return fmt.Sprintf("> Preview of %s: <%s>, until %s\n\n", short(p.Head), p.URL, p.Expires.UTC().Format("2006-01-02 15:04 MST"))
	case p.URL != "":
		return fmt.Sprintf("> Preview of %s: <%s>. None of the newest commit: %s\n\n", short(p.Head), p.URL, plain(p.Refused))
	}
	return fmt.Sprintf("> No preview: %s\n\n", plain(p.Refused))
}

// step renders one tenant, to be opened; what is refused or loses data is open.
// more is what carrying it out would bring about.
func step(s StepShown, more string) string {
	open, what := "", string(s.Operation)
	if quiet(s) < 2 {
		open = " open"
	}
	switch {
	case s.Failure != nil:
		what = "refused"
	case s.Operation == "":
		what = "no change"
	}
	wrong := ""
	switch {
	case len(s.Problems) > 0:
		wrong = fenced("", s.Problems.Error())
	case s.Failure != nil:
		wrong = failure(*s.Failure)
	}
	return fmt.Sprintf("<details%s><summary><b>%s</b>: %s</summary>\n\n%s%s</details>\n\n",
		open, plain(s.Tenant), plain(strings.TrimSuffix(what+", "+s.Reason, ", ")), wrong, more)
}

func migrations(all []Migration) string {
	var b strings.Builder
	for _, m := range all {
		fmt.Fprintf(&b, "Migration %s: **%s**", code(m.Name), plain(m.Verdict))
		if len(m.Why) > 0 {
			fmt.Fprintf(&b, ": %s", plain(strings.Join(m.Why, "; ")))
		}
		b.WriteString("\n\n" + fenced("sql", m.SQL))
	}
	return b.String()
}

func consequences(all []plan.Consequence) string {
	var b strings.Builder
	for _, c := range all {
		b.WriteString("- ")
		if c.Effect == plan.DataLoss || c.Effect == plan.Downtime || c.Effect == plan.Action {
			fmt.Fprintf(&b, "**%s** ", c.Effect)
		}
		if c.Field != "" {
			b.WriteString(code(c.Field))
			if c.From != "" || c.To != "" {
				fmt.Fprintf(&b, " %s → %s", code(orNone(c.From)), code(orNone(c.To)))
			}
			b.WriteString(": ")
		}
		b.WriteString(plain(c.Text) + "\n")
	}
	if len(all) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// footer says what the plan is of. It does not name what moves often, so that
// the comment changes only when the plan does.
func (l *Loop) footer(r Report) string {
	return fmt.Sprintf("<sub>Plan of %s, kept true while %s and the platform move · [details](%s) · `/gitopsd plan` makes it anew</sub>\n",
		short(r.Pull.Head), code(l.Branch), l.Links.Pull(r.Pull.Number))
}
