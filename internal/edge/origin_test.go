package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/edge"
)

// newOrigin prepares an edge as it is on AWS: the CDN is elsewhere, the routes
// are written by other hosts.
func newOrigin(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.cfg.Origin, f.cfg.Remote, f.cfg.KeyFile, f.cfg.Secret, f.cfg.AccessLog = true, true, "", secret, edge.Stdout
	f.writeConfig()
	return f
}

// fromCDN makes a request as CloudFront and a load balancer send it.
func fromCDN(tenant string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("X-Tenant", tenant)
		r.Header.Set("X-Gitopsd-Secret", secret)
		r.Header.Set("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 130.176.1.1")
		r.Header.Set("X-Forwarded-Proto", "https")
	}
}

func TestOriginServesWhatTheCDNSends(t *testing.T) {
	t.Parallel()
	f := newOrigin(t)
	f.start()
	f.tenant("acme", echo("acme-0"))
	res := f.do("POST", "acme.localhost", "/x?y=1", fromCDN("acme"))
	if res.StatusCode != 200 {
		t.Fatalf("status %d: %s", res.StatusCode, res.body)
	}
	got := res.seen(t)
	for name, want := range map[string]string{
		"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "acme.localhost",
		"X-Gitopsd-Edge": "key-of-acme", "X-Gitopsd-Secret": "", "X-Tenant": "",
	} {
		if v := strings.Join(got.Header[name], "|"); v != want {
			t.Errorf("instance saw %s: %q, want %q", name, v, want)
		}
	}
	for _, name := range []string{"Server", "Via", "X-Powered-By", "Strict-Transport-Security"} {
		if v := res.Header.Get(name); v != "" {
			t.Errorf("the CDN saw %s: %q", name, v)
		}
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Tenant, Remote, Origin string }
	for lines := bufio.NewScanner(strings.NewReader(f.stderr.String())); lines.Scan(); {
		if strings.Contains(lines.Text(), `"tenant":"acme"`) && json.Unmarshal(lines.Bytes(), &line) == nil {
			break
		}
	}
	if line.Tenant != "acme" || line.Remote != "203.0.113.9" || line.Origin != "app" {
		t.Errorf("access log on standard output: %+v", line)
	}
}

