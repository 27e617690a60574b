package edge

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// front is where a request comes in and its answer goes out, whoever gives it:
// http.handlers.gitopsd_front. It counts and logs, and has a page for what
// nobody answered.
type front struct {
	table  *table
	access *accessLog
	log    *slog.Logger
	cdn    *cdn // nil: it is elsewhere
	// redirect, unless nil, returns where a plain request is led.
	redirect func(*http.Request) string

	unknown atomic.Uint64 // requests for a host nobody has
}

// visit is one request on its way through the edge. It lies in the request's
// variables, where no client can write.
type visit struct {
	entry   *entry      // whose tenant it is for, once that is known
	entered bool        // counted in
	waits   bool        // and without an answer so far
	origin  string      // who answers
	last    *instance   // the one asked last
	at      *instance   // the one it is at now
	tried   []*instance // those that failed before it
	again   bool        // it was sent again after an instance may have seen it
	body    *boundedBody
}

// visitKey is where a request's *visit is kept among its variables.
const visitKey = "gitopsd.visit"

func visitOf(r *http.Request) (*visit, bool) {
	v, ok := caddyhttp.GetVar(r.Context(), visitKey).(*visit)
	return v, ok
}

// serve handles a request; next is what lies behind the CDN.
func (f *front) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if f.cdn == nil && isHealthCheck(r) {
		answerHealthCheck(w, f.table)
		return nil
	}
	v := &visit{origin: "edge"}
	caddyhttp.SetVar(r.Context(), visitKey, v)
	line := access{at: time.Now(), method: r.Method, host: r.Host, path: r.URL.Path, in: r.ContentLength}
	vw := &viewerWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, request: r,
		front: f, visit: v,
	}
	defer func() { f.record(&line, v, vw, r) }() // also when the origin breaks off by a panic
	err := f.pass(vw, r, v, next)
	if err == nil {
		return nil
	}
	status := v.statusOf(err)
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		f.log.Error("request failed", "tenant", v.tenant(), "status", status, "error", err)
	}
	if vw.status != 0 {
		return nil // too late for a page
	}
	p := pageFor(status, v.tenant())
	if refused := new(refusal); errors.As(err, &refused) {
		p = refused.page
	}
	p.write(vw, r)
	return nil
}

