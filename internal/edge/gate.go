package edge

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// gate is where Caddy's part begins: http.handlers.gitopsd_gate. It admits a
// request that the CDN sent for a tenant that owns its host, and makes it one
// that the tenant's agents take.
type gate struct {
	table  *table
	secret [sha256.Size]byte // its hash: comparing hashes tells nothing of the length
	origin bool              // the CDN is elsewhere
}

// Reasons to refuse, for the log.
var (
	errNotCDN     = errors.New("not from the cdn")
	errNoTenant   = errors.New("not exactly one valid tenant header")
	errNotOwner   = errors.New("the host is not the tenant's")
	errNotReady   = errors.New("no ready instance")
	errUnadmitted = errors.New("the gate did not admit this request")
)

func newGate(t *table, secret string, origin bool) *gate {
	return &gate{table: t, secret: sha256.Sum256([]byte(secret)), origin: origin}
}

// admit checks a request and removes what it was checked by.
func (g *gate) admit(r *http.Request) (*entry, error) {
	h := r.Header
	secret, tenants := h[secretHeader], h[tenantHeader]
	delete(h, secretHeader)
	delete(h, tenantHeader)
	if len(secret) != 1 {
		return nil, caddyhttp.Error(http.StatusForbidden, errNotCDN)
	}
	if sum := sha256.Sum256([]byte(secret[0])); subtle.ConstantTimeCompare(sum[:], g.secret[:]) != 1 {
		return nil, caddyhttp.Error(http.StatusForbidden, errNotCDN)
	}
	if len(tenants) != 1 || !isTenant(tenants[0]) {
		return nil, caddyhttp.Error(http.StatusForbidden, errNoTenant)
	}
	e := g.table.tenant(tenants[0])
	if e == nil {
		return nil, caddyhttp.Error(http.StatusNotFound, errNotOwner)
	}
	if !g.table.owns(e, bareHost(r.Host)) {
		return nil, caddyhttp.Error(http.StatusForbidden, errNotOwner)
	}
	return e, nil
}

// ready fails if a tenant has no instance to go to.
func (e *entry) ready() error {
	if s := e.instances.Load(); s == nil || len(s.all) == 0 {
		return caddyhttp.Error(http.StatusServiceUnavailable, errNotReady)
	}
	return nil
}

// isTenant is tenantPattern, without a regular expression's price.
func isTenant(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// prepare sets what the agents get of us, and removes what only we may say.
func (g *gate) prepare(r *http.Request, e *entry) {
	h := r.Header
	for name := range h {
		if len(name) > 2 && name[:2] == "X-" && strings.HasPrefix(name, "X-Gitopsd-") {
			delete(h, name)
		}
	}
	delete(h, "Forwarded") // X-Forwarded-* are set anew by the proxy; this one it does not know
	delete(h, "X-Real-Ip")
	if c := h["Connection"]; c != nil {
		h["Connection"] = plainConnection(c)
	}
	h[agentHeader] = *e.keyHeader.Load()
	if g.origin {
		// The proxy says who asked: here that is the viewer, who came by TLS.
		r.RemoteAddr = net.JoinHostPort(viewerAddress(r), "0")
		delete(h, "X-Forwarded-For")
		delete(h, "X-Forwarded-Host")
		h["X-Forwarded-Proto"] = https
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, true)
	}
}

// https is a header's values, shared between requests and never changed.
var https = []string{"https"}

