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

	"github.com/gitopsd/gitopsd/infra/functions"
)

// Headers between the parts.
const (
	tenantHeader = "X-Tenant"         // from the viewer-request function to the gate
	secretHeader = "X-Gitopsd-Secret" // from the CDN to the gate; CloudFront lets no origin header start with X-Edge-
	agentHeader  = "X-Gitopsd-Edge"   // from the gate to the tenant's agents
	markerHeader = "X-Gitopsd-Agent"  // on an agent's own answer, when the app gives none; agents let no app set it
)

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 30

// cdn is the CDN's part: http.handlers.gitopsd_cdn.
type cdn struct {
	table    *table
	access   *accessLog
	log      *slog.Logger
	secret   []string
	request  *memo
	response *memo

	unknown atomic.Uint64 // requests for a host nobody has
}

func newCDN(t *table, access *accessLog, secret string, log *slog.Logger) (*cdn, error) {
	request, err := NewFunction("viewer-request.js", functions.ViewerRequest, t.tenantOf)
	if err != nil {
		return nil, err
	}
	response, err := NewFunction("viewer-response.js", functions.ViewerResponse, noStore)
	if err != nil {
		return nil, err
	}
	return &cdn{
		table: t, access: access, log: log, secret: []string{secret},
		request: newMemo(request), response: newMemo(response),
	}, nil
}

// noStore is the store of a function that is associated with none.
func noStore(string) (string, bool) { return "", false }

// visit is one request on its way through the edge. It lies in the request's
// variables, where no client can write.
type visit struct {
	entry  *entry      // of the tenant header the function set
	origin string      // who answers
	last   *instance   // the one asked last
	tried  []*instance // those that failed before it
}

// visitKey is where a request's *visit is kept among its variables.
const visitKey = "gitopsd.visit"

// serve handles a request; next is the origin behind the CDN.
func (c *cdn) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v := &visit{origin: "edge"}
	line := access{at: time.Now(), method: r.Method, host: r.Host, path: r.URL.Path, in: r.ContentLength}
	vw := &viewerWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, request: r,
		finish: c.finish, instead: v.agentPage,
	}
	defer func() { c.record(&line, v, vw, r) }() // also when the origin breaks off by a panic
	err := c.viewerRequest(vw, r, v, next)
	if err == nil {
		return nil
	}
	status := statusOf(err)
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		c.log.Error("request failed", "tenant", v.tenant(), "status", status, "error", err)
	}
	if vw.status != 0 {
		return nil // too late for a page
	}
	pageFor(status, v.tenant()).write(vw, r)
	return nil
}

func (v *visit) tenant() string {
	if v.entry == nil {
		return ""
	}
	return v.entry.tenant
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

// viewerRequest runs the viewer-request function and hands the request to the
// static or the dynamic origin.
func (c *cdn) viewerRequest(w *viewerWriter, r *http.Request, v *visit, next caddyhttp.Handler) error {
	for name := range r.Header {
		if name[0] == 'X' && hidden(name) {
			delete(r.Header, name) // CloudFront takes these from viewers, too
		}
	}
	out, err := c.request.request(r)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if out.Answer != nil {
		c.answer(w, r, out.Answer)
		return nil
	}
	out.apply(r.Header)
	if t := r.Header[tenantHeader]; len(t) == 1 {
		v.entry = c.table.tenant(t[0])
	}
	if v.entry != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if a := v.entry.assets.Load(); a != nil {
			if tree, file := a.find(r); file != nil {
				v.origin = "static"
				if tree.serve(w, r, file) {
					return nil
				}
			}
		}
	}
	v.origin = "app"
	if r.ContentLength > maxBody {
		return caddyhttp.Error(http.StatusRequestEntityTooLarge, errors.New("body too large"))
	}
	if r.ContentLength != 0 && r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	r.Header[secretHeader] = c.secret
	caddyhttp.SetVar(r.Context(), visitKey, v)
	return next.ServeHTTP(w, r)
}

// answer sends what the viewer-request function answered. One without a body
// gets the edge's page, as by CloudFront's custom error responses.
func (c *cdn) answer(w *viewerWriter, r *http.Request, a *Answer) {
	for _, h := range a.Headers {
		w.Header()[h.Name] = h.Values
	}
	if a.StatusCode == http.StatusNotFound {
		c.unknown.Add(1)
	}
	if a.Body == "" && a.StatusCode >= http.StatusBadRequest {
		pageFor(a.StatusCode, "").write(w, r)
		return
	}
	w.WriteHeader(a.StatusCode)
	_, _ = w.Write([]byte(a.Body))
}

// finish runs the viewer-response function, where CloudFront does, and the
// policy.
func (c *cdn) finish(w *viewerWriter, status int) {
	h := w.Header()
	if status >= 200 && status < http.StatusBadRequest {
		out, err := c.response.response(w.request, status, h)
		if err != nil {
			c.log.Error("viewer-response function", "error", err)
		} else {
			out.apply(h)
		}
	}
	policy(h)
}

// record counts and logs a request that is over.
func (c *cdn) record(line *access, v *visit, w *viewerWriter, r *http.Request) {
	status := w.status
	if status == 0 {
		status = 499 // the client went away, or the origin broke off, before there was an answer
	}
	if v.entry != nil {
		v.entry.requests[min(status/100, 5)].Add(1)
	}
	line.took = time.Since(line.at)
	line.tenant, line.status, line.bytes, line.origin = v.tenant(), status, w.bytes, v.origin
	line.agent, line.referer = r.UserAgent(), refererOf(r)
	if v.last != nil {
		line.upstream = v.last.addr
	}
	line.remote, _, _ = net.SplitHostPort(r.RemoteAddr)
	c.access.add(line)
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

// cdnHandler is the module: http.handlers.gitopsd_cdn.
type cdnHandler struct{ cdn *cdn }

// CaddyModule returns the module's information.
func (cdnHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gitopsd_cdn", New: func() caddy.Module { return new(cdnHandler) }}
}

// Provision finds the running edge.
func (h *cdnHandler) Provision(ctx caddy.Context) error {
	a, err := appOf(ctx)
	if err != nil {
		return err
	}
	h.cdn = a.cdn
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		srv.RegisterConnState(a.connections.track)
	}
	return nil
}

func (h *cdnHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.cdn.serve(w, r, next)
}
