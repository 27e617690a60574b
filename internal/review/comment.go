package review

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Marker begins our one comment on a pull request, so that it is found again.
const Marker = "<!-- gitopsd:plan -->"

// maxShown bounds a comment, in bytes, with room for what ends it: GitHub counts
// characters, which are never more.
const maxShown = MaxComment - 2048

// comment renders a report as Markdown: what it is about in a line, then a part
// to open for each tenant. Everything in it that people wrote is shown as it is
// and never as Markdown, HTML or a mention.
func (l *Loop) comment(r Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n### %s %s\n\n", Marker, sign(r), plain(r.Description))
	switch {
	case len(r.Conflicts) > 0:
		fmt.Fprintf(&b, "Merge or rebase onto %s; these files conflict:\n\n", code(l.Branch))
		list(&b, r.Conflicts, 50)
	case r.Failure != nil:
		failure(&b, r)
	}
	if r.Hold != "" {
		hold(&b, r)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "> %s\n\n", plain(n))
	}
	previews(&b, r.Previews)
	end := l.footer(r)
	for i, s := range r.Steps {
		part := step(s)
		if b.Len()+len(part)+len(end) > maxShown {
			fmt.Fprintf(&b, "… and %d more tenants: [the whole plan](%s)\n\n", len(r.Steps)-i, l.Links.Pull(r.Pull.Number))
			break
		}
		b.WriteString(part)
	}
	b.WriteString(end)
	return b.String()
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

// loses reports whether data would be lost, or taken out of reach.
func loses(r Report) bool {
	for _, s := range r.Steps {
		if s.Operation == plan.Deprovision {
			return true
		}
		for _, c := range s.Consequences {
			if c.Effect == plan.DataLoss {
				return true
			}
		}
		for _, m := range s.Migrations {
			if m.Verdict == VerdictDestructive {
				return true
			}
		}
	}
	return false
}

// VerdictDestructive is the verdict on a migration that destroys data.
const VerdictDestructive = "destructive"

func failure(b *strings.Builder, r Report) {
	if located(r.Failure.Detail) == nil {
		fmt.Fprintf(b, "%s\n\n", plain(r.Failure.Message))
	}
	if r.Failure.Detail != "" {
		fenced(b, "", r.Failure.Detail)
	}
	if r.Failure.Hint != "" {
		fmt.Fprintf(b, "Hint: %s\n\n", plain(r.Failure.Hint))
	}
}

func hold(b *strings.Builder, r Report) {
	if r.Approved != "" {
		fmt.Fprintf(b, "> [!NOTE]\n> Approved by %s: %s\n\n", plain(r.Approved), plain(r.Hold))
		return
	}
	fmt.Fprintf(b, "> [!CAUTION]\n> %s.\n> Who may approve it comments `/gitopsd approve`.\n\n", plain(r.Hold))
}

func previews(b *strings.Builder, shown []PreviewShown) {
	for _, p := range shown {
		switch {
		case p.URL != "" && p.Refused == "":
			fmt.Fprintf(b, "> Preview of %s: <%s>, until %s\n\n", short(p.Head), p.URL, p.Expires.UTC().Format("2006-01-02 15:04 MST"))
		case p.URL != "":
			fmt.Fprintf(b, "> Preview of %s: <%s>. %s\n\n", short(p.Head), p.URL, plain(p.Refused))
		default:
			fmt.Fprintf(b, "> No preview: %s\n\n", plain(p.Refused))
		}
	}
}

// step renders one tenant, to be opened; what is refused or loses data is open.
func step(s StepShown) string {
	var b strings.Builder
	open := ""
	what := string(s.Operation)
	switch {
	case s.Failure != nil:
		open, what = " open", "refused"
	case s.Operation == "":
		what = "no change"
	case s.Operation == plan.Deprovision:
		open = " open"
	}
	fmt.Fprintf(&b, "<details%s><summary><b>%s</b>: %s</summary>\n\n", open, plain(s.Tenant), plain(what+", "+s.Reason))
	switch {
	case len(s.Problems) > 0:
		fenced(&b, "", s.Problems.Error())
	case s.Failure != nil:
		fmt.Fprintf(&b, "%s\n\n", plain(s.Failure.Message))
		if s.Failure.Detail != "" {
			fenced(&b, "", s.Failure.Detail)
		}
		if s.Failure.Hint != "" {
			fmt.Fprintf(&b, "Hint: %s\n\n", plain(s.Failure.Hint))
		}
	}
	consequences(&b, s.Consequences)
	for _, m := range s.Migrations {
		fmt.Fprintf(&b, "Migration %s: **%s**", code(m.Name), plain(m.Verdict))
		if len(m.Why) > 0 {
			fmt.Fprintf(&b, ": %s", plain(strings.Join(m.Why, "; ")))
		}
		b.WriteString("\n\n")
		fenced(&b, "sql", m.SQL)
	}
	b.WriteString("</details>\n\n")
	return b.String()
}

func consequences(b *strings.Builder, all []plan.Consequence) {
	for _, c := range all {
		b.WriteString("- ")
		if c.Effect == plan.DataLoss || c.Effect == plan.Downtime || c.Effect == plan.Action {
			fmt.Fprintf(b, "**%s** ", c.Effect)
		}
		if c.Field != "" {
			b.WriteString(code(c.Field))
			if c.From != "" || c.To != "" {
				fmt.Fprintf(b, " %s → %s", code(orNone(c.From)), code(orNone(c.To)))
			}
			b.WriteString(": ")
		}
		b.WriteString(plain(c.Text) + "\n")
	}
	if len(all) > 0 {
		b.WriteString("\n")
	}
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

func list(b *strings.Builder, items []string, most int) {
	for i, item := range items {
		if i == most {
			fmt.Fprintf(b, "- … and %d more\n", len(items)-most)
			break
		}
		fmt.Fprintf(b, "- %s\n", code(item))
	}
	b.WriteString("\n")
}

// fenced shows text as it is, cut to a bearable length.
func fenced(b *strings.Builder, language, text string) {
	text = cut(strings.TrimRight(text, "\n"), 8<<10)
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	fmt.Fprintf(b, "%s%s\n%s\n%s\n\n", fence, language, printable(text, true), fence)
}

// code shows a word as it is.
func code(s string) string {
	s = printable(cut(s, 200), false)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// plain shows a sentence as it is: no markup, no links, no mentions.
func plain(s string) string {
	var b strings.Builder
	for _, r := range printable(cut(s, 2000), false) {
		switch {
		case r == '@' || r == '#' && b.Len() > 0: // even escaped, GitHub would link them
			b.WriteRune(r)
			b.WriteString("\u2060") // word joiner: shows nothing
		case strings.ContainsRune("\\`*_[]<>|~&", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "://", ":\u2060//")
}

// printable replaces what does not print, and line ends unless lines are kept.
func printable(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if lines {
				return r
			}
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
