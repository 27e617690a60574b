package console

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	gosync "sync"
	"time"
)

const (
	maxLogin   = 8 << 10 // bytes of the form
	wrongDelay = 500 * time.Millisecond
	maxWrong   = 4 // wrong tokens of one address that are being delayed
)

// loginForm is what the page to sign in shows.
type loginForm struct {
	Next      string // path to go on to
	TokenFile string
	Failure   *failureShown
}

// loginPage shows the form, or goes on if there is nothing to ask.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) error {
	next := localPath(r.URL.Query().Get("next"))
	if s.signedIn(r) {
		seeOther(w, next)
		return nil
	}
	return s.showLogin(w, r, http.StatusOK, loginForm{Next: next})
}

func (s *Server) showLogin(w http.ResponseWriter, r *http.Request, code int, f loginForm) error {
	f.TokenFile = s.tokenFile()
	return s.show(w, r, code, page{Title: "Sign in", Template: "login", Data: f})
}

// login gives a session for the token.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if err := r.ParseForm(); err != nil {
		return s.showLogin(w, r, http.StatusBadRequest, loginForm{Next: "/", Failure: &failureShown{
			Message: "The form could not be read.", Hint: "Give the token alone.",
		}})
	}
	next := localPath(r.PostForm.Get("next"))
	if s.isToken(strings.TrimSpace(r.PostForm.Get("token"))) {
		http.SetCookie(w, s.cookie(r, s.sessions.issue(time.Now().Add(sessionAge)), sessionAge))
		seeOther(w, next)
		return nil
	}
	address := addressOf(r)
	if !s.wrong.delay(r.Context(), address) {
		w.Header().Set("Retry-After", "1")
		return s.showLogin(w, r, http.StatusTooManyRequests, loginForm{Next: next, Failure: &failureShown{
			Message: "There were too many wrong tokens from your address.", Hint: "Wait a second, then try again.",
		}})
	}
	s.config.Log.Warn("a wrong token was given to sign in", "address", address)
	return s.showLogin(w, r, http.StatusForbidden, loginForm{Next: next, Failure: &failureShown{
		Message: "That is not the token.", Hint: "It is the whole content of the file, 64 characters as it was made.",
	}})
}

// logout takes the session's cookie away.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, s.cookie(r, "", -time.Second))
	seeOther(w, "/login")
	return nil
}

// wrongTokens delays wrong tokens, a few at a time of one address. The right one
// is never kept waiting: any process of this machine shares its address, and
// must not be able to lock an operator out.
type wrongTokens struct {
	mu      gosync.Mutex
	waiting map[string]int // by address
}

// delay waits, or returns false if too many of the address do already.
func (t *wrongTokens) delay(ctx context.Context, address string) bool {
	if !t.add(address, 1) {
		return false
	}
	defer t.add(address, -1)
	timer := time.NewTimer(wrongDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

func (t *wrongTokens) add(address string, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.waiting[address] + n
	switch {
	case now > maxWrong:
		return false
	case now == 0:
		delete(t.waiting, address)
	default:
		t.waiting[address] = now
	}
	return true
}

// addressOf names where a request comes from. Who has one address of IPv6 has
// the 64 bits below it.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is6() {
		if block, err := ip.WithZone("").Prefix(64); err == nil {
			return block.String()
		}
	}
	return ip.String()
}

// localPath returns where to go on to after signing in: one of our pages, or "/"
// for anything else.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	if !regexp.MustCompile(`^/((commits|tenants|pulls)/[A-Za-z0-9-]+)?$`).MatchString(u.Path) {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.Query().Encode()}).String()
}

// loginURL returns where to sign in to see what was asked for.
func loginURL(r *http.Request) string {
	next := localPath(r.URL.RequestURI())
	if next == "/" {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(next)
}

// seeOther leads on to one of our own paths.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