// Whoever does not come by the CDN gets nothing, and learns nothing.
func TestOriginRefuses(t *testing.T) {
	t.Parallel()
	f := newOrigin(t)
	f.start()
	f.tenant("acme", echo("acme-0"))
	f.tenant("beta", echo("beta-0"))
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no secret":                 {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\n", 403},
		"wrong secret":              {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\nX-Gitopsd-Secret: nonsense\r\n", 403},
		"two secrets":               {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\nX-Gitopsd-Secret: " + secret + "\r\nX-Gitopsd-Secret: x\r\n", 403},
		"no tenant":                 {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX-Gitopsd-Secret: " + secret + "\r\n", 403},
		"two tenants":               {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\nX-Tenant: beta\r\nX-Gitopsd-Secret: " + secret + "\r\n", 403},
		"another's host":            {"GET / HTTP/1.1\r\nHost: beta.localhost\r\nX-Tenant: acme\r\nX-Gitopsd-Secret: " + secret + "\r\n", 403},
		"underscored tenant":        {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX_Tenant: acme\r\nX-Gitopsd-Secret: " + secret + "\r\n", 403},
		"unknown tenant":            {"GET / HTTP/1.1\r\nHost: x.localhost\r\nX-Tenant: x\r\nX-Gitopsd-Secret: " + secret + "\r\n", 404},
		"absolute form":             {"GET http://beta.localhost/ HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\nX-Gitopsd-Secret: " + secret + "\r\n", 403},
		"health of a stranger":      {"POST /-/edge HTTP/1.1\r\nHost: acme.localhost\r\n", 403},
		"health of a load balancer": {"GET /-/edge HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n", 200},
		"an app's own path": {"GET /-/edge HTTP/1.1\r\nHost: acme.localhost\r\nX-Tenant: acme\r\nX-Gitopsd-Secret: " +
			secret + "\r\n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.raw(c.request + "Connection: close\r\n\r\n")
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("want %d, answered %.200q", c.status, got)
			}
			if c.status == 403 && (strings.Contains(got, "acme") || strings.Contains(got, "Caddy")) {
				t.Errorf("the refusal tells: %q", got)
			}
			if name == "an app's own path" && !strings.Contains(got, "acme-0") {
				t.Errorf("the app's path did not reach the app: %q", got)
			}
		})
	}
}

// An edge whose routes cannot be read yet says so, and reads them once they are there.
func TestOriginWaitsForItsRoutes(t *testing.T) {
	t.Parallel()
	f := newOrigin(t)
	if err := os.Remove(f.cfg.Routes); err != nil {
		t.Fatal(err)
	}
	f.start()
	health := func() int {
		res, err := http.Get("http://" + f.cfg.Addr + edge.HealthPath)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if got := health(); got != 503 {
		t.Errorf("without routes: %d", got)
	}
	if err := os.Mkdir(f.cfg.Routes, 0o700); err != nil {
		t.Fatal(err)
	}
	f.eventually("health", func() bool { return health() == 200 })
}

// Without a notification, a route that comes, changes or goes takes effect
// within a second and a little; one that is as it was costs no reading.
func TestRemoteRoutesAreFollowed(t *testing.T) {
	t.Parallel()
	f := newOrigin(t)
	f.start()
	f.tenant("keep", echo("keep"))
	f.tenant("acme", echo("old"))
	f.dns.set("acme"+zone, newServer(t, echo("new")))
	began := time.Now()
	f.route(f.routeOf("acme", 2))
	f.eventually("the move", func() bool { return f.do("GET", "acme.localhost", "/", fromCDN("acme")).seen(t).Instance == "new" })
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("moved → routed took %v", took)
	}
	// Twice within the granularity of clocks: neither is missed.
	for serial := range 20 {
		f.route(f.routeOf("acme", uint64(serial+3)))
	}
	f.eventually("the last serial", func() bool { return f.state("acme").Serial == 22 })
	f.removeRoute("acme")
	f.eventually("the route to be gone", func() bool { return f.state("acme") == nil })

	// All gone at once is a directory that was lost.
	f.tenant("acme", echo("again"))
	if err := os.Rename(f.cfg.Routes, f.cfg.Routes+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.cfg.Routes, 0o700); err != nil {
		t.Fatal(err)
	}
	f.eventually("the loss to be seen", func() bool { return strings.Contains(f.stderr.String(), "all gone at once") })
	for _, name := range []string{"acme", "keep"} {
		if f.state(name) == nil {
			t.Errorf("%s lost its route", name)
		}
	}
}

// A release's assets are served from the volume, which has them in the release.
func TestOriginServesAssets(t *testing.T) {
	t.Parallel()
	f := newOrigin(t)
	f.start()
	digest := strings.Repeat("ab", 32)
	releases := filepath.Join(f.dir, "volume", "releases")
	write(t, filepath.Join(releases, digest, "static", "index.html"), "<h1>hello</h1>")
	write(t, filepath.Join(releases, digest, "app"), "the binary")
	r := f.routeOf("acme", 1)
	r.Bucket, r.Static = releases, digest+"/static"
	f.dns.set("acme" + zone)
	f.route(r)
	f.awaitInstances("acme", 0)
	if res := f.do("GET", "acme.localhost", "/", fromCDN("acme")); res.StatusCode != 200 || res.body != "<h1>hello</h1>" {
		t.Errorf("%d %q", res.StatusCode, res.body)
	}
	if res := f.do("GET", "acme.localhost", "/app", fromCDN("acme")); res.StatusCode != 503 {
		t.Errorf("the binary: %d %q", res.StatusCode, res.body)
	}
	if res := f.get("acme.localhost", "/"); res.StatusCode != 403 {
		t.Errorf("without the CDN: %d", res.StatusCode)
	}
}

// The name servers of the system are asked where that is configured.
func TestSystemDNS(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/etc/resolv.conf"); err != nil {
		t.Skip("no /etc/resolv.conf")
	}
	f := newOrigin(t)
	f.cfg.DNS = edge.SystemDNS
	f.writeConfig()
	if err := f.launch(); err != nil {
		t.Fatal(err)
	}
	f.eventually("the edge to serve, or to say that there are none", func() bool {
		if strings.Contains(f.stderr.String(), "/etc/resolv.conf has none") {
			return true
		}
		res, err := http.Get("http://" + f.cfg.Addr + edge.HealthPath)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == 200
	})
}
