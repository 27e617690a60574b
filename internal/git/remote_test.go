package git_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
)

const token = "ghp_s3cr3t/+token"

// serve offers the source over smart HTTP, with git's own server; a password
// is asked for if there is one.
func (s *source) serve(password string) (url string, requests *atomic.Int64) {
	s.t.Helper()
	return s.serveTo(func(got string) bool { return password == "" || got == password })
}

// serveTo is serve with a say in which passwords are good.
func (s *source) serveTo(good func(password string) bool) (url string, requests *atomic.Int64) {
	s.t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		s.t.Skip("git http-backend is not installed")
	}
	handler := &cgi.Handler{
		Path: backend,
		Env: append(environment(), "GIT_PROJECT_ROOT="+filepath.Dir(s.dir), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
		Logger: nil,
	}
	requests = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, got, _ := r.BasicAuth(); !good(got) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no "+got, http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(s.dir) + "/.git", requests
}

func TestFetchOverHTTP(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	for i := range 20 {
		s.write(fmt.Sprintf("tenants/t%d.yaml", i), fmt.Sprint(i))
	}
	s.commit("a", "zero")
	first := s.commit("a", "one")
	url, requests := s.serve("")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, git.Config{URL: url, Dir: dir})
	fetched(t, m, first)
	sound(t, dir)
	before := requests.Load()
	fetched(t, m, first)
	if n := requests.Load() - before; n != 1 {
		t.Errorf("%d requests for no change", n)
	}
	second := s.commit("a", "two", "deep/er/b", "b")
	fetched(t, m, second)
	content(t, m, second, "a", "two")
	content(t, m, second, "deep/er/b", "b")
	content(t, m, first, "a", "one")
	sound(t, dir)
	if packs, _ := filepath.Glob(filepath.Join(dir, "objects/pack/*.pack")); len(packs) != 1 {
		t.Errorf("a small fetch made a pack of its own: %v", packs)
	}

	s.git("reset", "-q", "--hard", first)
	third := s.commit("a", "three")
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now")
	fetched(t, m, third)
	content(t, m, second, "a", "two")
	content(t, m, third, "a", "three")
	s.git("reset", "-q", "--hard", first)
	fetched(t, m, first)
	sound(t, dir)

	s.git("checkout", "-q", "-b", "other")
	s.git("branch", "-q", "-D", "main")
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.RecordOf(err).Hint, "other") {
		t.Errorf("deleted branch: %v", err)
	}
}

func TestHTTPErrors(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	url, _ := s.serve("")
	if _, err := open(t, git.Config{URL: url}).Fetch(t.Context()); !fault.Is(err, fault.NotFound) ||
		!strings.Contains(fault.RecordOf(err).Hint, "commit something") {
		t.Errorf("empty repository: %v", err)
	}
	if _, err := open(t, git.Config{URL: strings.Replace(url, "/src/", "/none/", 1)}).Fetch(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing repository: %v", err)
	}
	head := s.commit("a", "one")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "down", http.StatusBadGateway)
	}))
	defer broken.Close()
	if _, err := open(t, git.Config{URL: broken.URL + "/x"}).Fetch(t.Context()); !fault.Is(err, fault.Transient) {
		t.Errorf("bad gateway: %v", err)
	}
	stuck := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stuck:
		}
	}))
	defer slow.Close()
	defer close(stuck)
	m := open(t, git.Config{URL: slow.URL + "/x"})
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	if _, err := m.Fetch(ctx); !fault.Is(err, fault.Transient) {
		t.Errorf("server that hangs: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "mirror")
	fetched(t, open(t, git.Config{URL: url, Dir: dir}), head)
	writeFile(t, filepath.Join(dir, "HEAD"), "")
	fetched(t, open(t, git.Config{URL: url, Dir: dir}), head)
	sound(t, dir)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	url, _ := s.serve(token)
	withUser := func(userinfo string) string { return strings.Replace(url, "http://", "http://"+userinfo+"@", 1) }
	fetched(t, open(t, git.Config{URL: url, Token: token}), head)
	fetched(t, open(t, git.Config{URL: withUser("me:ghp_s3cr3t%2F%2Btoken")}), head)

	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, cfg := range []git.Config{
		{URL: url, Token: "ghp_wrong"},
		{URL: withUser("me:ghp_wrong")},
		{URL: withUser("ghp_wrong")},
		{URL: strings.Replace(withUser("me:ghp_wrong"), "127.0.0.1", "127.0.0.1:1/", 1)},
		{URL: "https://me:ghp_wrong@127.0.0.1:1/x"},
	} {
		cfg.Logger = logger
		m := open(t, cfg)
		_, err := m.Fetch(t.Context())
		if err == nil {
			t.Fatalf("a wrong token was accepted for %s", cfg.URL)
		}
		r := fault.RecordOf(err)
		for _, text := range []string{fmt.Sprintf("%+v", err), r.Message, r.Hint, r.Detail, m.Repository(), log.String()} {
			if strings.Contains(text, "ghp_") {
				t.Errorf("%s shows the token", text)
			}
		}
	}
	_, err := open(t, git.Config{URL: url, Token: "ghp_wrong"}).Fetch(t.Context())
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.RecordOf(err).Hint, "token") {
		t.Errorf("wrong token: %v", err)
	}
	_, err = git.Open(t.Context(), git.Config{URL: "http://git.example.com/x", Token: "ghp_x", Branch: "main", Dir: t.TempDir()})
	if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "ghp_") {
		t.Errorf("token over plain http: %v", err)
	}
}

