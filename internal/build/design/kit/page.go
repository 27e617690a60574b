package kit

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/hex"
	"html"
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// Assets returns the page's files by path. A name has its content's digest in
// it, so that a cache may keep it for ever.
//
//go:noinline
func Assets() map[string]string {
	return map[string]string{
		assetName("page", ".css", pageCSS): pageCSS,
		assetName("page", ".js", pageJS):   pageJS,
	}
}

func assetName(stem, extension, content string) string {
	sum := sha256.Sum256([]byte(content))
	return "_app/" + stem + "-" + hex.EncodeToString(sum[:6]) + extension
}

// page serves / and what it needs, also where no edge serves the assets.
func (a *app) page() {
	index := strings.NewReplacer(
		"{{title}}", html.EscapeString(a.title),
		"{{css}}", "/"+assetName("page", ".css", pageCSS),
		"{{js}}", "/"+assetName("page", ".js", pageJS),
	).Replace(pageHTML)
	a.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write([]byte(index)) // the client has gone: nothing to do
	})
	a.mux.HandleFunc("GET /_app/models.json", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, a.models)
	})
	for name, content := range Assets() {
		kind := "text/css; charset=utf-8"
		if strings.HasSuffix(name, ".js") {
			kind = "text/javascript; charset=utf-8"
		}
		a.mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			_, _ = w.Write([]byte(content)) // the client has gone: nothing to do
		})
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, &httpError{Message: "nothing here"})
	})
}
