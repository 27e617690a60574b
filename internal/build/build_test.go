package build_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// warmDir is the build directory that most tests share, for its build cache.
var (
	warmDir  string
	warmOnce sync.Once
)

func warm(t testing.TB) string {
	t.Helper()
	warmOnce.Do(func() {
		dir, err := os.MkdirTemp("", "gitopsd-build-")
		if err != nil {
			t.Fatal(err)
		}
		warmDir = dir
		// The user's own build cache has the standard library and the modules
		// compiled with these flags, from the last time these tests ran.
		cache, err := exec.Command("go", "env", "GOCACHE").Output()
		if err == nil {
			err = os.Symlink(strings.TrimSpace(string(cache)), filepath.Join(dir, "cache"))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	return warmDir
}

func newBuilder(t testing.TB, src build.Source, dir string) *build.Builder {
	t.Helper()
	b, err := build.New(build.Config{Source: src, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pathApp returns a build of the app at path, with a volume of its own.
func pathApp(t testing.TB, name, path, commit string) pipeline.Build {
	t.Helper()
	return pipeline.Build{
		Run: "run-1", Commit: commit, Volume: t.TempDir(),
		Tenant: &tenant.Tenant{Name: name, App: tenant.App{Path: path, Health: "/healthz"}},
	}
}

// makeRelease runs all the steps that make a release.
func makeRelease(t testing.TB, b *build.Builder, in pipeline.Build) (pipeline.Generated, string) {
	t.Helper()
	g, err := b.Generate(t.Context(), in)
	if err != nil {
		t.Fatalf("Generate: %v\n%s", err, detail(err))
	}
	if g.Release != "" {
		return g, g.Release
	}
	c, err := b.Compile(t.Context(), in)
	if err != nil {
		t.Fatalf("Compile: %v\n%s", err, detail(err))
	}
	out, err := b.Bundle(t.Context(), in)
	if err != nil {
		t.Fatalf("Bundle: %v\n%s", err, detail(err))
	}
	m, err := release.Open(in.Volume).Manifest(out.Release)
	if err != nil {
		t.Fatal(err)
	}
	if m.Binary.SHA256 != c.SHA256 || m.Binary.Size != c.Size || m.Build != g.Key {
		t.Errorf("manifest %+v does not fit %+v, %+v", m, c, g)
	}
	return g, out.Release
}

func detail(err error) string {
	if r := fault.RecordOf(err); r != nil {
		return r.Hint + "\n" + r.Detail
	}
	return ""
}

// hello is a program that prints a word.
func hello(word string) string {
	return "package main\n\nfunc main() { println(\"" + word + "\") }\n"
}

// says runs a release's binary.
func says(t testing.TB, volume, digest string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(volume, "releases", digest, "app")).CombinedOutput()
	if err != nil {
		t.Fatalf("run release: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestPathAppBecomesARelease(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	first := repo.commit(map[string]string{
		"apps/a/go.mod": "module a\n\ngo 1.26\n", "apps/a/main.go": hello("one"),
		"apps/a/static/css/site.css": "body{}", "apps/a/migrations/001_x.sql": "-- +goose Up\nSELECT 1;\n",
		"apps/a/migrations/README.md": "about",
	})
	b := newBuilder(t, repo, warm(t))
	in := pathApp(t, "a", "apps/a", first)
	in.Tenant.App.Env = map[string]string{"GREETING": "hello"}
	in.Tenant.App.Secrets = []string{"B", "A"}
	_, one := makeRelease(t, b, in)
	if got := says(t, in.Volume, one); got != "one" {
		t.Errorf("the release says %q", got)
	}
	m, err := release.Open(in.Volume).Manifest(one)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range append(m.Static, m.Migrations...) {
		files = append(files, f.Path)
	}
	if diff := cmp.Diff([]string{"css/site.css", "001_x.sql"}, files); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"A", "B"}, m.Secrets); diff != "" || m.Env["GREETING"] != "hello" || m.Health != "/healthz" {
		t.Errorf("manifest %+v", m)
	}

	in.Commit = repo.commit(map[string]string{"apps/a/main.go": hello("two"), "apps/a/static/css/site.css": ""})
	_, two := makeRelease(t, b, in)
	if got := says(t, in.Volume, two); got != "two" || one == two {
		t.Errorf("the second release says %q", got)
	}
	// A revert finds the first release without building.
	in.Commit = repo.commit(map[string]string{"apps/a/main.go": hello("one"), "apps/a/static/css/site.css": "body{}"})
	g, err := b.Generate(t.Context(), in)
	if err != nil || g.Release != one {
		t.Errorf("after a revert: %+v, %v; want release %s", g, err, one)
	}
	// What an app gets is part of its release, but not of its executable.
	in.Tenant.App.Env = map[string]string{"GREETING": "bye"}
	if g, err := b.Generate(t.Context(), in); err != nil || g.Release != "" {
		t.Errorf("after a changed environment: %+v, %v; want a new release", g, err)
	}
	_, three := makeRelease(t, b, in)
	if got := says(t, in.Volume, three); got != "one" || three == one {
		t.Errorf("the third release says %q", got)
	}
}

// Every step may come first: after a crash, on another machine, without the
// files of those before it.
func TestEveryStepStandsAlone(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	commit := repo.commit(map[string]string{"go.mod": "module a\n\ngo 1.26\n", "main.go": hello("x")})
	in := pathApp(t, "alone", ".", commit)
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(warm(t), "cache"), filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	newBuilder(t, repo, warm(t)) // makes the cache directory
	bundled, err := newBuilder(t, repo, dir).Bundle(t.Context(), in)
	if err != nil {
		t.Fatalf("Bundle first: %v\n%s", err, detail(err))
	}
	again, err := newBuilder(t, repo, dir).Bundle(t.Context(), in)
	if err != nil || again != bundled {
		t.Errorf("Bundle again: %+v, %v; want %+v", again, err, bundled)
	}
	// An executable that was half-written when the power went is not taken.
	files, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("executables %v, %v; want one", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	in.Volume = t.TempDir()
	bundled, err = newBuilder(t, repo, dir).Bundle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, in.Volume, bundled.Release); got != "x" {
		t.Errorf("after a damaged executable: %q", got)
	}
}

func TestPackageOfTheRootModule(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	files := map[string]string{
		"go.mod": "module example.com/r\n\ngo 1.26\n", "secret/unrelated.go": "package secret; not Go",
		"apps/a/main.go":     "package main\n\nimport \"example.com/r/lib\"\n\nfunc main() { println(lib.Word()) }\n",
		"lib/lib.go":         "package lib\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/r/deep/er\"\n)\n\n//go:embed data/word.txt\nvar word string\n\nfunc Word() string { return word + er.X }\n",
		"lib/data/word.txt":  "word",
		"deep/er/er.go":      "package er\n\nconst X = \"!\"\n",
		"deep/er/er_test.go": "package er\n\nimport _ \"example.com/r/secret\"\n",
	}
	commit := repo.commit(files)
	paths, err := build.Sources(repo.FS(commit), "apps/a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apps/a", "deep/er", "go.mod", "lib"}, paths); diff != "" {
		t.Error(diff)
	}
	b := newBuilder(t, repo, warm(t))
	in := pathApp(t, "root", "apps/a", commit)
	_, one := makeRelease(t, b, in)
	if got := says(t, in.Volume, one); got != "word!" {
		t.Errorf("says %q", got)
	}
	// What is not imported any more is gone, and what nobody imports is no change.
	in.Commit = repo.commit(map[string]string{"secret/unrelated.go": "still not Go"})
	if g, err := b.Generate(t.Context(), in); err != nil || g.Release != one {
		t.Errorf("after an unrelated change: %+v, %v", g, err)
	}
	in.Commit = repo.commit(map[string]string{"lib/lib.go": "package lib\n\nfunc Word() string { return \"plain\" }\n"})
	_, two := makeRelease(t, b, in)
	if got := says(t, in.Volume, two); got != "plain" {
		t.Errorf("says %q", got)
	}
	if _, err := os.Stat(filepath.Join(warm(t), "work", "root", "src", "deep")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a package that is no longer imported is still there: %v", err)
	}
}

func TestLocalReplace(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	commit := repo.commit(map[string]string{
		"apps/a/go.mod":  "module a\n\ngo 1.26\n\nrequire example.com/lib v0.0.0\n\nreplace example.com/lib => ../../lib\n",
		"apps/a/main.go": "package main\n\nimport \"example.com/lib\"\n\nfunc main() { println(lib.Word) }\n",
		"lib/go.mod":     "module example.com/lib\n\ngo 1.26\n", "lib/lib.go": "package lib\n\nconst Word = \"replaced\"\n",
	})
	in := pathApp(t, "replace", "apps/a", commit)
	b := newBuilder(t, repo, warm(t))
	_, one := makeRelease(t, b, in)
	if got := says(t, in.Volume, one); got != "replaced" {
		t.Errorf("says %q", got)
	}
	sources := func(commit string) ([]string, string) {
		t.Helper()
		paths, err := build.Sources(repo.FS(commit), "apps/a")
		if err != nil {
			t.Fatal(err)
		}
		digest, err := build.SourceDigest(repo, commit, paths)
		if err != nil {
			t.Fatal(err)
		}
		return paths, digest
	}
	_, before := sources(commit)
	paths, after := sources(repo.commit(map[string]string{"lib/lib.go": "package lib\n\nconst Word = \"x\"\n"}))
	if before == after {
		t.Error("a change of a replaced module is no change of the app")
	}
	if diff := cmp.Diff([]string{"apps/a", "lib"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	const mod = "module a\n\ngo 1.26\n"
	long := strings.Repeat("\tx := nope\n", 9)
	for _, c := range []struct {
		name   string
		files  map[string]string
		path   string
		kind   fault.Kind
		want   string // in the message
		detail string // in the detail
	}{
		{"not there", map[string]string{"x": "x"}, "apps/none", fault.NotFound, "no directory apps/none", ""},
		{"a file", map[string]string{"apps/a": "x"}, "apps/a", fault.Invalid, "not a directory", ""},
		{"outside", map[string]string{"x": "x"}, "../x", fault.Invalid, "not a clean path", ""},
		{"no module", map[string]string{"a/main.go": hello("x")}, "a", fault.Invalid, "in no Go module", ""},
		{"bad go.mod", map[string]string{"a/go.mod": "modul a\n"}, "a", fault.Invalid, "a/go.mod is not right", "a/go.mod:1: unknown directive: modul"},
		{"huge go.mod", map[string]string{"a/go.mod": "module a\n// " + strings.Repeat("x", 300<<10)}, "a", fault.Invalid, "larger than 256 KiB", ""},
		{"replace up", map[string]string{"a/go.mod": mod + "replace x => ../../x\n", "a/main.go": hello("x")}, "a", fault.Invalid, "a/go.mod:4: replace x => ../../x leads out", ""},
		{"replace absolute", map[string]string{"a/go.mod": mod + "replace x => /etc\n", "a/main.go": hello("x")}, "a", fault.Invalid, "leads out", ""},
		{"cgo", map[string]string{"a/go.mod": mod, "a/main.go": "package main\n\nimport \"C\"\n\nfunc main() {}\n"}, "a", fault.Invalid, `main.go: import "C": not supported`, ""},
		{"assembly", map[string]string{"a/go.mod": mod, "a/main.go": hello("x"), "a/x.s": "#include \"/etc/passwd\"\n"}, "a", fault.Invalid, "x.s: assembly", ""},
		{"no main", map[string]string{"a/go.mod": mod, "a/lib.go": "package lib\n"}, "a", fault.Invalid, "is package lib, not package main", ""},
		{"no Go", map[string]string{"a/go.mod": mod}, "a", fault.Invalid, "a has no Go files", ""},
		{"syntax", map[string]string{"a/go.mod": mod, "a/main.go": "package main\n\nfunc main() {\n"}, "a", fault.Invalid, "does not compile", "main.go:4:1: syntax error"},
		{"types", map[string]string{"a/go.mod": mod, "a/main.go": "package main\n\nfunc main() {\n" + long + "}\n"}, "a", fault.Invalid, "does not compile", "main.go:4:7: undefined: nope"},
		{"deep", map[string]string{"a/go.mod": mod, "a/main.go": "package main\n\nimport _ \"a/sub\"\n\nfunc main() {}\n", "a/sub/sub.go": "package sub\n\nvar X = nope\n"}, "a", fault.Invalid, "does not compile", "sub/sub.go:3:9: undefined: nope"},
		{"go too new", map[string]string{"a/go.mod": "module a\n\ngo 1.99\n", "a/main.go": hello("x")}, "a", fault.Invalid, "does not compile", "1.99"},
		{"no go.sum", map[string]string{"a/go.mod": mod + "require github.com/jackc/pgx/v5 v5.12.0\n", "a/main.go": "package main\n\nimport _ \"github.com/jackc/pgx/v5\"\n\nfunc main() {}\n"}, "a", fault.Invalid, "does not compile", "missing go.sum entry"},
		{"environment in SQL", map[string]string{"a/go.mod": mod, "a/main.go": hello("x"), "a/migrations/1_x.sql": "-- +goose Up\n-- EN+gooseVSUB ON\nSELECT '${HOME}';\n"}, "a", fault.Invalid, "migrations/1_x.sql:2: +goose ENVSUB ON is not supported", ""},
		{"migration's name", map[string]string{"a/go.mod": mod, "a/main.go": hello("x"), "a/migrations/x.sql": "-- +goose Up\n"}, "a", fault.Invalid, "migrations/x.sql: a migration's name", ""},
		{"migrations' numbers", map[string]string{"a/go.mod": mod, "a/main.go": hello("x"), "a/migrations/1_x.sql": "-- +goose Up\n", "a/migrations/001_y.sql": "-- +goose Up\n"}, "a", fault.Invalid, "have the same number", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			repo := newRepository(t)
			b := newBuilder(t, repo, warm(t))
			in := pathApp(t, "refused-"+strings.ReplaceAll(c.name, " ", "-"), c.path, repo.commit(c.files))
			_, err := b.Bundle(t.Context(), in)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.Contains(detail(err), c.detail) {
				t.Errorf("got %s: %v\n%s\nwant %s: …%s…\n…%s…", fault.KindOf(err), err, detail(err), c.kind, c.want, c.detail)
			}
			if strings.Contains(detail(err), warmDir) || (err != nil && strings.Contains(err.Error(), warmDir)) {
				t.Errorf("a path of this machine is shown: %v\n%s", err, detail(err))
			}
			if n := strings.Count(detail(err), "\n"); n > 70 {
				t.Errorf("the detail has %d lines", n)
			}
		})
	}
}

func TestSymlinkIsRefused(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	repo.commit(map[string]string{"a/go.mod": "module a\n\ngo 1.26\n", "a/main.go": hello("x")})
	if err := os.Symlink("/etc/passwd", filepath.Join(repo.dir, "a", "static")); err != nil {
		t.Fatal(err)
	}
	b := newBuilder(t, repo, warm(t))
	_, err := b.Generate(t.Context(), pathApp(t, "symlink", "a", repo.commit(nil)))
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "static is a symbolic link") {
		t.Errorf("got %v", err)
	}
}

func TestGitAppNeedsRemote(t *testing.T) {
	t.Parallel()
	other := newRepository(t)
	commit := other.commit(map[string]string{"go.mod": "module a\n\ngo 1.26\n", "main.go": hello("remote")})
	in := pathApp(t, "remote", "", "")
	in.Tenant.App.Git = &tenant.GitSource{URL: "https://example.invalid/x.git", Ref: "main"}
	b := newBuilder(t, newRepository(t), warm(t))
	if _, err := b.Generate(t.Context(), in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not enabled") {
		t.Errorf("without Remote: %v", err)
	}
	b, err := build.New(build.Config{Source: newRepository(t), Dir: warm(t), Remote: func(_ context.Context, g tenant.GitSource) (build.Source, string, error) {
		if g != *in.Tenant.App.Git {
			t.Errorf("asked for %+v", g)
		}
		return other, commit, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, one := makeRelease(t, b, in)
	if got := says(t, in.Volume, one); got != "remote" {
		t.Errorf("says %q", got)
	}
}

// When its time is over, the compiler goes with all it started.
func TestCompileIsStopped(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	commit := repo.commit(map[string]string{"go.mod": "module a\n\ngo 1.26\n", "main.go": "package main\n\nimport _ \"net/http\"\n\nfunc main() {}\n"})
	b := newBuilder(t, repo, t.TempDir()) // a cold cache: this takes long
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := b.Compile(ctx, pathApp(t, "slow", ".", commit))
	if !fault.Is(err, fault.Stalled) {
		t.Errorf("got %s: %v", fault.KindOf(err), err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// Tenants build at the same time, and one tenant's builds one after another.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	repo := newRepository(t)
	files := map[string]string{}
	for _, n := range []string{"p", "q", "r"} {
		files[n+"/go.mod"], files[n+"/main.go"] = "module a\n\ngo 1.26\n", hello(n)
	}
	commit := repo.commit(files)
	b, other := newBuilder(t, repo, warm(t)), newBuilder(t, repo, warm(t))
	var wg sync.WaitGroup
	for _, n := range []string{"p", "q", "r"} {
		in := pathApp(t, "many-"+n, n, commit)
		for i := range 4 {
			wg.Go(func() {
				builder := b
				if i%2 == 1 {
					builder = other // as another process would
				}
				out, err := builder.Bundle(context.Background(), in)
				if err != nil {
					t.Errorf("%s: %v\n%s", n, err, detail(err))
					return
				}
				if got := says(t, in.Volume, out.Release); got != n {
					t.Errorf("%s says %q", n, got)
				}
			})
		}
	}
	wg.Wait()
}

// Tenants run as users of their own on the same machine.
func TestOthersCannotReadSources(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "build")
	newBuilder(t, newRepository(t), dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the build directory has mode %v, %v", info.Mode(), err)
	}
}
