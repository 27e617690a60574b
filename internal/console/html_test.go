package console_test

import (
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/html"
)

// document is a page as a browser would parse it.
type document struct{ *html.Node }

// open asks for a page and wants it.
func (a *api) page(path string, change ...func(*http.Request)) document {
	a.t.Helper()
	return a.parsed(a.request(http.MethodGet, path, "", change...), http.StatusOK)
}

func (a *api) parsed(res *http.Response, code int) document {
	a.t.Helper()
	if res.StatusCode != code || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		b, _ := io.ReadAll(res.Body)
		a.t.Fatalf("%s answers %s %s, want %d: %s", res.Request.URL, res.Status, res.Header.Get("Content-Type"), code, b)
	}
	n, err := html.Parse(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return document{n}
}

// elements returns those of a tag, of all tags for "".
func (d document) elements(tag string) []document {
	var all []document
	for n := range d.Descendants() {
		if n.Type == html.ElementNode && (tag == "" || n.Data == tag) {
			all = append(all, document{n})
		}
	}
	return all
}

func (d document) attribute(name string) string {
	for _, a := range d.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// byID returns the element of an id, or nil.
func (d document) byID(id string) *document {
	for _, e := range d.elements("") {
		if e.attribute("id") == id {
			return &e
		}
	}
	return nil
}

// text returns what is to be read, with single spaces.
func (d document) text() string {
	var b strings.Builder
	for n := range d.Descendants() {
		if n.Type == html.TextNode && (n.Parent == nil || n.Parent.Data != "noscript") {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// links returns where the page's links lead.
func (d document) links() []string {
	var all []string
	for _, e := range d.elements("a") {
		all = append(all, e.attribute("href"))
	}
	return all
}
