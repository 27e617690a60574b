package edge

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// HealthPath is where an edge that is a CDN's origin says that it serves.
const HealthPath = "/-/edge"

// isHealthCheck reports whether a request is a load balancer's own: whatever
// comes by the CDN has its secret, and is a tenant's.
func isHealthCheck(r *http.Request) bool {
	return r.URL.Path == HealthPath && r.Header[secretHeader] == nil &&
		(r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// answerHealthCheck says whether the routes were read, and nothing else: that
// is all by which an edge that runs could be of no use.
func answerHealthCheck(w http.ResponseWriter, t *table) {
	status, text := http.StatusOK, "ok\n"
	if !t.loaded.Load() {
		status, text = http.StatusServiceUnavailable, "unavailable\n"
	}
	h := w.Header()
	delete(h, "Server")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// viewerAddress returns the viewer's address of a request that came by
// CloudFront and a load balancer: each put the address of who asked it behind
// what it was given, so the viewer's is the last but one. What stands before is
// the viewer's own word.
func viewerAddress(r *http.Request) string {
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	if len(hops) >= 2 {
		if ip, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-2])); err == nil {
			return ip.WithZone("").String()
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
