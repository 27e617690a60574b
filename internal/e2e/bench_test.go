package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// median of durations, in milliseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}

// From the commit to the first answer of the new version, beside a bare
// `go build` of the same change with a warm cache.
func BenchmarkCommitToServed(b *testing.B) {
	for _, kind := range []string{"path", "design"} {
		b.Run(kind, func(b *testing.B) {
			w := newWorld(b)
			app := newBenchApp(w, kind)
			commit := w.commit("Add app")
			w.start()
			w.done(commit)
			var served, built []time.Duration
			for i := -2; b.Loop(); i++ { // the first two warm every cache
				version := fmt.Sprintf("edit %d", time.Now().UnixNano()) // never built before, by any cache
				app.edit(version)
				w.git("add", "-A")
				begin := time.Now()
				w.git("commit", "-q", "-m", version)
				full := app.serves(begin, version)
				w.done(w.git("rev-parse", "HEAD"))
				bare := app.build()
				if i >= 0 {
					served, built = append(served, full), append(built, bare)
				}
			}
			if len(served) == 0 {
				b.Skip("only warmed up: use -benchtime 10x")
			}
			s, g := median(served), median(built)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(s, "ms/commit→served")
			b.ReportMetric(g, "ms/go-build")
			b.ReportMetric(s/g, "ratio")
		})
	}
}

// benchApp is one app that can be edited, built and asked.
type benchApp struct {
	w     *world
	kind  string
	cache string
	src   string // what `go build` builds
}

func newBenchApp(w *world, kind string) *benchApp {
	a := &benchApp{w: w, kind: kind, cache: filepath.Join(w.data, "..", "bare-cache")}
	if kind == "path" {
		w.probe("apps/bench")
		w.tenant("bench", "apps/bench")
		a.src = filepath.Join(w.repo, "apps/bench")
		return a
	}
	a.edit("start")
	return a
}

func (a *benchApp) edit(version string) {
	if a.kind == "path" {
		a.w.version("apps/bench", version)
		return
	}
	a.w.write("tenants/bench.yaml", `apiVersion: gitopsd.dev/v1
kind: Tenant
metadata:
  name: bench
spec:
  app:
    design:
      title: `+version+`
      models:
        - name: task
          fields:
            - {name: title, type: string, required: true}
            - {name: done, type: bool}
  deletion: {grace: 0s}
`)
}

// build measures a bare build of the change, with flags like the builder's and a
// warm cache of its own. A design has no source but what the builder generated.
func (a *benchApp) build() time.Duration {
	t := a.w.t
	if a.kind == "design" {
		a.src = filepath.Join(a.w.data, "..", "bare-src")
		_ = os.RemoveAll(a.src)
		a.w.must(os.CopyFS(a.src, os.DirFS(filepath.Join(a.w.data, "build/work/bench/src"))))
	}
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(a.w.data, "..", "bare"), ".")
	c.Dir = a.src
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+a.cache, "GOWORK=off", "GOFLAGS=-mod=readonly", "GOPROXY=off")
	begin := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return time.Since(begin)
}

// serves asks until the version answers and returns the time since begin.
func (a *benchApp) serves(begin time.Time, version string) time.Duration {
	path := "/version"
	if a.kind == "design" {
		path = "/"
	}
	for deadline := begin.Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if r, text, err := a.w.request(http.MethodGet, "bench", path, ""); err == nil && r.StatusCode == 200 && strings.Contains(text, version) {
			return time.Since(begin)
		}
	}
	a.w.t.Fatalf("%s is not served", version)
	return 0
}

