package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
)

func anonymous(r *http.Request) { r.Header.Del("Authorization") }

// browsing asks as a browser does, without the token but with the cookies.
func browsing(cookies ...*http.Cookie) func(*http.Request) {
	return func(r *http.Request) {
		anonymous(r)
		r.Header.Set("Accept", "text/html,*/*;q=0.8")
		for _, c := range cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
}

// give sends the form to sign in.
func (a *api) give(token, next string, change ...func(*http.Request)) *http.Response {
	a.t.Helper()
	form := url.Values{"token": {token}, "next": {next}}.Encode()
	return a.request(http.MethodPost, "/login", form, append([]func(*http.Request){browsing(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", a.url)
	}}, change...)...)
}

// signedIn gives the token and returns the session's cookie.
func (a *api) signedIn(change ...func(*http.Request)) *http.Cookie {
	a.t.Helper()
	res := a.give(a.token, "/", change...)
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		a.t.Fatalf("the token answers %s with %d cookies", res.Status, len(res.Cookies()))
	}
	return res.Cookies()[0]
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	path := "/commits/" + third + "?page=1"
	res := a.request(http.MethodGet, path, "", browsing())
	to := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || to != "/login?next="+url.QueryEscape(path) {
		t.Fatalf("a stranger gets %s, %s", res.Status, to)
	}
	form := a.page(to, browsing())
	next := ""
	for _, input := range form.elements("input") {
		if input.attribute("name") == "next" {
			next = input.attribute("value")
		}
	}
	if next != path || !strings.Contains(form.text(), filepath.Join(a.data, "secrets", "api-token")) {
		t.Errorf("the form leads to %s and says %s", next, form.text())
	}
	res = a.give(" "+a.token+"\n", next)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Fatalf("the token answers %s, %s", res.Status, res.Header.Get("Location"))
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 30*24*3600 || strings.Contains(c.Value, a.token) {
		t.Errorf("the cookie is %s", res.Header.Get("Set-Cookie"))
	}
	for _, name := range []string{"/", path, "/tenants/acme", "/pulls/12"} {
		if page := a.page(name, browsing(c)); !strings.Contains(page.text(), "Sign out") {
			t.Errorf("%s does not let sign out", name)
		}
	}
	if res := a.request(http.MethodGet, "/login?next=%2Ftenants%2Facme", "", browsing(c)); res.Header.Get("Location") != "/tenants/acme" {
		t.Errorf("who is signed in is asked to, at %s", res.Header.Get("Location"))
	}
	if res := a.request(http.MethodGet, "/api/v1/tenants", "", browsing(c)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the session is good for the API: %s", res.Status)
	}
	out := a.request(http.MethodPost, "/logout", "", browsing(c))
	if gone := out.Cookies(); out.StatusCode != http.StatusSeeOther || len(gone) != 1 || gone[0].Name != c.Name || gone[0].MaxAge >= 0 || gone[0].Value != "" {
		t.Errorf("to sign out answers %s with %v", out.Status, gone)
	}
	evil := func(r *http.Request) { r.Header.Set("Origin", "http://acme.localhost:8080") }
	if res := a.give(a.token, "/", evil); res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site signs in: %s", res.Status)
	}
	if strings.Contains(a.log.String(), a.token) {
		t.Error("the log has the token")
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	c := a.signedIn()
	asked := func(a *api, c *http.Cookie) int { return a.request(http.MethodGet, "/", "", browsing(c)).StatusCode }
	for i, flipped := range []byte(c.Value) {
		b := []byte(c.Value)
		if b[i] = 'A'; flipped == 'A' {
			b[i] = 'B'
		}
		if asked(a, &http.Cookie{Name: c.Name, Value: string(b)}) != http.StatusSeeOther {
			t.Errorf("a session with its character %d changed is good", i)
		}
	}
	for _, value := range []string{"", "x", a.token, strings.Repeat("A", 54), c.Value + "A"} {
		if asked(a, &http.Cookie{Name: c.Name, Value: value}) != http.StatusSeeOther {
			t.Errorf("the session %q is good", value)
		}
	}
	again := func() *api {
		t.Helper()
		return serve(t, everyState(), func(config *console.Config) { config.Data = a.data })
	}
	if code := asked(again(), c); code != http.StatusOK {
		t.Errorf("a session does not outlive a restart: %d", code)
	}
	file := filepath.Join(a.data, filepath.FromSlash(console.TokenFile))
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := asked(again(), c); code != http.StatusSeeOther {
		t.Errorf("a session outlives its token: %d", code)
	}
}

