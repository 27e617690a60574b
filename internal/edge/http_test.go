package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/edge"
)

func TestRequestReachesTheTenant(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	f.tenant("beta", echo("beta-0"))
	res := f.do("POST", "acme.localhost:8080", "/a%2Fb?x=1&y=%20", func(r *http.Request) {
		r.Header.Set("X-Custom", "kept")
		r.Header.Set("X-Forwarded-For", "6.6.6.6")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", "evil")
		r.Header.Set("X-Real-Ip", "6.6.6.6")
		r.Header.Set("Forwarded", "for=6.6.6.6")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("payload")), 7
	})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", res.StatusCode, res.body)
	}
	got := res.seen(t)
	if got.Instance != "acme-0" || got.Method != "POST" || got.Host != "acme.localhost:8080" ||
		got.URL != "/a%2Fb?x=1&y=%20" || got.Body != "payload" {
		t.Errorf("instance saw %+v", got)
	}
	for name, want := range map[string]string{
		"X-Custom": "kept", "X-Gitopsd-Edge": "key-of-acme", "X-Forwarded-For": "127.0.0.1",
		"X-Forwarded-Proto": "http", "X-Forwarded-Host": "acme.localhost:8080",
		"X-Tenant": "", "X-Gitopsd-Secret": "", "X-Real-Ip": "", "Forwarded": "",
	} {
		if v := strings.Join(got.Header[name], "|"); v != want {
			t.Errorf("instance saw %s: %q, want %q", name, v, want)
		}
	}
	for name, want := range map[string]string{
		"Server": "", "Via": "", "X-Powered-By": "", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "strict-origin-when-cross-origin", "X-Frame-Options": "SAMEORIGIN",
		"Strict-Transport-Security": "max-age=31536000",
	} {
		if v := strings.Join(res.Header[name], "|"); v != want {
			t.Errorf("viewer saw %s: %q, want %q", name, v, want)
		}
	}
	if in := f.get("beta.localhost", "/").seen(t).Instance; in != "beta-0" {
		t.Errorf("beta's request reached %s", in)
	}
}

// No header of a client's may name the tenant, prove to be the edge or the CDN,
// or take away what the edge says.
func TestSpoofedHeaders(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	f.tenant("beta", echo("beta-0"))
	for name, headers := range map[string]string{
		"tenant":                 "X-Tenant: beta\r\n",
		"tenant, lower case":     "x-tenant: beta\r\n",
		"tenant, mixed case":     "x-TeNaNt: beta\r\n",
		"tenant, several":        "X-Tenant: beta\r\nx-tenant: acme\r\nX-TENANT: beta\r\n",
		"tenant, list":           "X-Tenant: acme, beta\r\n",
		"tenant, empty":          "X-Tenant:\r\n",
		"tenant, underscore":     "X_Tenant: beta\r\n",
		"tenant, dot":            "X.Tenant: beta\r\n",
		"tenant and secret":      "X-Tenant: beta\r\nX-Gitopsd-Secret: " + secret + "\r\n",
		"secret":                 "X-Gitopsd-Secret: wrong\r\n",
		"secret, several":        "X-Gitopsd-Secret: a\r\nx-gitopsd-secret: b\r\n",
		"edge secret":            "X-Edge-Secret: wrong\r\n",
		"edge key":               "X-Gitopsd-Edge: key-of-beta\r\n",
		"edge key, several":      "X-Gitopsd-Edge: key-of-beta\r\nx-gitopsd-edge: key-of-acme\r\n",
		"agent marker":           "X-Gitopsd-Agent: failing\r\n",
		"connection drops key":   "Connection: keep-alive, X-Gitopsd-Edge\r\n",
		"connection drops all":   "Connection: X-Tenant, X-Gitopsd-Secret, X-Gitopsd-Edge, X-Forwarded-For, close\r\n",
		"connection, twice":      "Connection: X-Gitopsd-Edge\r\nConnection: X-Tenant\r\n",
		"many headers":           strings.Repeat("X-A: 1\r\n", 100) + manyHeaders(100),
		"many headers and spoof": manyHeaders(60) + "X-Tenant: beta\r\nX-Gitopsd-Edge: no\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := f.raw("GET /x HTTP/1.1\r\nHost: acme.localhost\r\n" + headers + "Connection: close\r\n\r\n")
			head, body, _ := strings.Cut(got, "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatalf("answered %q", head)
			}
			s := reply{&http.Response{StatusCode: 200}, dechunk(body)}.seen(t)
			if s.Instance != "acme-0" {
				t.Errorf("reached %s", s.Instance)
			}
			if v := s.Header["X-Gitopsd-Edge"]; !slices.Equal(v, []string{"key-of-acme"}) {
				t.Errorf("X-Gitopsd-Edge %q", v)
			}
			if v := s.Header["X-Forwarded-For"]; !slices.Equal(v, []string{"127.0.0.1"}) {
				t.Errorf("X-Forwarded-For %q", v)
			}
			for n := range s.Header {
				l := strings.ToLower(n)
				if l != "x-gitopsd-edge" && (strings.Contains(l, "tenant") || strings.Contains(l, "secret") || strings.HasPrefix(l, "x-gitopsd-")) {
					t.Errorf("%s reached the instance", n)
				}
			}
		})
	}
}