// From the fetch to the plan for one changed file among many, beside `git
// fetch` and `git diff-tree` of the same commit.
func BenchmarkFetchToPlan(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("tenants=%d", n), func(b *testing.B) {
			f := newFleet(b, n)
			ctx := context.Background()
			from := f.fetch(b)
			applied := f.applied(b, from)
			index := sync.NewIndex("localhost", applied)
			clone := filepath.Join(b.TempDir(), "clone.git")
			f.world.must(exec.Command("git", "clone", "-q", "--bare", f.world.repo, clone).Run())
			var ours, theirs []time.Duration
			for i := 0; b.Loop(); i++ {
				f.world.write(fmt.Sprintf("tenants/t%05d.yaml", i%n), fleetFile(i%n, fmt.Sprintf("edit %d", i)))
				f.world.commit("edit")
				begin := time.Now()
				head := f.fetch(b)
				p, err := f.planner.Plan(ctx, from, head, index, func(names []string) (map[string]plan.Applied, error) {
					found := map[string]plan.Applied{}
					for _, name := range names {
						found[name] = applied[name]
					}
					return found, nil
				})
				ours = append(ours, time.Since(begin))
				if err != nil || len(p.Steps) != 1 || p.Steps[0].Operation != plan.Deploy {
					b.Fatalf("plan %+v, error %v", p, err)
				}
				begin = time.Now()
				f.git(b, clone, "fetch", "-q", "origin", "+main:main")
				f.git(b, clone, "diff-tree", "-r", "--name-only", from, head, "--", "tenants")
				theirs = append(theirs, time.Since(begin))
				from = head
			}
			o, g := median(ours), median(theirs)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(o, "ms/fetch→plan")
			b.ReportMetric(g, "ms/git-fetch+diff-tree")
			b.ReportMetric(o/g, "ratio")
		})
	}
}

// fleet is a repository with many tenants, and what plans them.
type fleet struct {
	world   *world
	mirror  *git.Mirror
	planner sync.Planner
	names   []string
}

func fleetFile(i int, greeting string) string {
	return fmt.Sprintf(`apiVersion: gitopsd.dev/v1
kind: Tenant
metadata:
  name: t%05d
spec:
  app:
    design: {models: [{name: task, fields: [{name: title, type: string}]}]}
    env: {GREETING: %q}
`, i, greeting)
}

func newFleet(b *testing.B, n int) *fleet {
	w := newWorld(b)
	f := &fleet{world: w}
	for i := range n {
		w.write(fmt.Sprintf("tenants/t%05d.yaml", i), fleetFile(i, "hello"))
		f.names = append(f.names, fmt.Sprintf("t%05d", i))
	}
	w.commit("Add the fleet")
	mirror, err := git.Open(context.Background(), git.Config{URL: w.repo, Branch: "main", Dir: filepath.Join(b.TempDir(), "mirror.git")})
	w.must(err)
	b.Cleanup(func() { _ = mirror.Close() })
	f.mirror = mirror
	f.planner = sync.Planner{Tree: tree{mirror}, Apps: designs{}, Dir: "tenants", Domain: "localhost", Brake: plan.DefaultBrake}
	return f
}

func (f *fleet) fetch(b *testing.B) string {
	b.Helper()
	head, err := f.mirror.Fetch(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return head
}

// applied returns the ledger's view of a fleet that is all made real.
func (f *fleet) applied(b *testing.B, commit string) map[string]plan.Applied {
	b.Helper()
	set, err := tenant.Load(f.mirror.FS(commit), "tenants")
	if err != nil {
		b.Fatal(err)
	}
	applied := map[string]plan.Applied{}
	for _, file := range set.Files {
		if file.Tenant == nil {
			b.Fatal(file.Problems)
		}
		infra, app := tenant.InfraDigest(file.Tenant), tenant.AppDigest(file.Tenant, "")
		applied[file.Name] = plan.Applied{Tenant: file.Tenant, Commit: commit, Infra: infra, App: app, DoneInfra: infra, DoneApp: app}
	}
	return applied
}

func (f *fleet) git(b *testing.B, dir string, args ...string) {
	b.Helper()
	c := exec.Command("git", args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// tree shows a mirror as the planner wants it.
type tree struct{ *git.Mirror }

func (t tree) Changed(ctx context.Context, from, to string, paths []string) ([]string, error) {
	changes, err := t.Mirror.Changed(ctx, from, to, paths)
	files := make([]string, len(changes))
	for i, c := range changes {
		files[i] = c.Path
	}
	return files, err
}

// designs are apps without source.
type designs struct{}

func (designs) Sources(context.Context, string, *tenant.Tenant) ([]string, string, error) {
	return nil, "", nil
}