func TestWhereSignInLeads(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	for next, want := range map[string]string{
		"/": "/", "/tenants/acme": "/tenants/acme", "/?phase=Failed&q=a": "/?phase=Failed&q=a", "/commits/HEAD?page=2": "/commits/HEAD?page=2",
		"": "/", "http://evil.example/": "/", "//evil.example/": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "/\t/evil.example": "/",
		"https:evil.example": "/", "javascript:alert(1)": "/", "/%2F/evil.example": "/", "/%5Cevil.example": "/", "/tenants/../..//evil.example": "/", "evil.example": "/",
		"/tenants/acme\r\nSet-Cookie: a=b": "/", "/?q=\r\nSet-Cookie: a=b": "/", "/login": "/", "/logout": "/", "/api/v1/tenants": "/", "//@evil.example/tenants/acme": "/", "/tenants/acme#//evil.example": "/tenants/acme",
	} {
		if got := a.give(a.token, next).Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
		for _, input := range a.page("/login?next="+url.QueryEscape(next), browsing()).elements("input") {
			if input.attribute("name") == "next" && input.attribute("value") != want {
				t.Errorf("%q is asked for as %q, want %q", next, input.attribute("value"), want)
			}
		}
	}
}

func TestWrongTokens(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	begin := time.Now()
	res := a.give("wrong", "/tenants/acme")
	text := a.parsed(res, http.StatusForbidden).text()
	if !strings.Contains(text, "That is not the token.") || len(res.Cookies()) != 0 || time.Since(begin) < 400*time.Millisecond {
		t.Errorf("a wrong token answers %q after %s", text, time.Since(begin))
	}
	if large := a.give(strings.Repeat("x", 10_000), "/"); large.StatusCode != http.StatusBadRequest {
		t.Errorf("a large form answers %s", large.Status)
	}
	codes := make(chan int, 12)
	for i := range cap(codes) {
		go func() { codes <- a.give(fmt.Sprint("wrong", i), "/").StatusCode }()
	}
	got := map[int]int{}
	for range cap(codes) {
		got[<-codes]++
		if c := a.signedIn(); c.Value == "" { // whoever has the token is not kept out
			t.Error("no session")
		}
	}
	if got[http.StatusTooManyRequests] == 0 || got[http.StatusForbidden] < 4 || len(got) != 2 {
		t.Errorf("many wrong tokens at a time answer %v", got)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState(), func(c *console.Config) { c.PublicURL = "https://ops.example.com" })
	public := func(r *http.Request) { r.Host = "ops.example.com"; r.Header.Set("Origin", "https://ops.example.com") }
	if res := a.request(http.MethodGet, "/api/v1/tenants", "", public); res.StatusCode != http.StatusOK {
		t.Errorf("by its public name it answers %s", res.Status)
	}
	for name, change := range map[string]func(*http.Request){
		"another name": func(r *http.Request) { r.Host = "evil.example.com" },
		"X-Forwarded-Host": func(r *http.Request) {
			r.Host = "evil.example.com"
			r.Header.Set("X-Forwarded-Host", "ops.example.com")
		},
		"another's origin":    func(r *http.Request) { r.Host = "ops.example.com"; r.Header.Set("Origin", "https://acme.example.com") },
		"origin without TLS":  func(r *http.Request) { r.Header.Set("Origin", "http://ops.example.com") },
		"origin at its ports": func(r *http.Request) { r.Header.Set("Origin", "https://ops.example.com:8443") },
	} {
		if res := a.request(http.MethodGet, "/api/v1/tenants", "", change); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s answers %s", name, res.Status)
		}
	}
	behindProxy := func(r *http.Request) { r.Header.Set("Origin", "https://ops.example.com") } // which asks by our address
	for name, change := range map[string]func(*http.Request){"by its name": public, "behind a proxy": behindProxy} {
		c := a.signedIn(change)
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Name != "__Host-gitopsd" || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s the cookie is %+v", name, c)
		}
		if res := a.request(http.MethodGet, "/", "", browsing(c), func(r *http.Request) { r.Host = "ops.example.com" }); res.StatusCode != http.StatusOK {
			t.Errorf("%s the session answers %s", name, res.Status)
		}
	}
	if c := a.signedIn(); c.Secure { // a browser that came without TLS would not send it
		t.Error("by a loopback address the cookie is for TLS alone")
	}
	for _, bad := range []string{"ops.example.com", "ftp://ops.example.com", "https://", "https://ops.example.com/gitopsd", "https://u:s3cr3t@ops.example.com", "https://ops.example.com/?a", "https://ops.example.com/#a", "https://s3cr3t:x"} {
		_, err := console.New(console.Config{Addr: "127.0.0.1:0", Data: t.TempDir(), PublicURL: bad})
		if !fault.Is(err, fault.Invalid) || fault.RecordOf(err).Hint == "" || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the public URL %s is %v", bad, err)
		}
	}
}

