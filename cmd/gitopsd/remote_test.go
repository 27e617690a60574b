package main

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// project is another repository, which has an app, and its server.
type project struct {
	t        *testing.T
	dir      string
	url      string       // https
	requests atomic.Int64 // to the server
}

func newProject(t *testing.T) *project {
	t.Helper()
	p := &project{t: t, dir: filepath.Join(t.TempDir(), "project")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.git("init", "-q", "-b", "main")
	p.commit("before")
	return p
}

func projectEnv() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
}

func (p *project) git(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = p.dir, projectEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit makes cmd/app a program that says the word.
func (p *project) commit(word string) string {
	p.t.Helper()
	for name, content := range map[string]string{
		"go.mod":          "module example.com/project\n\ngo 1.26\n",
		"word/word.go":    "package word\n\nconst Word = \"" + word + "\"\n",
		"cmd/app/main.go": "package main\n\nimport \"example.com/project/word\"\n\nfunc main() { println(word.Word) }\n",
	} {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	p.git("add", "-A")
	p.git("commit", "-q", "-m", word)
	return p.git("rev-parse", "HEAD")
}

// serve offers the project over https with git's own server. This process
// trusts it: the first look at the system's certificates must come after.
func (p *project) serve() {
	p.t.Helper()
	if runtime.GOOS != "linux" {
		p.t.Skip("only on Linux is the environment asked for trusted certificates")
	}
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		p.t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: append(projectEnv(), "GIT_PROJECT_ROOT="+filepath.Dir(p.dir), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		backend.ServeHTTP(w, r)
	}))
	p.t.Cleanup(server.Close)
	trusted := filepath.Join(p.t.TempDir(), "trusted.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(trusted, b, 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.t.Setenv("SSL_CERT_FILE", trusted)
	p.url = server.URL + "/project/.git"
}

func newRemotes(t *testing.T, dir string, allowFiles bool) *remotes {
	t.Helper()
	r := openRemotes(dir, allowFiles, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// deploy builds the app as the pipeline does, and returns what it says.
func deploy(t *testing.T, b *build.Builder, volume string, g tenant.GitSource) string {
	t.Helper()
	in := pipeline.Build{
		Run: "run-1", Commit: strings.Repeat("1", 40), Volume: volume,
		Tenant: &tenant.Tenant{Name: "acme", App: tenant.App{Git: &g, Health: "/healthz"}},
	}
	if _, err := b.Generate(t.Context(), in); err != nil {
		t.Fatalf("Generate: %v", err)
	}
	if _, err := b.Compile(t.Context(), in); err != nil {
		t.Fatalf("Compile: %v: %s", err, fault.RecordOf(err).Detail)
	}
	bundled, err := b.Bundle(t.Context(), in)
	if err != nil {
		t.Fatalf("Bundle: %v", err)
	}
	out, err := exec.Command(filepath.Join(volume, "releases", bundled.Release, "app")).CombinedOutput()
	if err != nil {
		t.Fatalf("run the app: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// An app in another repository is built from the ref that its tenant names,
// over https and by nothing but its URL.
func TestAppFromAnotherRepository(t *testing.T) {
	p := newProject(t)
	p.serve()
	tagged := p.commit("tagged")
	p.git("tag", "-a", "-m", "release", "v1.0.0")
	p.commit("newest")

	m, err := git.Open(t.Context(), git.Config{URL: p.dir, Branch: "main", Dir: filepath.Join(t.TempDir(), "mirror")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := newRemotes(t, dir, false)
	b, err := build.New(build.Config{
		Source: repository{m}, Remote: r.Find, Dir: t.TempDir(), Cache: strings.TrimSpace(string(cache)),
	})
	if err != nil {
		t.Fatal(err)
	}
	volume := t.TempDir()
	source := tenant.GitSource{URL: p.url, Ref: "v1.0.0", Path: "cmd/app"}
	for _, c := range []struct{ ref, want string }{{"v1.0.0", "tagged"}, {"main", "newest"}, {tagged, "tagged"}} {
		source.Ref = c.ref
		if got := deploy(t, b, volume, source); got != c.want {
			t.Errorf("at %s it says %q, want %q", c.ref, got, c.want)
		}
	}
	p.commit("after")
	source.Ref = "main"
	if got := deploy(t, b, volume, source); got != "after" {
		t.Errorf("the branch moved, and it says %q", got)
	}
	before := p.requests.Load()
	source.Ref = tagged
	deploy(t, b, volume, source)
	if n := p.requests.Load() - before; n != 0 {
		t.Errorf("%d requests for a commit that is here", n)
	}

	for ref, want := range map[string]fault.Kind{"v9": fault.NotFound, strings.Repeat("2", 40): fault.NotFound} {
		_, _, err := r.Find(t.Context(), tenant.GitSource{URL: p.url, Ref: ref})
		if !fault.Is(err, want) || fault.RecordOf(err).Hint == "" {
			t.Errorf("at %s: %s %v", ref, fault.KindOf(err), err)
		}
	}
	if _, _, err := r.Find(t.Context(), tenant.GitSource{URL: strings.Replace(p.url, "project", "other", 1), Ref: "main"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("another path: %s %v", fault.KindOf(err), err)
	}
	if _, _, err := r.Find(t.Context(), tenant.GitSource{URL: "https://127.0.0.1:1/x.git", Ref: "main"}); !fault.Is(err, fault.Transient) {
		t.Errorf("unreachable: %s %v", fault.KindOf(err), err)
	}
}

func TestWhatTenantsMayNotName(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	head := p.git("rev-parse", "HEAD")
	for _, c := range []struct {
		url     string
		allowed bool // where files are
	}{
		{"file://" + p.dir, true},
		{p.dir, false},
		{"FILE://" + p.dir, false},
		{"file:" + p.dir, false},
		{"file://localhost" + p.dir, false},
		{"file://.", false},
		{"./project", false},
		{"localhost:" + p.dir, false},
		{"git@localhost:" + p.dir, false},
		{"ssh://git@localhost" + p.dir, false},
		{"http://localhost" + p.dir, false},
		{"git://localhost" + p.dir, false},
		{"https:" + p.dir, false},
		{"https:///" + p.dir, false},
		{"https://:443" + p.dir, false},
		{"https://user:s3cret@localhost" + p.dir, false},
		{"https://s3cret@localhost" + p.dir, false},
		{"https://s3cret%zz@localhost" + p.dir, false},
		{"", false},
	} {
		for _, allow := range []bool{false, true} {
			dir := t.TempDir()
			_, commit, err := newRemotes(t, dir, allow).Find(t.Context(), tenant.GitSource{URL: c.url, Ref: "main"})
			if allow && c.allowed {
				if err != nil || commit != head {
					t.Errorf("%q, allowed: %s, %v", c.url, commit, err)
				}
				continue
			}
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %s %v", c.url, fault.KindOf(err), err)
			} else if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%q is shown: %v", c.url, err)
			} else if strings.HasPrefix(c.url, "ssh:") && !strings.Contains(err.Error(), "SSH") {
				t.Errorf("%q: the user that SSH needs is no credential: %v", c.url, err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%q was opened: %v", c.url, left)
			}
		}
	}
}

// Who asks while a fetch is under way gets the next one, and all of them one.
func TestBuildsShareAFetch(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := newRemotes(t, t.TempDir(), true)
	source := tenant.GitSource{URL: "file://" + p.dir, Ref: "main"}
	a, first, err := r.fetch(source)
	if err != nil {
		t.Fatal(err)
	}
	<-first.done
	a.turn.Lock() // as a fetch under way does
	_, next, err := r.fetch(source)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if same, f, err := r.fetch(source); err != nil || same != a || next != f {
			t.Fatalf("a fetch of its own: %v, %v", f, err)
		}
	}
	if _, other, err := r.fetch(tenant.GitSource{URL: source.URL, Ref: "refs/heads/main"}); err != nil || other == next {
		t.Errorf("another ref has the same fetch: %v", err)
	}
	head := p.commit("pushed meanwhile")
	a.turn.Unlock()
	if <-next.done; next.err != nil || next.commit != head {
		t.Errorf("fetched %s, %v; want %s", next.commit, next.err, head)
	}

	var wg gosync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, commit, err := r.Find(t.Context(), source); err != nil || commit != head {
				t.Errorf("Find: %s, %v", commit, err)
			}
		})
	}
	wg.Wait()
}

func TestMirrorsOfAppsAreKeptWhileUsed(t *testing.T) {
	t.Parallel()
	p, dir := newProject(t), t.TempDir()
	kept := tenant.GitSource{URL: "file://" + p.dir, Ref: "main"}
	unused := tenant.GitSource{URL: "file://" + p.dir, Ref: "refs/heads/main"}
	failed := tenant.GitSource{URL: "file://" + p.dir + "/none", Ref: "main"}
	r := openRemotes(dir, true, slog.New(slog.DiscardHandler))
	find := func(g tenant.GitSource) error {
		_, _, err := r.Find(t.Context(), g)
		return err
	}
	if err := find(kept); err != nil {
		t.Fatal(err)
	}
	if err := find(unused); err != nil {
		t.Fatal(err)
	}
	if err := find(failed); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a path without repository: %v", err)
	}
	old := time.Now().Add(-appUnused - time.Hour)
	for _, path := range []string{r.path(kept), r.path(unused), r.path(failed) + ".lock"} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := find(kept); err != nil { // nothing new, and used all the same
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := find(kept); !fault.Is(err, fault.Transient) {
		t.Errorf("after Close: %v", err)
	}
	newRemotes(t, dir, true)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if !strings.HasPrefix(path, r.path(kept)) {
			t.Errorf("left: %s", path)
		}
	}
	if len(left) == 0 {
		t.Error("the mirror in use is gone")
	}
}

func TestFileSourcesAreConfigured(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gitopsd.yaml")
	for text, want := range map[string]bool{"repo: .\n": false, "allowFileSources: true\n": true} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(path)
		if err != nil || c.AllowFileSources != want {
			t.Errorf("%q: %v, %v", text, c.AllowFileSources, err)
		}
	}
}