// pass hands the request to the CDN's part, or on to what is behind it.
func (f *front) pass(w *viewerWriter, r *http.Request, v *visit, next caddyhttp.Handler) error {
	if f.redirect != nil && r.TLS == nil && f.table.host(bareHost(r.Host)) != nil {
		w.Header().Set("Location", f.redirect(r))
		w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	if f.cdn != nil {
		return f.cdn.viewerRequest(w, r, v, next)
	}
	return next.ServeHTTP(w, r)
}

// enter has the request be one of the tenant's. It fails if the tenant does not
// serve, or has too many requests.
func (v *visit) enter(e *entry) error {
	v.entry = e
	if s := e.route.Load().State; s != Serving {
		return &refusal{s.page(e.tenant)}
	}
	if err := e.enter(time.Now()); err != nil {
		return err
	}
	v.entered, v.waits = true, true
	return nil
}

func (v *visit) tenant() string {
	if v.entry == nil {
		return ""
	}
	return v.entry.tenant
}

// static answers with a file of the tenant's release, if the request is for one.
func (v *visit) static(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	a := v.entry.assets.Load()
	if a == nil {
		return false
	}
	tree, file := a.find(r)
	if file == nil {
		return false
	}
	was := v.origin
	v.origin = "static" // before the headers go
	if tree.serve(w, r, file) {
		return true
	}
	v.origin = was
	return false
}

// replace sends what a viewer gets in place of an app's answer, if it gets
// something else.
func (v *visit) replace(w *viewerWriter, status int) bool {
	if p, ok := v.agentPage(status, w.Header()); ok {
		p.write(w, w.request)
		return true
	}
	return status == http.StatusNotFound && v.fallback(w)
}

// fallbackName is the file of a release that stands for every page that the app
// does not know: one whose script knows the pages. A release that has none keeps
// its app's own answer.
const fallbackName = "200.html"

// fallback answers a browser that goes to a page with the release's fallback.
func (v *visit) fallback(w *viewerWriter) bool {
	r := w.request
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	a := v.entry.assets.Load()
	if a == nil {
		return false
	}
	file := a.list()[fallbackName]
	if file == nil {
		return false
	}
	h := w.Header()
	was := h.Clone()
	for name := range h {
		if name != "Set-Cookie" && name != "Vary" {
			delete(h, name)
		}
	}
	v.origin = "static"
	if a.serve(w, r, file) {
		return true
	}
	v.origin = "app"
	maps.Copy(h, was)
	return false
}

// agentPage returns the page for an answer that is an agent's and not an app's.
func (v *visit) agentPage(status int, h http.Header) (page, bool) {
	if h[markerHeader] == nil || status < http.StatusInternalServerError {
		return page{}, false
	}
	p := pageFor(status, v.tenant())
	if status == http.StatusServiceUnavailable && h.Get(markerHeader) == "failing" {
		p.title, p.text, p.retry = v.tenant()+" is not available", "It does not run right now. This page looks again by itself.", 5
	}
	return p, true
}

// finish completes an answer's headers.
func (f *front) finish(w *viewerWriter, status int) {
	w.visit.answered()
	if f.cdn != nil {
		f.cdn.viewerResponse(w, status)
		return
	}
	hide(w.Header()) // the rest is CloudFront's
}

// record counts and logs a request that is over.
func (f *front) record(line *access, v *visit, w *viewerWriter, r *http.Request) {
	status := w.status
	if status == 0 {
		status = 499 // the client went away, or the origin broke off, before there was an answer
	}
	line.took = time.Since(line.at)
	if v.entry != nil {
		v.entry.count(status, line.took)
	} else if status == http.StatusNotFound {
		f.unknown.Add(1)
	}
	if v.entered {
		v.answered()
		v.entry.leave()
	}
	v.took(nil)
	line.tenant, line.status, line.bytes, line.origin = v.tenant(), status, w.bytes, v.origin
	line.agent, line.referer = r.UserAgent(), refererOf(r)
	if v.last != nil {
		line.upstream = v.last.addr
	}
	line.remote, _, _ = net.SplitHostPort(r.RemoteAddr)
	f.access.add(line)
}

// refererOf returns the referer without its query, where secrets travel.
func refererOf(r *http.Request) string {
	ref, _, _ := strings.Cut(r.Referer(), "?")
	return ref
}

// statusOf returns the status an error stands for, and counts what a client
// sent too much of or too slowly.
func (v *visit) statusOf(err error) int {
	status := statusOf(err)
	switch {
	case v.entry == nil:
	case v.body != nil && v.body.slow:
		status = http.StatusRequestTimeout
		v.entry.refused[slowBody].Add(1)
	case status == http.StatusRequestEntityTooLarge:
		v.entry.refused[overBody].Add(1)
	}
	return status
}

// statusOf returns the status an origin's error stands for.
func statusOf(err error) int {
	if refused := new(refusal); errors.As(err, &refused) {
		return refused.page.status
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return http.StatusRequestEntityTooLarge
	}
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.StatusCode >= 400 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// frontHandler is the module: http.handlers.gitopsd_front.
type frontHandler struct{ front *front }

// CaddyModule returns the module's information.
func (frontHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gitopsd_front", New: func() caddy.Module { return new(frontHandler) }}
}

// Provision finds the running edge.
func (h *frontHandler) Provision(ctx caddy.Context) error {
	a, err := appOf(ctx)
	if err != nil {
		return err
	}
	h.front = a.front
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		srv.RegisterConnState(a.connections.track)
	}
	return nil
}

func (h *frontHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.front.serve(w, r, next)
}
