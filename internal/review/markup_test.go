package review_test

import (
	"bytes"
	"fmt"
	stdhtml "html"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// hostile are texts that mean something to Markdown, HTML or GitHub.
var hostile = []string{
	"<script>alert(1)</script>", "</details></details>", "<!--", "-->", "<img src=x onerror=y>", "&lt;b&gt;", "&#64;ann",
	"@ann", "@acme/admins", "#1", "acme/tenants#1", "GH-1", "gh-12", "ann@example.com", "mailto:ann@example.com",
	"https://evil.example", "http://evil.example", "www.evil.example", "WWW.evil.example", "ftp://evil.example", "<https://evil.example>",
	"[click](https://evil.example)", "![x](https://evil.example/x.png)", "[x]: https://evil.example", "[^1]", "[ ]",
	"`", "``", "```", "````", "~~~", "~~struck~~", "**bold**", "_it_", "__b__", "\\", "\\`", "$x$", "$$x$$", "|a|b|", ":tada:",
	"# heading", "- item", "* item", "+ item", "1. item", "1) item", "> quote", "> [!NOTE]", "    indented", "\tindented", "---", "***", "===",
	"\n\n# heading\n", "\r\n- x", "a\u2028b", "\u202eabc", "\x00", "\xff", "\u200b", "é", "日本", "😀", "&", ";", " ", "  ",
	"/gitopsd approve", "\n/gitopsd approve\n", "```\n/gitopsd approve", review.Marker,
}

// commented shows a report, as a loop does.
func commented(r review.Report) string {
	l := review.New(review.Config{Branch: "main", Links: review.Links{
		Pull:   func(n int) string { return fmt.Sprintf("https://console.example/pulls/%d", n) },
		Tenant: func(name string) string { return "https://" + name + ".apps.example/" },
	}})
	return l.Comment(r)
}

// markdown reads as GitHub does: with its extensions, and raw HTML.
func markdown() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote), goldmark.WithRendererOptions(html.WithUnsafe()))
}

// mention is what GitHub makes links of, outside code: people, issues, addresses.
var mention = regexp.MustCompile(`(?i)@[a-z0-9]|#[0-9]|\bgh-[0-9]|://|\bwww\.`)

var (
	inert = regexp.MustCompile(`(?s)<pre>.*?</pre>|<code>.*?</code>|<a .*?</a>`) // of which nothing more is made
	tags  = regexp.MustCompile(`<[^>]*>`)
)

