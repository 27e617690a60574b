// Package platformtest states, as one suite, what every platform driver must do.
package platformtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform"
	"github.com/gitopsd/gitopsd/internal/release"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Env is what the suite needs to know of a driver's surroundings.
type Env struct {
	Domain string // the platform's
	Edge   string // host:port where a tenant's hosts are served over HTTP
	// Late says that the edge follows what a method did within seconds, and not by
	// the time the method returns: other hosts write its routes and records.
	Late bool
	// SetSecret stores the value of a tenant's secret.
	SetSecret func(ctx context.Context, tenant, name, value string) error
	// Obstruct puts an object in the way of each kind of thing: one that has
	// the name the tenant's would have, and is not the tenant's. Its keys are
	// names of methods that must then refuse with fault.Conflict, both to make
	// (EnsureDatabase) and to destroy (DropDatabase); each function returns one
	// that takes the object away again, and fails the test if it is not there
	// any more.
	Obstruct map[string]func(t *testing.T, tenant string) (remove func())
	// Damage changes each kind of thing that a snapshot holds, one at a time, and
	// returns one that puts it back.
	Damage map[string]func(t *testing.T, tenant, snapshot string) (repair func())
}

// Open opens the driver on the same place each time. The control plane that
// used it before is gone, as after a kill -9: nothing was shut down.
type Open func(t *testing.T) (platform.Platform, Env)

// Exercise runs the suite. The place must be empty of tenants.
func Exercise(t *testing.T, open Open) {
	s := &suite{open: open, app: Compile(t)}
	s.reopen(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"a tenant's life", life},
		{"a new release, a bad one, and back", releases},
		{"killed half-way and adopted", halfWay},
		{"drained and back with its data", drainAndReturn},
		{"taken away and restored", restored},
		{"back to what it was", restoredInPlace},
		{"scaled up and down", scale},
		{"what is in the way is not touched", obstructed},
		{"two at once, apart", apart},
		{"a tenant nobody has heard of", unknown},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.run(t, s) }) {
			t.FailNow() // what it left behind would fail the others
		}
	}
}

// suite is one run of the suite against one place.
type suite struct {
	open Open
	app  string // the compiled app
	p    platform.Platform
	env  Env
}

func (s *suite) reopen(t *testing.T) {
	t.Helper()
	s.p, s.env = s.open(t)
}

// Compile builds the app that is published as a release.
func Compile(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app")
	cmd := exec.Command("go", "build", "-o", out, "github.com/gitopsd/gitopsd/internal/platform/platformtest/app")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the app: %v\n%s", err, b)
	}
	return out
}

func (s *suite) config(name string) platform.Config {
	return platform.Assemble(&tenant.Tenant{
		Name:     name,
		Compute:  tenant.Compute{CPU: 256, Memory: 256, Scale: tenant.Scale{Min: 1, Max: 2, TargetCPU: 60}},
		Database: tenant.Database{Enabled: true, Connections: 5},
		Cache:    tenant.Cache{Enabled: true},
	}, s.env.Domain)
}

// step is one method of a driver, by its name.
type step struct {
	name string
	do   func(context.Context) error
}

// provision are the steps that make a tenant, without a release.
func (s *suite) provision(c platform.Config) []step {
	return []step{
		{"EnsureInfrastructure", func(ctx context.Context) error { return s.p.EnsureInfrastructure(ctx, c) }},
		{"EnsureDatabase", func(ctx context.Context) error { return s.p.EnsureDatabase(ctx, c) }},
		{"EnsureCacheUser", func(ctx context.Context) error { return s.p.EnsureCacheUser(ctx, c) }},
	}
}

// deprovision are the steps that unmake it.
func (s *suite) deprovision(name string) []step {
	on := func(do func(context.Context, string) error) func(context.Context) error {
		return func(ctx context.Context) error { return do(ctx, name) }
	}
	return []step{
		{"RemoveRoute", on(s.p.RemoveRoute)},
		{"Drain", on(s.p.Drain)},
		{"DestroyInfrastructure", on(s.p.DestroyInfrastructure)},
		{"DropCacheUser", on(s.p.DropCacheUser)},
		{"DropDatabase", on(s.p.DropDatabase)},
		{"RemoveReleases", on(s.p.RemoveReleases)},
	}
}

// run does the steps, each the given number of times.
func run(t *testing.T, times int, steps []step) {
	t.Helper()
	for _, st := range steps {
		for i := range times {
			if err := st.do(t.Context()); err != nil {
				t.Fatalf("%s, call %d: %v", st.name, i+1, err)
			}
		}
	}
}

// publish makes a release of the app, and has it served unless wait is false.
// Its assets are one file, index.txt, with the given text.
func (s *suite) publish(t *testing.T, name, text string, env map[string]string) release.Pointer {
	t.Helper()
	p := s.put(t, name, text, env)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.p.AwaitRelease(ctx, name, p); err != nil {
		t.Fatalf("await release: %v", err)
	}
	if err := s.p.ActivateStatic(ctx, name, p.SHA256); err != nil {
		t.Fatalf("activate static: %v", err)
	}
	return p
}

// put is publish without anything being awaited or activated.
func (s *suite) put(t *testing.T, name, text string, env map[string]string) release.Pointer {
	t.Helper()
	v, err := s.p.Volume(t.Context(), name)
	if err != nil {
		t.Fatalf("volume: %v", err)
	}
	digest, err := Stage(v, release.Manifest{Tenant: name, Build: text, Env: env, Health: "/healthz"}, s.app, text)
	if err != nil {
		t.Fatalf("stage a release: %v", err)
	}
	if err := s.p.UploadStatic(t.Context(), name, digest); err != nil {
		t.Fatalf("upload static: %v", err)
	}
	p, err := v.Publish(digest, fmt.Sprintf("%040x", len(text)))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return p
}
