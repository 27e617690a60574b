package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/console/consoletest"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// api is a console that is served, and a client that has its token.
type api struct {
	t     *testing.T
	world *consoletest.World
	url   string
	token string
	data  string
	log   *lines
	stop  context.CancelFunc
	done  chan error
}

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T, s consoletest.State, change ...func(*console.Config)) *api {
	t.Helper()
	a := &api{t: t, world: consoletest.New(s), data: t.TempDir(), log: &lines{}, done: make(chan error, 1)}
	config := console.Config{
		Ledger: a.world, Platform: a.world, Loop: a.world, Secrets: a.world, Reviews: a.world,
		Addr: "127.0.0.1:0", Data: a.data, Domain: "localhost", Edge: "127.0.0.1:8080",
		Log: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&config)
	}
	a.data = config.Data
	server, err := console.New(config)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(a.data, "secrets", "api-token"))
	if err != nil {
		t.Fatal(err)
	}
	a.url, a.token = server.URL(), strings.TrimSpace(string(b))
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() { a.done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-a.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	a.eventually("the console follows changes", func() bool { return a.world.Subscribers() == 1 })
	return a
}

func (a *api) eventually(what string, holds func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("never: %s", what)
		}
	}
}

// request asks with the token, which change may alter.
func (a *api) request(method, path, body string, change ...func(*http.Request)) *http.Response {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	for _, c := range change {
		c(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req) // follows no redirects
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// get asks, wants 200 and decodes.
func get[T any](a *api, path string) T {
	a.t.Helper()
	return decoded[T](a, a.request(http.MethodGet, path, ""), http.StatusOK)
}

func decoded[T any](a *api, res *http.Response, code int) (v T) {
	a.t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if res.StatusCode != code {
		a.t.Fatalf("%s answers %s, want %d: %s", res.Request.URL, res.Status, code, b)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		a.t.Fatalf("%s answers %s: %v", res.Request.URL, b, err)
	}
	return v
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Head: "abc1234"})
	port := a.url[strings.LastIndexByte(a.url, ':'):]
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for _, c := range []struct {
		name   string
		path   string
		change func(*http.Request)
		want   int
	}{
		{"with the token", "/api/v1/tenants", header("Accept", "*/*"), 200},
		{"without a token", "/api/v1/tenants", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"an empty token", "/api/v1/tenants", header("Authorization", "Bearer "), 401},
		{"a wrong token", "/api/v1/tenants", header("Authorization", "Bearer "+strings.Repeat("0", 64)), 401},
		{"the token without its scheme", "/api/v1/tenants", header("Authorization", a.token), 401},
		{"a route that is not there, without a token", "/api/v2/x", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"health without a token", "/healthz", func(r *http.Request) { r.Header.Del("Authorization") }, 200},
		{"by the name localhost", "/api/v1/tenants", host("localhost" + port), 200},
		{"by another loopback address", "/api/v1/tenants", host("[::1]" + port), 200},
		{"by a name that resolves here", "/api/v1/tenants", host("evil.example" + port), 403},
		{"by a tenant's name", "/api/v1/tenants", host("acme.localhost" + port), 403},
		{"by another address", "/api/v1/tenants", host("10.1.2.3" + port), 403},
		{"health by a name that resolves here", "/healthz", host("evil.example"), 403},
		{"from a page of another server", "/api/v1/tenants", header("Origin", "http://acme.localhost:8080"), 403},
		{"from a page on another port", "/api/v1/tenants", header("Origin", "http://127.0.0.1:1"), 403},
		{"from a file", "/api/v1/tenants", header("Origin", "null"), 403},
		{"from its own page", "/api/v1/tenants", header("Origin", a.url), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			if res := a.request(http.MethodGet, c.path, "", c.change); res.StatusCode != c.want {
				t.Errorf("answers %s, want %d", res.Status, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	for _, c := range []struct {
		method, path, body string
		code               int
		kind               fault.Kind
	}{
		{"GET", "/api/v1/tenants/none", "", 404, fault.NotFound},
		{"GET", "/api/v1/nothing", "", 404, fault.NotFound},
		{"GET", "/nothing", "", 404, fault.NotFound},
		{"DELETE", "/api/v1/tenants", "", 404, fault.NotFound},
		{"GET", "/api/v1/tenants/none/logs", "", 404, fault.NotFound},
		{"GET", "/api/v1/tenants/none/logs?follow=perhaps", "", 422, fault.Invalid},
		{"POST", "/api/v1/tenants/none/retry", "", 404, fault.NotFound},
		{"GET", "/api/v1/commits?limit=x", "", 422, fault.Invalid},
		{"GET", "/api/v1/commits?limit=501", "", 422, fault.Invalid},
		{"GET", "/api/v1/commits/HEAD", "", 404, fault.NotFound},
		{"GET", "/api/v1/commits/abcd", "", 404, fault.NotFound},
		{"GET", "/api/v1/commits/abc", "", 422, fault.Invalid},
		{"GET", "/api/v1/commits/main", "", 422, fault.Invalid},
		{"GET", "/api/v1/commits/abcd?wait=long", "", 422, fault.Invalid},
		{"POST", "/api/v1/commits/abcd/approve", "", 422, fault.Invalid},
		{"POST", "/api/v1/commits/abcd/approve", `{"who": " "}`, 422, fault.Invalid},
		{"POST", "/api/v1/commits/abcd/approve", `{"who": "a", "force": true}`, 422, fault.Invalid},
		{"POST", "/api/v1/commits/abcd/approve", `{"who": "a"}`, 404, fault.NotFound},
		{"POST", "/api/v1/commits/abcd/approve", `{"who": "` + strings.Repeat("a", 5000) + `"}`, 413, fault.Invalid},
		{"PUT", "/api/v1/tenants/Acme/secrets/KEY", "v", 422, fault.Invalid},
		{"PUT", "/api/v1/tenants/..%2Fx/secrets/KEY", "v", 422, fault.Invalid},
		{"PUT", "/api/v1/tenants/acme/secrets/A%20B", "v", 422, fault.Invalid},
		{"PUT", "/api/v1/tenants/acme/secrets/..%2FKEY", "v", 422, fault.Invalid},
		{"PUT", "/api/v1/tenants/acme/secrets/KEY", "", 422, fault.Invalid},
		{"PUT", "/api/v1/tenants/acme/secrets/KEY", "a\x00b", 422, fault.Invalid},
	} {
		res := a.request(c.method, c.path, c.body)
		r := decoded[fault.Record](a, res, c.code)
		if r.Kind != c.kind || r.Message == "" {
			t.Errorf("%s %s answers %+v, want %s", c.method, c.path, r, c.kind)
		}
	}
	for kind, code := range map[fault.Kind]int{
		fault.Invalid: 422, fault.NotFound: 404, fault.Conflict: 409, fault.Transient: 503, fault.Stalled: 504,
	} {
		a.world.Update(func(s *consoletest.State) {
			s.Fails = fault.Errorf(kind, "it broke").WithHint("mend it").WithDetail("here")
		})
		r := decoded[fault.Record](a, a.request(http.MethodGet, "/api/v1/applied", ""), code)
		if want := (fault.Record{Kind: kind, Message: "read head: it broke", Hint: "mend it", Detail: "here"}); r != want {
			t.Errorf("answers %+v, want %+v", r, want)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	if h := get[console.Health](a, "/healthz"); h.Status != "ok" {
		t.Errorf("health is %+v", h)
	}
	a.world.Update(func(s *consoletest.State) {
		s.Health.Failing, s.Health.Head = "cannot reach /srv/repo", "abc1234"
	})
	if h := decoded[console.Health](a, a.request(http.MethodGet, "/healthz", ""), 503); h.Status != "failing" || h.Failing == "" {
		t.Errorf("health is %+v", h)
	}
	h := decoded[console.Health](a, a.request(http.MethodGet, "/healthz", "", anonymous), 503)
	if want := (console.Health{Status: "failing"}); h != want {
		t.Errorf("anybody learns %+v", h)
	}
}

func TestSecretStaysSecret(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	const value = "s3cr3t-value\nof two lines"
	res := a.request(http.MethodPut, "/api/v1/tenants/acme/secrets/STRIPE_KEY", value)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"tenant":"acme","name":"STRIPE_KEY","known":false,"wanted":false}` + "\n"; res.StatusCode != http.StatusOK || string(body) != want {
		t.Errorf("answers %s %s, want %s", res.Status, body, want)
	}
	if got := a.world.State().Secrets["acme/STRIPE_KEY"]; got != value {
		t.Errorf("the platform got %q", got)
	}
	large := a.request(http.MethodPut, "/api/v1/tenants/acme/secrets/LARGE", strings.Repeat("s3cr3t", 20_000))
	if large.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large value answers %s", large.Status)
	}
	if log := a.log.String(); strings.Contains(log, "s3cr3t") || !strings.Contains(log, "STRIPE_KEY") {
		t.Errorf("the log says:\n%s", log)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	info, err := os.Stat(filepath.Join(a.data, "secrets", "api-token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file is %v, %v", info.Mode(), err)
	}
	b, err := os.ReadFile(filepath.Join(a.data, "api.json"))
	if want := fmt.Sprintf("{\"url\":%q}\n", a.url); err != nil || string(b) != want {
		t.Errorf("api.json is %s, %v; want %s", b, err, want)
	}
	again, err := console.New(console.Config{Ledger: a.world, Addr: "127.0.0.1:0", Data: a.data})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if b, err := os.ReadFile(filepath.Join(a.data, "secrets", "api-token")); err != nil || strings.TrimSpace(string(b)) != a.token {
		t.Errorf("a second start has another token (%v)", err)
	}
	_, err = console.New(console.Config{Addr: strings.TrimPrefix(a.url, "http://"), Data: t.TempDir()})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a port in use is %v", err)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	followed := make(chan struct{})
	a := serve(t, consoletest.State{
		Records: []console.Record{{Name: "acme"}}, Logs: [][]byte{[]byte("one\n"), []byte("two\n")}, LogFollowed: followed,
	})
	res := a.request(http.MethodGet, "/api/v1/tenants/acme/logs", "")
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "one\ntwo\n" {
		t.Errorf("the log is %q, %v", b, err)
	}
	res = a.request(http.MethodGet, "/api/v1/tenants/acme/logs?follow=true", "")
	b := make([]byte, 8)
	if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "one\ntwo\n" {
		t.Fatalf("the stream is %q, %v", b, err)
	}
	<-followed
	a.stop() // ends what streams
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

func TestLogsThatBreakOff(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{Records: []console.Record{{Name: "acme"}}, Logs: [][]byte{[]byte("one\n"), nil}})
	res := a.request(http.MethodGet, "/api/v1/tenants/acme/logs", "")
	if b, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(b) != "one\n" {
		t.Errorf("a log that fails on the way is %q, %v", b, err)
	}
	a.world.Update(func(s *consoletest.State) { s.Logs = [][]byte{nil} })
	r := decoded[fault.Record](a, a.request(http.MethodGet, "/api/v1/tenants/acme/logs", ""), 503)
	if !strings.Contains(r.Message, "rotated away") {
		t.Errorf("a log that fails at once answers %+v", r)
	}
}

func TestSlowClientIsGivenUp(t *testing.T) {
	t.Parallel()
	a := serve(t, consoletest.State{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, _ = io.ReadAll(conn)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("a request that never ends holds a connection for %s", took)
	}
}