func TestPublicRead(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState(), func(c *console.Config) { c.PublicRead = true })
	for _, path := range []string{"/", "/commits/" + third, "/tenants/globex", "/pulls/12"} {
		text := a.page(path, browsing()).text()
		if !strings.Contains(text, "Sign in") {
			t.Errorf("%s does not let sign in", path)
		}
		for _, output := range []string{"undefined: greet", "index out of range"} {
			if strings.Contains(text, output) {
				t.Errorf("anybody reads %q on %s", output, path)
			}
		}
		if path != "/" && path != "/pulls/12" && !strings.Contains(text, "shown to those who are signed in") {
			t.Errorf("%s does not say that it shows less", path)
		}
	}
	if text := a.page("/commits/"+third, browsing(a.signedIn())).text(); !strings.Contains(text, "undefined: greet") {
		t.Error("who is signed in does not see outputs")
	}
	for _, path := range []string{"/api/v1/tenants", "/api/v1/commits/" + third, "/api/v1/tenants/acme/logs", "/api/v1/pulls"} {
		if res := a.request(http.MethodGet, path, "", anonymous); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("anybody reads %s: %s", path, res.Status)
		}
	}
	a.world.Update(func(s *consoletest.State) {
		s.Health.Failing = "cannot reach git@10.1.2.3"
	})
	if text := a.page("/", browsing()).text(); strings.Contains(text, "10.1.2.3") || !strings.Contains(text, "cannot be followed") {
		t.Errorf("anybody reads %s", text)
	}
	a.world.Update(func(s *consoletest.State) { s.Fails = fault.Errorf(fault.Transient, "the ledger is at 10.1.2.3") })
	if text := a.parsed(a.request(http.MethodGet, "/", "", browsing()), 503).text(); strings.Contains(text, "10.1.2.3") {
		t.Errorf("anybody reads %s", text)
	}
}

func TestComingFromAnotherSite(t *testing.T) {
	t.Parallel()
	a := serve(t, everyState())
	cross := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	page := a.page("/commits/"+third+"?page=1", browsing(), cross)
	refreshes := ""
	for _, meta := range page.elements("meta") {
		if meta.attribute("http-equiv") == "refresh" {
			refreshes = meta.attribute("content")
		}
	}
	if text := page.text(); refreshes != "0" || strings.Contains(text, "Greet people") {
		t.Errorf("refreshes %q: %s", refreshes, text)
	}
	if links := page.links(); links[len(links)-1] != "/commits/"+third+"?page=1" {
		t.Errorf("leads to %q", links)
	}
	public := serve(t, everyState(), func(c *console.Config) { c.PublicURL = "https://ops.example.com" })
	res := public.request(http.MethodGet, "/commits/"+third, "", browsing(), cross, func(r *http.Request) { r.Host = "ops.example.com" })
	if res.StatusCode != http.StatusSeeOther { // the cookie would have come along
		t.Errorf("with TLS it answers %s", res.Status)
	}
}