func manyHeaders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-Header-%d: %d\r\n", i, i)
	}
	return b.String()
}

// dechunk returns a body that may be in chunks.
func dechunk(body string) string {
	if strings.HasPrefix(body, "{") {
		return body
	}
	b, _ := io.ReadAll(httpChunked(body))
	return string(b)
}

func httpChunked(body string) io.Reader {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+body)), nil)
	if err != nil {
		return strings.NewReader("")
	}
	return res.Body
}

func TestHosts(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"plain":              {"GET / HTTP/1.1\r\nHost: acme.localhost\r\n", 200},
		"port":               {"GET / HTTP/1.1\r\nHost: acme.localhost:1234\r\n", 200},
		"empty port":         {"GET / HTTP/1.1\r\nHost: acme.localhost:\r\n", 200},
		"upper case":         {"GET / HTTP/1.1\r\nHost: ACME.LocalHost\r\n", 200},
		"trailing dot":       {"GET / HTTP/1.1\r\nHost: acme.localhost.\r\n", 200},
		"dot and port":       {"GET / HTTP/1.1\r\nHost: acme.localhost.:80\r\n", 200},
		"absolute form":      {"GET http://acme.localhost/ HTTP/1.1\r\nHost: other\r\n", 200},
		"absolute elsewhere": {"GET http://other/ HTTP/1.1\r\nHost: acme.localhost\r\n", 404},
		"two dots":           {"GET / HTTP/1.1\r\nHost: acme.localhost..\r\n", 404},
		"unknown":            {"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n", 404},
		"domain alone":       {"GET / HTTP/1.1\r\nHost: localhost\r\n", 404},
		"below":              {"GET / HTTP/1.1\r\nHost: x.acme.localhost\r\n", 404},
		"address":            {"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", 404},
		"address 6":          {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n", 404},
		"user":               {"GET / HTTP/1.1\r\nHost: acme.localhost@other\r\n", 400},
		"proto":              {"GET / HTTP/1.1\r\nHost: __proto__\r\n", 404},
		"tenant's name":      {"GET / HTTP/1.1\r\nHost: acme\r\n", 404},
		"none, 1.0":          {"GET / HTTP/1.0\r\n", 404},
		"none, 1.1":          {"GET / HTTP/1.1\r\n", 400},
		"two":                {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nHost: other\r\n", 400},
		"slash":              {"GET / HTTP/1.1\r\nHost: acme.localhost/x\r\n", 400},
		"trace":              {"TRACE / HTTP/1.1\r\nHost: acme.localhost\r\n", 405},
		"connect":            {"CONNECT acme.localhost:80 HTTP/1.1\r\nHost: acme.localhost\r\n", 405},
		"made-up method":     {"BREW / HTTP/1.1\r\nHost: acme.localhost\r\n", 405},
		"huge header":        {"GET / HTTP/1.1\r\nHost: acme.localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.raw(c.request + "Connection: close\r\n\r\n")
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) && !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.0 %d ", c.status)) {
				t.Errorf("want %d, answered %.200q", c.status, got)
			}
		})
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.dns.set("soon" + zone) // a record without instances
	f.route(f.routeOf("soon", 1))
	f.awaitInstances("soon", 0)
	f.dns.set("dead"+zone, freeAddr(t))
	f.route(f.routeOf("dead", 1))
	f.awaitInstances("dead", 1)
	f.tenant("sick", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Gitopsd-Agent", "failing") // as an agent says it
		w.Header().Set("Content-Length", "12")
		http.Error(w, "agent's text", http.StatusServiceUnavailable)
	}))
	f.tenant("away", echo("away"))
	f.route(edge.Route{Tenant: "away", Hosts: []string{"away.localhost"}, State: edge.Stopped})
	f.route(edge.Route{Tenant: "gone", Hosts: []string{"gone.localhost", "app.gone.example"}, State: edge.Gone})
	f.eventually("the states", func() bool {
		away, gone := f.state("away"), f.state("gone")
		return away.State == edge.Stopped && gone != nil && gone.State == edge.Gone
	})
	f.tenant("broken", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, "nonsense\r\n\r\n")
			_ = conn.Close()
		}
	}))
	f.tenant("error", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "x")
		http.Error(w, "the app's own error", http.StatusInternalServerError)
	}))
	for _, c := range []struct {
		host, accept string
		status       int
		kind, text   string
	}{
		{"gone.localhost", "text/html", 410, "text/html; charset=utf-8", "gone is gone"},
		{"app.gone.example", "application/json", 410, "application/json", `"gone is gone"`},
		{"away.localhost", "text/html", 503, "text/html; charset=utf-8", "away is stopped"},
		{"nobody.localhost", "text/html,*/*", 404, "text/html; charset=utf-8", "No such site"},
		{"nobody.localhost", "application/json", 404, "application/json", `"No such site"`},
		{"nobody.localhost", "", 404, "text/plain; charset=utf-8", "No such site"},
		{"soon.localhost", "text/html", 503, "text/html; charset=utf-8", "soon is starting"},
		{"soon.localhost", "application/json", 503, "application/json", `"soon is starting"`},
		{"dead.localhost", "*/*", 502, "text/plain; charset=utf-8", "The app did not answer"},
		{"broken.localhost", "*/*", 502, "text/plain; charset=utf-8", "The app did not answer"},
		{"sick.localhost", "*/*", 503, "text/plain; charset=utf-8", "sick is not available"},
		{"error.localhost", "*/*", 500, "text/plain; charset=utf-8", "the app's own error"},
	} {
		t.Run(c.host+" "+c.accept, func(t *testing.T) {
			res := f.do("POST", c.host, "/", func(r *http.Request) { r.Header.Set("Accept", c.accept) })
			if res.StatusCode != c.status || res.Header.Get("Content-Type") != c.kind || !strings.Contains(res.body, c.text) {
				t.Errorf("%d %s %q", res.StatusCode, res.Header.Get("Content-Type"), res.body)
			}
			if (res.StatusCode == 503) != (res.Header.Get("Retry-After") != "") && c.status != 502 {
				t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Server") != "" || res.Header.Get("X-Gitopsd-Agent") != "" {
				t.Errorf("headers %v", res.Header)
			}
			for _, secret := range []string{"127.0.0.1", "gitopsd.internal", "refused", "caddy", "agent's"} {
				if strings.Contains(strings.ToLower(res.body), secret) {
					t.Errorf("the page tells of %s: %s", secret, res.body)
				}
			}
		})
	}
}

