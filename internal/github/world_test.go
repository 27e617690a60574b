package github_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gitopsd/gitopsd/internal/github"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

// world is a GitHub with a repository and a client that speaks with it.
type world struct {
	*githubtest.Server
	forge *github.Client
	log   *logged
}

// logged keeps what was logged, for all goroutines.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start makes a world on the network.
func start(t *testing.T, o githubtest.Options, change ...func(*github.Config)) world {
	t.Helper()
	w := world{Server: githubtest.Start(t, o), log: &logged{}}
	w.forge = w.open(t, append([]func(*github.Config){func(c *github.Config) { c.APIURL = w.URL() }}, change...)...)
	w.commit(t, "main", "tenants/acme.yaml", "one")
	return w
}

// direct makes a world without a network, which lives by a bubble's clock.
func direct(t *testing.T, o githubtest.Options, change ...func(*github.Config)) world {
	t.Helper()
	w := world{Server: githubtest.Make(t, o), log: &logged{}}
	transport := func(c *github.Config) {
		c.APIURL = w.URL()
		c.Transport = githubtest.Direct{Handler: w.Handler()}
	}
	w.forge = w.open(t, append([]func(*github.Config){transport}, change...)...)
	w.commit(t, "main", "tenants/acme.yaml", "one")
	return w
}

// open returns another client of the world's GitHub, as a new process has.
func (w world) open(t *testing.T, change ...func(*github.Config)) *github.Client {
	t.Helper()
	cfg := github.Config{
		Repository: w.Repository(), APIURL: w.URL(), Token: githubtest.Token, Source: "token.txt",
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := github.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w world) commit(t *testing.T, branch, path, content string) string {
	t.Helper()
	sha, err := w.Commit(branch, githubtest.Commit{Files: map[string]string{path: content}})
	if err != nil {
		t.Fatal(err)
	}
	return sha
}

// pull opens a pull request that adds a file on a branch of its own.
func (w world) pull(t *testing.T, branch string) (number int, head string) {
	t.Helper()
	head = w.commit(t, branch, "tenants/"+strings.ReplaceAll(branch, ":", "-")+".yaml", branch)
	return w.opened(t, githubtest.Pull{Branch: branch}), head
}

func (w world) opened(t *testing.T, p githubtest.Pull) int {
	t.Helper()
	n, err := w.OpenPull(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// do fails the test on an error of what happens at GitHub.
func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// notice makes a notice of a body.
func notice(t *testing.T, kind review.NoticeKind, body any) review.Notice {
	t.Helper()
	b, err := json.Marshal(body)
	do(t, err)
	return review.Notice{Key: string(kind) + "/test", Kind: kind, Body: b}
}

// deliver shows a notice, which must work.
func (w world) deliver(t *testing.T, n review.Notice) int64 {
	t.Helper()
	remote, err := w.forge.Deliver(t.Context(), n)
	if err != nil {
		t.Fatalf("deliver %s: %v", n.Key, err)
	}
	return remote
}

// mutations matches what changes something, of an operation that ends so.
func mutations(suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, suffix) }
}

// asked returns how often operations of a method were asked for.
func (w world) asked(method string) int {
	n := 0
	for route, times := range w.Requests() {
		if strings.HasPrefix(route, method+" ") {
			n += times
		}
	}
	return n
}

// appKey is a private key of an App's, made once: that takes a while.
var appKey = sync.OnceValues(func() (*rsa.PrivateKey, []byte) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("make a key: %v", err))
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// asApp has the client act as an App that is installed on the repository.
func asApp() (githubtest.Options, func(*github.Config)) {
	key, encoded := appKey()
	o := githubtest.Options{App: &githubtest.App{
		ID: 4711, Installation: 99, Slug: "gitopsd", Key: &key.PublicKey, Scopes: githubtest.AllScopes(),
	}}
	return o, func(c *github.Config) {
		c.Token, c.Source = "", "app.pem"
		c.App = &github.App{ID: 4711, Key: encoded}
	}
}
