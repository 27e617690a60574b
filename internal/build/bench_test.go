package build_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// BenchmarkOneLineChange measures Generate, Compile and Bundle of a change of
// one line beside a bare "go build" of such a change, alternately, with the
// same flags and a warm cache. Metrics are medians.
func BenchmarkOneLineChange(b *testing.B) {
	b.Run("design", func(b *testing.B) {
		builder := newBuilder(b, newRepository(b), warm(b))
		in := designApp(b, "bench-design", example(b, "tasks").App.Design)
		change := func(n string) {
			d := *in.Tenant.App.Design
			d.Title = "Title " + n
			in.Tenant.App.Design = &d
		}
		src := filepath.Join(warm(b), "work", "bench-design", "src")
		compare(b, builder, &in, change, src, "main.go", `kit.New("`)
	})
	b.Run("path", func(b *testing.B) {
		repo, commit := guestbookRepository(b)
		builder := newBuilder(b, repo, warm(b))
		in := pipeline.Build{Commit: commit, Volume: b.TempDir(), Tenant: example(b, "guestbook")}
		file := filepath.Join(repo.dir, "apps", "guestbook", "main.go")
		change := func(n string) {
			replaceAfter(b, file, `cmp.Or(os.Getenv("GREETING"), "`, n)
			in.Commit = repo.commit(nil)
		}
		compare(b, builder, &in, change, filepath.Join(warm(b), "work", "guestbook", "src", "apps", "guestbook"), "main.go", `cmp.Or(os.Getenv("GREETING"), "`)
	})
}

func compare(b *testing.B, builder *build.Builder, in *pipeline.Build, change func(string), src, file, before string) {
	change("warm")
	makeRelease(b, builder, *in)
	reference := b.TempDir()
	if out, err := exec.Command("cp", "-r", src+"/.", reference).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	times := map[string][]time.Duration{}
	measure := func(name string, do func() error) {
		begin := time.Now()
		if err := do(); err != nil {
			b.Fatalf("%s: %v\n%s", name, err, detail(err))
		}
		times[name] = append(times[name], time.Since(begin))
	}
	goBuild := func() error {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(b.TempDir(), "app"), ".")
		cmd.Dir = reference
		cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(warm(b), "cache"), "CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := goBuild(); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		unique := fmt.Sprintf("%d-%d", i, time.Now().UnixNano())
		change(unique)
		measure("generate", func() error { _, err := builder.Generate(b.Context(), *in); return err })
		measure("compile", func() error { _, err := builder.Compile(b.Context(), *in); return err })
		measure("bundle", func() error { _, err := builder.Bundle(b.Context(), *in); return err })
		replaceAfter(b, filepath.Join(reference, file), before, "reference-"+unique)
		measure("gobuild", goBuild)
	}
	ours := 0.0
	for _, name := range []string{"generate", "compile", "bundle"} {
		ours += report(b, name, times[name])
	}
	b.ReportMetric(ours/report(b, "gobuild", times["gobuild"]), "ratio")
	b.ReportMetric(0, "ns/op") // of everything here: says nothing
}

func report(b *testing.B, name string, all []time.Duration) float64 {
	slices.Sort(all)
	ms := float64(all[len(all)/2]) / float64(time.Millisecond)
	b.ReportMetric(ms, name+"-ms")
	return ms
}

// replaceAfter replaces what is between a text of a file and the next quote.
func replaceAfter(t testing.TB, file, before, text string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, tail, ok := strings.Cut(string(b), before)
	_, tail, ok2 := strings.Cut(tail, `"`)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s", file, before)
	}
	if err := os.WriteFile(file, []byte(head+before+text+`"`+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkSources measures what sync asks for each tenant of kind path.
func BenchmarkSources(b *testing.B) {
	repo, commit := guestbookRepository(b)
	for b.Loop() {
		if _, err := build.Sources(repo.FS(commit), "apps/guestbook"); err != nil {
			b.Fatal(err)
		}
	}
}