// A request that reached no instance goes to another, whatever its method.
func TestDeadInstanceIsPassedOver(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	good := httptest.NewServer(echo("good"))
	t.Cleanup(good.Close)
	f.dns.set("acme"+zone, freeAddr(t), good.Listener.Addr().String())
	f.route(f.routeOf("acme", 1))
	f.awaitInstances("acme", 2)
	for i := range 20 {
		res := f.do("POST", "acme.localhost", "/", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), 4
		})
		if res.StatusCode != 200 || res.seen(t).Body != "body" {
			t.Fatalf("request %d: %d %s", i, res.StatusCode, res.body)
		}
	}
}

// A request that an instance may have seen goes to another one, once, if it
// means the same twice; no other is sent again.
func TestSeenRequests(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	var seen atomic.Int64
	breakOff := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1); panic(http.ErrAbortHandler) })
	f.tenant("broken", breakOff, breakOff, breakOff)
	f.tenant("single", breakOff)
	body := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }
	for _, c := range []struct {
		tenant, method string
		edit           func(*http.Request)
		sent           int64
	}{
		{"broken", "POST", nil, 1},
		{"broken", "PATCH", nil, 1},
		{"broken", "PUT", body, 1},
		{"broken", "GET", body, 1},
		{"broken", "GET", nil, 2},
		{"broken", "HEAD", nil, 2},
		{"broken", "PUT", nil, 2},
		{"broken", "DELETE", nil, 2},
		{"single", "GET", nil, 1},
	} {
		seen.Store(0)
		if res := f.do(c.method, c.tenant+".localhost", "/", c.edit); res.StatusCode != 502 || seen.Load() != c.sent {
			t.Errorf("%s %s: status %d, seen %d times, want %d", c.tenant, c.method, res.StatusCode, seen.Load(), c.sent)
		}
	}
	f.tenant("half", breakOff, echo("good"))
	for i := range 20 {
		if res := f.get("half.localhost", "/"); res.StatusCode != 200 {
			t.Errorf("request %d: %d though another instance serves", i, res.StatusCode)
		}
	}
}

