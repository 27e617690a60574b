package edge

import (
	"log/slog"
	"net/http"

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

// cdn is the CDN's part: the two functions and the bucket.
type cdn struct {
	table    *table
	log      *slog.Logger
	secret   []string
	request  *memo
	response *memo
}

func newCDN(t *table, secret string, log *slog.Logger) (*cdn, error) {
	request, err := NewFunction("viewer-request.js", functions.ViewerRequest, t.tenantOf)
	if err != nil {
		return nil, err
	}
	response, err := NewFunction("viewer-response.js", functions.ViewerResponse, noStore)
	if err != nil {
		return nil, err
	}
	return &cdn{table: t, log: log, secret: []string{secret}, request: newMemo(request), response: newMemo(response)}, nil
}

// noStore is the store of a function that is associated with none.
func noStore(string) (string, bool) { return "", false }

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
		answer(w, r, out.Answer)
		return nil
	}
	out.apply(r.Header)
	if t := r.Header[tenantHeader]; len(t) == 1 {
		if e := c.table.tenant(t[0]); e != nil {
			if err := v.enter(e); err != nil {
				return err
			}
			if v.static(w, r) {
				return nil
			}
		}
	}
	r.Header[secretHeader] = c.secret
	return next.ServeHTTP(w, r)
}

// answer sends what the viewer-request function answered. One without a body
// gets the edge's page, as by CloudFront's custom error responses.
func answer(w *viewerWriter, r *http.Request, a *Answer) {
	for _, h := range a.Headers {
		w.Header()[h.Name] = h.Values
	}
	if a.Body == "" && a.StatusCode >= http.StatusBadRequest {
		pageFor(a.StatusCode, "").write(w, r)
		return
	}
	w.WriteHeader(a.StatusCode)
	_, _ = w.Write([]byte(a.Body))
}

// viewerResponse runs the viewer-response function, where CloudFront does, and
// the policy.
func (c *cdn) viewerResponse(w *viewerWriter, status int) {
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
