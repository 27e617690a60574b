package edge

import (
	"errors"
	"log/slog"
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

	unknown atomic.Uint64 // requests for a host nobody has
}

// visit is one request on its way through the edge. It lies in the request's
// variables, where no client can write.
type visit struct {
	entry  *entry      // whose tenant it is for, once that is known
	origin string      // who answers
	last   *instance   // the one asked last
	tried  []*instance // those that failed before it
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
		finish: f.finish, instead: v.agentPage,
	}
	defer func() { f.record(&line, v, vw, r) }() // also when the origin breaks off by a panic
	err := f.pass(vw, r, v, next)
	if err == nil {
		return nil
	}
	status := statusOf(err)
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		f.log.Error("request failed", "tenant", v.tenant(), "status", status, "error", err)
	}
	if vw.status != 0 {
		return nil // too late for a page
	}
	pageFor(status, v.tenant()).write(vw, r)
	return nil
}

// pass hands the request to the CDN's part, or on to what is behind it.
func (f *front) pass(w *viewerWriter, r *http.Request, v *visit, next caddyhttp.Handler) error {
	if f.cdn != nil {
		return f.cdn.viewerRequest(w, r, v, next)
	}
	return v.toApp(w, r, next)
}

// toApp passes a request on to the gate and the tenant's instances.
func (v *visit) toApp(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v.origin = "app"
	if r.ContentLength > maxBody {
		return caddyhttp.Error(http.StatusRequestEntityTooLarge, errors.New("body too large"))
	}
	if r.ContentLength != 0 && r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	return next.ServeHTTP(w, r)
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
	if v.entry != nil {
		v.entry.requests[min(status/100, 5)].Add(1)
	} else if status == http.StatusNotFound {
		f.unknown.Add(1)
	}
	line.took = time.Since(line.at)
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

// statusOf returns the status an origin's error stands for.
func statusOf(err error) int {
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