// Requests go where there is less to do.
func TestBusyInstanceGetsLess(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	release, stuck := make(chan struct{}), make(chan struct{}, 64)
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stuck <- struct{}{}
		<-release
		_, _ = io.WriteString(w, `{"Instance": "slow"}`)
	})
	f.tenant("acme", slow, echo("free"))
	var held sync.WaitGroup
	for len(stuck) == 0 { // until one has something to do
		done := make(chan struct{})
		held.Go(func() { defer close(done); f.get("acme.localhost", "/") })
		select {
		case <-done:
		case <-time.After(50 * time.Millisecond):
		}
	}
	n := len(stuck)
	for i := range 50 { // one after the other: the other instance has nothing to do
		if in := f.get("acme.localhost", "/").seen(t).Instance; in != "free" {
			t.Fatalf("request %d went to %s", i, in)
		}
	}
	if len(stuck) != n {
		t.Errorf("%d requests went to the instance that is stuck", len(stuck)-n)
	}
	letGo()
	held.Wait()
}

func TestInstancesShareTheLoad(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("0"), echo("1"), echo("2"))
	count := map[string]int{}
	for range 30 {
		count[f.get("acme.localhost", "/").seen(t).Instance]++
	}
	if count["0"] != 10 || count["1"] != 10 || count["2"] != 10 {
		t.Errorf("requests by instance: %v", count)
	}
}

// SIGTERM lets a request under way finish, takes no new ones, and does not wait
// for connections that would never end.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	started, release := make(chan struct{}), make(chan struct{})
	f.tenant("slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, strings.Repeat("x", 4<<20))
	}))
	f.tenant("ws", http.HandlerFunc(upgrade))
	conn, br := dialUpgrade(t, f)
	defer conn.Close()
	got := make(chan reply, 1)
	go func() { got <- f.get("slow.localhost", "/") }()
	<-started
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.eventually("new connections to be refused", func() bool {
		c, err := net.Dial("tcp", f.cfg.Addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	// A closing frame of the protocol may come, then the end.
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 16 {
		t.Errorf("the upgraded connection goes on: %q %v", rest, err)
	}
	close(release)
	if res := <-got; res.StatusCode != 200 || len(res.body) != 4<<20 {
		t.Errorf("the request under way got %d and %d bytes", res.StatusCode, len(res.body))
	}
	began := time.Now()
	if err := f.waitExit(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopped %v after the last answer", took)
	}
}

func TestAccessLogAndMetrics(t *testing.T) {
	t.Parallel()
	f := startEdge(t)
	f.tenant("acme", echo("acme-0"))
	f.do("GET", "acme.localhost", "/path?token=topsecret", func(r *http.Request) {
		r.Header.Set("User-Agent", "test \"agent\" \xff")
		r.Header.Set("Authorization", "Bearer topsecret")
	})
	f.get("nobody.localhost", "/")
	res, err := http.Get("http://" + f.cfg.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, _ := io.ReadAll(res.Body)
	for _, want := range []string{
		`gitopsd_edge_requests_total{class="2xx",tenant="acme"} 1`, "gitopsd_edge_unknown_host_total 1",
		"gitopsd_edge_tenants 1", "gitopsd_edge_instances 1", "gitopsd_edge_dns_queries_total 1",
		"gitopsd_edge_dns_errors_total 0", "gitopsd_edge_access_log_lost_total 0",
	} {
		if !strings.Contains(string(metrics), "\n"+want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := f.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	b, err := os.ReadFile(f.cfg.AccessLog)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 2 || strings.Contains(string(b), "topsecret") {
		t.Fatalf("access log:\n%s", b)
	}
	var line struct {
		Tenant, Method, Host, Path, Origin, Upstream, Agent, Remote string
		Status, Bytes                                               int
	}
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatalf("%s: %v", lines[0], err)
	}
	if line.Tenant != "acme" || line.Status != 200 || line.Path != "/path" || line.Origin != "app" || line.Bytes == 0 ||
		line.Upstream == "" || line.Agent != "test \"agent\" \ufffd" || line.Remote != "127.0.0.1" {
		t.Errorf("%+v", line)
	}
}
