package console

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	sessionAge = 30 * 24 * time.Hour
	// A browser takes a cookie of the first name only over https, for this host
	// alone: no tenant on a host beside ours can set it.
	secureCookie = "__Host-gitopsd"
	plainCookie  = "gitopsd"
)

// sessions makes and knows the proofs that somebody had the token. A proof is
// the time at which it expires with an HMAC of it, so nothing is stored: it
// outlives a restart, and ends when the token changes.
type sessions struct{ key []byte }

func newSessions(token string) (sessions, error) {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "gitopsd console session 1", sha256.Size)
	if err != nil {
		return sessions{}, fmt.Errorf("derive the key of sessions: %w", err)
	}
	return sessions{key}, nil
}

// issue returns a proof that is good until the given time.
func (s sessions) issue(until time.Time) string {
	body := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(body, s.sum(body)...))
}

// good reports whether a proof is ours and has not expired.
func (s sessions) good(proof string, now time.Time) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(proof)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], s.sum(b[:8])) {
		return false
	}
	return now.Before(time.Unix(int64(binary.BigEndian.Uint64(b[:8])), 0))
}

func (s sessions) sum(body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(body)
	return h.Sum(nil)
}

// signedIn reports whether a browser has signed in.
func (s *Server) signedIn(r *http.Request) bool {
	for _, c := range r.Cookies() {
		if (c.Name == secureCookie || c.Name == plainCookie) && s.sessions.good(c.Value, time.Now()) {
			return true
		}
	}
	return false
}

// overTLS reports whether a browser talks to us by way of an https public URL.
// Asked by another address, such as a loopback one, we are reached without TLS.
func (s *Server) overTLS(r *http.Request) bool {
	if s.public == nil || s.public.Scheme != "https" {
		return false
	}
	origin, ok := strings.CutPrefix(r.Header.Get("Origin"), "https://")
	return strings.EqualFold(hostOf(r.Host), s.public.Hostname()) || ok && strings.EqualFold(origin, s.public.Host)
}

// cookie returns the cookie of a session; a negative age takes it away.
//
// A host's cookies go to each of its ports. Without TLS that host is this
// machine, where the apps of tenants have ports, too: a page of theirs must not
// lead a browser to them with our cookie, so it stays away from every request
// that another site began. With TLS the host is ours alone, and links from the
// forge carry it.
func (s *Server) cookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: plainCookie, Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if s.overTLS(r) {
		c.Name, c.Secure, c.SameSite = secureCookie, true, http.SameSiteLaxMode
	}
	return c
}
