package edge

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// viewerWriter is the response on its way to the viewer: it runs the
// viewer-response function and the policy on the headers, and counts.
type viewerWriter struct {
	*caddyhttp.ResponseWriterWrapper
	request  *http.Request
	front    *front
	visit    *visit
	status   int
	bytes    int64
	replaced bool // something else is sent in place of the response …
	muted    bool // … whose own body is let go
}

func (w *viewerWriter) WriteHeader(status int) {
	if w.muted {
		return
	}
	if w.status == 0 && status >= http.StatusBadRequest && !w.replaced && w.visit.origin == "app" {
		w.replaced = true
		if w.visit.replace(w, status) {
			w.muted = true
			return
		}
	}
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		w.front.finish(w, status)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *viewerWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.muted {
		return len(b), nil
	}
	n, err := w.ResponseWriterWrapper.Write(b)
	w.bytes += int64(n)
	return n, err
}

func (w *viewerWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.muted {
		return io.Copy(io.Discard, r)
	}
	n, err := w.ResponseWriterWrapper.ReadFrom(r)
	w.bytes += n
	return n, err
}

// FlushError sends what there is, headers included.
func (w *viewerWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// policy is what a CloudFront response headers policy does on AWS, to every
// response, whoever made it: it adds what is missing and removes what names
// the servers behind.
func policy(h http.Header) {
	hide(h)
	for _, s := range securityHeaders {
		if _, ok := h[s.name]; !ok {
			h[s.name] = s.values
		}
	}
	if h["X-Frame-Options"] == nil && h["Content-Security-Policy"] == nil {
		h["X-Frame-Options"] = sameOrigin
	}
}

// hide removes what tells of the servers behind.
func hide(h http.Header) {
	for _, name := range [...]string{"Server", "Via", "X-Powered-By", markerHeader} {
		delete(h, name)
	}
}

// The values are shared between responses and never changed.
var (
	securityHeaders = []struct {
		name   string
		values []string
	}{
		{"Strict-Transport-Security", []string{"max-age=31536000"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Referrer-Policy", []string{"strict-origin-when-cross-origin"}},
	}
	sameOrigin = []string{"SAMEORIGIN"}
)

// Interface guards.
var (
	_ http.ResponseWriter = (*viewerWriter)(nil)
	_ io.ReaderFrom       = (*viewerWriter)(nil)
)
