package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/gitopsd/gitopsd/internal/edge"
)

// newSecure prepares an edge that serves TLS.
func newSecure(t *testing.T, edit func(*edge.TLS)) *fixture {
	t.Helper()
	f := newFixture(t)
	f.cfg.TLS = &edge.TLS{Addr: freeAddr(t), Store: filepath.Join(f.dir, "tls")}
	if edit != nil {
		edit(f.cfg.TLS)
	}
	f.writeConfig()
	return f
}

// secure returns a client that trusts the roots and reaches every host at the edge.
func (f *fixture) secure(roots *x509.CertPool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, f.cfg.TLS.Addr)
		},
	}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: f.client.CheckRedirect}
}

// ownRoots returns the root of the edge's own authority.
func (f *fixture) ownRoots() *x509.CertPool {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.cfg.TLS.Store, "pki", "authorities", "local", "root.crt"))
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(b) {
		f.t.Fatalf("root of the edge's authority: %v", err)
	}
	return pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	f := newSecure(t, func(c *edge.TLS) { c.Redirect = true })
	f.start()
	f.dns.set("acme"+zone, newServer(t, echo("acme-0")))
	r := f.routeOf("acme", 1)
	r.Hosts = append(r.Hosts, "www.acme.example")
	f.route(r)
	f.awaitInstances("acme", 1)
	f.tenant("beta", echo("beta-0"))
	client := f.secure(f.ownRoots())

	for _, host := range r.Hosts {
		res, err := client.Get("https://" + host + "/x")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got := reply{res, string(body)}.seen(t)
		if res.ProtoMajor != 2 || got.Instance != "acme-0" || got.Header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("%s: %s, %+v", host, res.Proto, got)
		}
	}
	t.Run("spoofed", func(t *testing.T) {
		req, _ := http.NewRequest("GET", "https://acme.localhost/", nil)
		req.Header = http.Header{
			"X-Tenant": {"beta", "acme"}, "x-tenant": {"beta"}, "X-Gitopsd-Secret": {secret}, "X-Gitopsd-Edge": {"key-of-beta"},
			"X_tenant": {"beta"}, "X-Forwarded-For": {"6.6.6.6"},
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got := reply{res, string(body)}.seen(t)
		if got.Instance != "acme-0" || got.Header.Get("X-Gitopsd-Edge") != "key-of-acme" || got.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("saw %+v", got)
		}
		for name := range got.Header {
			if l := strings.ToLower(name); strings.Contains(l, "tenant") || strings.Contains(l, "secret") {
				t.Errorf("%s reached the instance", name)
			}
		}
	})
	t.Run("the host decides, not the certificate", func(t *testing.T) {
		req, _ := http.NewRequest("GET", "https://acme.localhost/", nil)
		req.Host = "beta.localhost"
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if in := (reply{res, string(body)}).seen(t).Instance; in != "beta-0" {
			t.Errorf("reached %s", in)
		}
	})
	for name, host := range map[string]string{"nobody's": "nobody.localhost", "another's": "www.other.example", "none": ""} {
		t.Run("no certificate: "+name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", f.cfg.TLS.Addr, &tls.Config{ServerName: host, InsecureSkipVerify: true})
			if err == nil {
				_ = conn.Close()
				t.Errorf("a handshake for %q: %v", host, conn.ConnectionState().PeerCertificates[0].DNSNames)
			}
		})
	}
	if found, _ := filepath.Glob(filepath.Join(f.cfg.TLS.Store, "certificates", "*", "*")); len(found) != 2 {
		t.Errorf("certificates: %v", found)
	}
	t.Run("redirect", func(t *testing.T) {
		res := f.get("acme.localhost:8080", "/a%2Fb?x=1")
		want := fmt.Sprintf("https://acme.localhost:%s/a%%2Fb?x=1", portOf(t, f.cfg.TLS.Addr))
		if res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != want {
			t.Errorf("%d %s, want %s", res.StatusCode, res.Header.Get("Location"), want)
		}
		if res := f.get("nobody.localhost", "/"); res.StatusCode != 404 {
			t.Errorf("an unknown host: %d", res.StatusCode)
		}
	})
	t.Run("a tenant that comes is served at once", func(t *testing.T) {
		f.tenant("late", echo("late-0"))
		res, err := client.Get("https://late.localhost/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Certificates of public names come from an ACME server, which looks at the
// host's ports and accepts what it finds there; those of others do not.
func TestACME(t *testing.T) {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	f := newSecure(t, nil)
	port := func(addr string) int { n, _ := strconv.Atoi(portOf(t, addr)); return n }
	said := &lockedBuffer{}
	logger := log.New(said, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	front := wfe.New(logger, store, va.New(logger, port(f.cfg.Addr), port(f.cfg.TLS.Addr), true, f.dns.addr, store), authority,
		[]string{"pebble"}, true, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	f.cfg.TLS.CA, f.cfg.TLS.Email = server.URL+wfe.DirectoryPath, "ops@gitopsd.dev"
	f.cfg.TLS.Roots = filepath.Join(f.dir, "acme.pem")
	write(t, f.cfg.TLS.Roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	f.writeConfig()
	f.start()
	f.dns.set("acme"+zone, newServer(t, echo("acme-0")))
	r := f.routeOf("acme", 1)
	r.Hosts = append(r.Hosts, "node1.acme.example") // a name that the test's DNS knows
	f.route(r)
	f.awaitInstances("acme", 1)

	roots := x509.NewCertPool()
	roots.AddCert(authority.GetRootCert(0).Cert)
	began := time.Now()
	res, err := f.secure(roots).Get("https://node1.acme.example/")
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, said, f.stderr)
	}
	_ = res.Body.Close()
	t.Logf("a public name was served after %v", time.Since(began))
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	orders := strings.Count(said.String(), "new-order")
	if _, err := f.secure(roots).Get("https://www.stranger.example/"); err == nil {
		t.Error("a host that nobody has was given a certificate")
	}
	res, err = f.secure(f.ownRoots()).Get("https://acme.localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if n := strings.Count(said.String(), "new-order"); n != orders {
		t.Errorf("the ACME server was asked %d times more", n-orders)
	}
}
