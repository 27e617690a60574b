package edge

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// page is what the edge says itself. It tells what happened, never why: the
// reasons are in the log.
type page struct {
	status  int
	title   string
	text    string
	retry   int  // seconds, 0: no hint
	refresh bool // a browser looks again by itself
}

// pageFor returns the page of a status for a tenant ("" if none is known).
func pageFor(status int, tenant string) page {
	switch status {
	case http.StatusNotFound:
		return page{status: status, title: "No such site", text: "Nothing is served at this address."}
	case http.StatusServiceUnavailable:
		if tenant != "" {
			return page{status, tenant + " is starting", "It is not ready yet. This page looks again by itself.", 2, true}
		}
		return page{status: status, title: "Unavailable", text: "Try again in a moment.", retry: 2}
	case http.StatusBadGateway:
		return page{status: status, title: "The app did not answer", text: "It was reached, and gave no usable answer.", retry: 2}
	case http.StatusGatewayTimeout:
		return page{status: status, title: "The app took too long", text: "It was reached, and did not answer in time."}
	case http.StatusRequestTimeout:
		return page{status: status, title: "Too slow", text: "The request's body comes slower than is waited for."}
	case http.StatusRequestEntityTooLarge:
		return page{status: status, title: "Too large", text: "The request's body is larger than is taken here."}
	case http.StatusForbidden:
		return page{status: status, title: "Forbidden", text: "This request does not come by the right way."}
	}
	title := http.StatusText(status)
	if title == "" {
		title = "Error " + strconv.Itoa(status)
	}
	return page{status: status, title: title, text: "The request was not carried out."}
}

// page returns what the hosts of a tenant answer that does not serve.
func (s State) page(tenant string) page {
	if s == Gone {
		return page{status: http.StatusGone, title: tenant + " is gone", text: "It was deleted."}
	}
	return page{http.StatusServiceUnavailable, tenant + " is stopped", "It comes back. This page looks again by itself.", 10, true}
}

// write answers in the form the client prefers.
func (p page) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	kind, body := p.body(r.Header.Get("Accept"))
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
}

func (p page) body(accept string) (kind, body string) {
	switch {
	case strings.Contains(accept, "text/html"):
		return "text/html; charset=utf-8", p.html()
	case strings.Contains(accept, "json"):
		b, _ := json.Marshal(struct { // two plain fields: cannot fail
			Status int    `json:"status"`
			Error  string `json:"error"`
		}{p.status, p.title})
		return "application/json", string(b) + "\n"
	}
	return "text/plain; charset=utf-8", p.title + "\n" + p.text + "\n"
}

func (p page) html() string {
	refresh := ""
	if p.refresh {
		refresh = `<meta http-equiv="refresh" content="` + strconv.Itoa(p.retry) + `">`
	}
	return `<!doctype html><html lang="en"><head><meta charset="utf-8">` + refresh +
		`<meta name="viewport" content="width=device-width"><title>` + html.EscapeString(p.title) + `</title><style>` +
		`:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:18vh auto 0;max-width:32rem;padding:0 1.5rem}` +
		`h1{font-size:1.5rem;margin:0}p{opacity:.75}small{opacity:.5}</style></head><body><h1>` + html.EscapeString(p.title) +
		`</h1><p>` + html.EscapeString(p.text) + `</p><small>` + strconv.Itoa(p.status) + `</small></body></html>` + "\n"
}
