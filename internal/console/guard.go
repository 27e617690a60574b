package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// atHome refuses requests that were not meant for this server: a name that
// resolves here is not enough, or any web page could bring its own.
func (s *Server) atHome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ours(r, r.Host) {
			refuse(w, http.StatusForbidden, fault.Errorf(fault.Invalid, "host %q is not this server", r.Host).
				WithHint("ask for it by its address, such as %s, or name it with consoleURL in the configuration", s.URL()))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what a page of another server sent.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			u, err := url.Parse(origin)
			// A proxy in front of us may ask by our address what a browser asked by
			// our public name.
			if err != nil || !strings.EqualFold(u.Host, r.Host) && !s.isPublic(u) {
				refuse(w, http.StatusForbidden, fault.Errorf(fault.Invalid, "origin %q is not this server", origin).
					WithHint("if it is the console's own address, say so with consoleURL in the configuration"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// isPublic reports whether an origin is the public URL's.
func (s *Server) isPublic(origin *url.URL) bool {
	return s.public != nil && origin.Scheme == s.public.Scheme && strings.EqualFold(origin.Host, s.public.Host)
}

// ours reports whether a Host header names this server: a loopback address, the
// configured host, the public one, or, when all addresses are listened on, the
// one asked at. What a proxy says in X-Forwarded-Host is not asked for.
func (s *Server) ours(r *http.Request, hostport string) bool {
	host := strings.ToLower(hostOf(hostport))
	if host == "localhost" || host == strings.ToLower(hostOf(s.config.Addr)) && host != "" {
		return true
	}
	if s.public != nil && host == strings.ToLower(s.public.Hostname()) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == ip.Unmap()
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.Trim(host, "[]")
}

// authorised lets a request pass that has the token.
func (s *Server) authorised(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.hasToken(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, fault.Errorf(fault.Invalid, "the token is missing or wrong").
				WithHint("send the token of %s, or set GITOPSD_TOKEN", s.tokenFile()))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) hasToken(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && s.isToken(token)
}

func (s *Server) isToken(token string) bool {
	// Hashes have one length, so the comparison's time tells nothing.
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
