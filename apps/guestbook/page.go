package main

import (
	_ "embed" // the page
	"fmt"
	"html"
	"net/http"
	"strings"
)

//go:embed page.html
var page string

// render writes the page. It does without html/template, which looks methods up
// by name, so that the linker must keep every method there is: twice the binary
// and twice the time to build it. The price: whatever is put into the page must
// go through html.EscapeString, right here.
func render(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = strings.NewReplacer( // an error means that the client has gone
		"{{greeting}}", html.EscapeString(v.Greeting),
		"{{tenant}}", html.EscapeString(v.Tenant),
		"{{visits}}", visits(v.Visits),
		"{{author}}", html.EscapeString(v.Author),
		"{{message}}", html.EscapeString(v.Message),
		"{{problem}}", problem(v.Problem),
		"{{entries}}", entries(v),
	).WriteString(w, page)
}

func visits(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("You are visit number <b>%d</b>. ", n)
}

func problem(text string) string {
	if text == "" {
		return ""
	}
	return `<p class="problem" role="alert">` + html.EscapeString(text) + "</p>"
}

func entries(v view) string {
	if len(v.Entries) == 0 {
		return "<p class=\"empty\">Nobody has signed yet. Be the first.</p>\n"
	}
	var b strings.Builder
	for _, e := range v.Entries {
		at := e.At.UTC()
		fmt.Fprintf(&b, "<article>\n<p class=\"message\">%s</p>\n<p class=\"by\">%s, <time datetime=%q>%s UTC</time></p>\n</article>\n",
			html.EscapeString(e.Message), html.EscapeString(e.Author),
			at.Format("2006-01-02T15:04:05Z"), at.Format("2 January 2006, 15:04"))
	}
	return b.String()
}