// plainConnection keeps what a client may say of its connection. By any other
// word it could have the proxy drop a header that we set.
func plainConnection(values []string) []string {
	var out []string
	for _, v := range values {
		for _, word := range strings.Split(v, ",") {
			word = strings.TrimSpace(word)
			switch strings.ToLower(word) {
			case "upgrade", "keep-alive", "close", "te":
				out = append(out, word)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return []string{strings.Join(out, ", ")}
}

// gateHandler is the module: http.handlers.gitopsd_gate.
type gateHandler struct{ gate *gate }

// CaddyModule returns the module's information.
func (gateHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gitopsd_gate", New: func() caddy.Module { return new(gateHandler) }}
}

// Provision finds the running edge.
func (h *gateHandler) Provision(ctx caddy.Context) error {
	a, err := appOf(ctx)
	if err != nil {
		return err
	}
	h.gate = a.gate
	return nil
}

func (h *gateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	e, err := h.gate.admit(r)
	if err != nil {
		return err
	}
	v, ok := visitOf(r)
	if !ok {
		return errUnadmitted
	}
	if h.gate.origin { // what the CDN's part does elsewhere
		if err := v.enter(e); err != nil {
			return err
		}
		if v.static(w, r) {
			return nil
		}
	}
	v.origin = "app"
	if err := e.ready(); err != nil {
		return err
	}
	if err := v.bound(w, r); err != nil {
		return err
	}
	h.gate.prepare(r, e)
	// The tenant admitted here, and no header, is what the upstreams go by.
	caddyhttp.SetVar(r.Context(), admittedKey, e)
	return next.ServeHTTP(w, r)
}

// admittedKey is where the gate leaves the tenant for the upstreams.
const admittedKey = "gitopsd.admitted"

// upstreams is the module that gives a request its instance:
// http.reverse_proxy.upstreams.tenants. It is asked once an attempt.
type upstreams struct {
	table *table
}

// CaddyModule returns the module's information.
func (upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.tenants", New: func() caddy.Module { return new(upstreams) }}
}

// Provision finds the running edge.
func (u *upstreams) Provision(ctx caddy.Context) error {
	a, err := appOf(ctx)
	if err != nil {
		return err
	}
	u.table = a.table
	return nil
}

// GetUpstreams returns the one instance this attempt goes to, or none.
func (u *upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	e, ok := caddyhttp.GetVar(r.Context(), admittedKey).(*entry)
	if !ok {
		return nil, errUnadmitted
	}
	v, ok := visitOf(r)
	if !ok {
		return nil, errUnadmitted
	}
	if v.at != nil { // asked again: it failed
		v.at.downUntil.Store(time.Now().Add(downFor).UnixNano())
		v.tried = append(v.tried, v.at)
		v.took(nil)
	}
	s := e.instances.Load()
	if s == nil {
		return nil, nil
	}
	in := s.pick(v.tried, time.Now)
	if in == nil {
		return nil, nil
	}
	v.took(in)
	return []*reverseproxy.Upstream{{Dial: in.addr}}, nil
}

// took has the request be at the instance, and no more at the one before.
func (v *visit) took(in *instance) {
	if v.at != nil {
		v.at.inFlight.Add(-1)
	}
	if v.at = in; in != nil {
		in.inFlight.Add(1)
		v.last = in
	}
}

// again is the module that decides whether a request is sent again after an
// instance may have seen it: http.matchers.gitopsd_again.
type again struct{}

// CaddyModule returns the module's information.
func (again) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.gitopsd_again", New: func() caddy.Module { return new(again) }}
}

// MatchWithError is asked when no byte of an answer came. What means the same
// when it is done twice, and has no body that is used up, goes to another
// instance, once: a request that breaks the app shall not break all of them.
func (again) MatchWithError(r *http.Request) (bool, error) {
	v, ok := visitOf(r)
	if !ok || v.entry == nil || v.again || !repeatable(r) {
		return false, nil
	}
	s := v.entry.instances.Load()
	if s == nil || !s.other(v.last) {
		return false, nil
	}
	v.again = true
	return true, nil
}

// repeatable reports whether a request may be carried out twice.
// Source: RFC 9110, 9.2.2, idempotent methods.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return r.ContentLength == 0 && r.Header["Upgrade"] == nil
	}
	return false
}

// Interface guards.
var (
	_ caddyhttp.MiddlewareHandler       = (*gateHandler)(nil)
	_ caddyhttp.MiddlewareHandler       = (*frontHandler)(nil)
	_ reverseproxy.UpstreamSource       = (*upstreams)(nil)
	_ caddyhttp.RequestMatcherWithError = (*again)(nil)
)