// A redirect counts for one exchange: the next one begins where the caller
// said, and what it leads to is never given the token.
func TestRedirect(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	target, requests := s.serve("")
	var given atomic.Int64
	behind, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: behind.Scheme, Host: behind.Host})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			given.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer elsewhere.Close()
	var asked atomic.Int64
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	defer first.Close()
	m := open(t, git.Config{URL: first.URL + behind.Path, Token: token})
	fetched(t, m, head)
	fetched(t, m, s.commit("a", "two"))
	if asked.Load() != 2 || requests.Load() == 0 || given.Load() != 0 {
		t.Errorf("%d questions where the caller said; the token given away %d times", asked.Load(), given.Load())
	}

	file := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "file://"+s.dir+"/.git/info/refs")
		w.WriteHeader(http.StatusFound)
	}))
	defer file.Close()
	if _, err := open(t, git.Config{URL: file.URL + "/x.git"}).Fetch(t.Context()); err == nil {
		t.Error("redirected to a file")
	}
}

func TestDownloadIsBounded(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	noise := make([]byte, 100_000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223 // does not compress
		noise[i] = byte(x >> 24)
	}
	head := s.commit("a", string(noise))
	at, _ := s.serve("")
	m := open(t, git.Config{URL: at, MaxDownload: 50_000})
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "50000 bytes") {
		t.Errorf("more than is allowed: %v", err)
	}
	fetched(t, open(t, git.Config{URL: at, MaxDownload: 200_000}), head)
}

func TestPrivateRepositoryWithoutCredentials(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.commit("a", "one")
	at, _ := s.serve(token)
	_, err := open(t, git.Config{URL: at}).Fetch(t.Context())
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("without a token: %v", err)
	}
}

// A token that expires is asked for before each exchange, and shown in no error.
func TestTokenSource(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	head := s.commit("a", "one")
	var valid atomic.Value
	valid.Store("ghs_1")
	at, _ := s.serveTo(func(password string) bool { return password == valid.Load() })
	issued, fail := 0, error(nil)
	m := open(t, git.Config{URL: at, TokenSource: func(context.Context) (string, error) {
		issued++
		return fmt.Sprintf("ghs_%d", issued), fail
	}})
	fetched(t, m, head)
	valid.Store("ghs_2")
	pulled := s.pull(1, head, "a", "two")
	obtain(t, m, 1, pulled)
	if err := m.Obtain(t.Context(), pullRef(1), pulled); err != nil || issued != 2 {
		t.Errorf("%d tokens for two exchanges: %v", issued, err)
	}
	_, err := m.Fetch(t.Context()) // the server refuses the third, and repeats it
	if r := fault.RecordOf(err); !fault.Is(err, fault.Invalid) || strings.Contains(r.Message+r.Hint+r.Detail, "ghs_") {
		t.Errorf("an expired token: %+v", r)
	}
	fail = errors.New("no answer from the forge")
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.Transient) || !errors.Is(err, fail) {
		t.Errorf("without a token: %v", err)
	}
	fail = fault.Errorf(fault.Invalid, "the app is not installed").WithHint("install it")
	if _, err := m.Fetch(t.Context()); !fault.Is(err, fault.Invalid) || fault.RecordOf(err).Hint != "install it" {
		t.Errorf("without a token: %v", err)
	}
	source := func(context.Context) (string, error) { return "ghs_x", nil }
	for _, cfg := range []git.Config{{URL: "http://git.example.com/x", TokenSource: source}, {URL: at, Token: "t", TokenSource: source}} {
		cfg.Branch, cfg.Dir = "main", t.TempDir()
		if _, err := git.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", cfg.URL, err)
		}
	}
}

// One pull request that is too large does not keep the others away.
func TestObtainIsBounded(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	base := s.commit("a", "one", "large", string(noise)) // the branch itself may be
	at, _ := s.serve("")
	m := open(t, git.Config{URL: at, MaxObtained: 50_000})
	fetched(t, m, base)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	var wanted []git.Wanted
	for i := range 5 {
		text := fmt.Sprint(i)
		if i == 2 {
			text = string(noise)
		}
		wanted = append(wanted, git.Wanted{Ref: pullRef(i), SHA: s.pull(i, base, "a", text)})
	}
	failed, err := m.ObtainAll(t.Context(), wanted)
	if err != nil || len(failed) != 1 || !fault.Is(failed[wanted[2].SHA], fault.Invalid) {
		t.Errorf("%v, %v", failed, err)
	}
	content(t, m, wanted[4].SHA, "a", "4")
}