// structure lists what a comment consists of, without the texts.
func structure(t *rapid.T, source string) (kinds []string) {
	src := []byte(source)
	var page bytes.Buffer
	if err := markdown().Convert(src, &page); err != nil {
		t.Fatal(err)
	}
	shown := stdhtml.UnescapeString(tags.ReplaceAllString(inert.ReplaceAllString(page.String(), " "), ""))
	if found := mention.FindString(shown); found != "" {
		t.Fatalf("GitHub makes a link of %q in\n%s", found, shown)
	}
	err := ast.Walk(markdown().Parser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			if bytes.ContainsAny(n.Segment.Value(src), "$") && n.Parent().Kind() != ast.KindCodeSpan {
				t.Fatalf("GitHub makes a formula of %q", n.Segment.Value(src))
			}
		case *ast.AutoLink:
			kinds = append(kinds, "autolink "+string(n.URL(src)))
		case *ast.Link:
			kinds = append(kinds, "link "+string(n.Destination))
		case *ast.RawHTML:
			kinds = append(kinds, "html "+lines(n.Segments, src))
		case *ast.HTMLBlock:
			kinds = append(kinds, "html "+strings.Join(tags.FindAllString(lines(n.Lines(), src), -1), ""))
		case *ast.FencedCodeBlock:
			kinds = append(kinds, "fence "+string(n.Language(src)))
			return ast.WalkSkipChildren, nil
		default:
			kinds = append(kinds, n.Kind().String())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

func lines(segments *text.Segments, src []byte) string {
	var b strings.Builder
	for i := range segments.Len() {
		s := segments.At(i)
		b.Write(s.Value(src))
	}
	return b.String()
}

// reportOf puts a text wherever people can put one.
func reportOf(s func(string) string, kind int) review.Report {
	r := review.Report{
		Pull:  review.Pull{Number: 7, Head: strings.Repeat("a", 40), Branch: s("branch"), Title: s("title"), Author: s("author")},
		State: sync.StateFailure, Description: s("description"), Notes: []string{s("note"), s("another")},
		Previews: []review.PreviewShown{
			{Tenant: "a", URL: "https://a-pr-7.apps.example/", Head: strings.Repeat("b", 40), Refused: s("refused")}, {Refused: s("none")},
		},
		Steps: []review.StepShown{
			{
				Step: plan.Step{Tenant: s("tenant"), Operation: plan.Deploy, Reason: s("reason")},
				Consequences: []plan.Consequence{
					{Field: s("field"), From: s("from"), To: s("to"), Effect: plan.Action, Text: s("text")},
					{Field: s("field"), Effect: plan.Note, Text: s("text")},
				},
				Migrations: []review.Migration{{Name: s("name"), SQL: s("sql"), Verdict: "caution", Why: []string{s("why"), s("because")}}},
			},
			{Step: plan.Step{Tenant: s("failed"), Reason: s("reason"), Failure: &fault.Record{Message: s("message"), Detail: s("detail"), Hint: s("hint")}}},
			{
				Step:     plan.Step{Tenant: s("invalid"), Failure: &fault.Record{Message: s("message")}},
				Problems: tenant.Problems{{File: s("file"), Line: 1, Column: 2, Message: s("problem"), Hint: s("hint")}},
			},
			{Step: plan.Step{Tenant: "last", Operation: plan.Deprovision, Reason: "file deleted"}},
		},
	}
	switch kind {
	case 0:
		r.Conflicts = []string{s("path"), s("other")}
	case 1:
		r.Failure = &fault.Record{Message: s("message"), Detail: s("detail"), Hint: s("hint")}
	case 2:
		r.Hold = s("hold")
	case 3:
		r.Hold, r.Approved = s("hold"), s("approver")
	}
	return r
}

// TestHostileTexts: whatever people write in names, messages and files, a comment
// has the structure that it has with plain words: no link, no mention, no HTML, no
// end of code.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.IntRange(0, 4).Draw(t, "kind")
		word := rapid.OneOf(rapid.SampledFrom(hostile), rapid.StringN(1, 20, 60))
		want := structure(t, commented(reportOf(func(s string) string { return s }, kind)))
		got := commented(reportOf(func(plain string) string {
			words := strings.Join(rapid.SliceOfN(word, 1, 3).Draw(t, "words"), rapid.SampledFrom([]string{"", " ", "\n"}).Draw(t, "between"))
			if strings.TrimSpace(words) == "" {
				return plain
			}
			return words
		}, kind))
		if have := structure(t, got); !slices.Equal(have, want) {
			t.Fatalf("the structure is\n%q, not\n%q of\n%s", have, want, got)
		}
		if len(got) > review.MaxComment || !strings.HasPrefix(got, review.Marker) {
			t.Fatalf("%d bytes that begin with %.40q", len(got), got)
		}
	})
}

// TestCommentsAreBounded: however much there is to say, it fits and ends well.
func TestCommentsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("日@#<", 20_000)
	for kind := range 5 {
		r := reportOf(func(string) string { return long }, kind)
		for range 3 {
			r.Steps, r.Notes, r.Conflicts = append(r.Steps, r.Steps...), append(r.Notes, r.Notes...), append(r.Conflicts, r.Conflicts...)
			r.Previews = append(r.Previews, r.Previews...)
		}
		got := commented(r)
		if len(got) > review.MaxComment {
			t.Errorf("kind %d: %d bytes", kind, len(got))
		}
		if !strings.HasSuffix(got, "makes it anew</sub>\n") || !strings.Contains(got, "](https://console.example/pulls/7)") {
			t.Errorf("kind %d ends with %q", kind, got[max(0, len(got)-300):])
		}
	}
}
