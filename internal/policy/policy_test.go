package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const head = "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n"

// full is what the documentation shows.
const full = head + `  branch: main
  tenants: customers
  brake: {tenants: 5}
  approvers: [ann, bob]
  require: {labels: [owner]}
  allow:
    sources: [design, "path:apps/**", "git:https://github.com/acme/**"]
    domains: ["*.acme.example"]
    compute: {cpu: 1024, memory: 2048, instances: 8}
    isolation: [shared]
    database: {connections: 50}
    secrets: [STRIPE_*]
  preview: {max: 2, maxAge: 2d, seed: seed.sql}
  rules:
    - name: production-is-protected
      when: tenant.labels.plan == "pro"
      expect: tenant.deletion.protect
      message: pro tenants must set spec.deletion.protect
    - name: pro-stays
      on: [deletion]
      expect: applied.labels.plan != "pro"
      message: move the customer to another plan first
`

func repository(policy string, more ...string) fstest.MapFS {
	files := fstest.MapFS{policy0: {Data: []byte(policy)}}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return files
}

const policy0 = policy.File

// load reads a policy that has no problems.
func load(tb testing.TB, text string, more ...string) *policy.Policy {
	tb.Helper()
	p, problems, err := policy.Load(repository(text, more...), plan.DefaultBrake)
	if err != nil || problems != nil {
		tb.Fatalf("load: %v\n%v", err, problems)
	}
	return p
}

// acme returns a tenant, changed.
func acme(change func(*tenant.Tenant)) *tenant.Tenant {
	t := &tenant.Tenant{
		Name: "acme", Labels: map[string]string{"owner": "ann"},
		App: tenant.App{
			Path: "apps/acme", Health: "/healthz",
			Env: map[string]string{"GREETING": "hello"}, Secrets: []string{"STRIPE_KEY"},
		},
		Domains:   []string{"app.acme.example"},
		Compute:   tenant.Compute{CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 1, Max: 1, TargetCPU: 60}},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared},
		Database:  tenant.Database{Enabled: true, Connections: 10},
		Cache:     tenant.Cache{Enabled: true},
		Deletion:  tenant.Deletion{Grace: 7 * 24 * time.Hour},
	}
	if change != nil {
		change(t)
	}
	return t
}

func added(t *tenant.Tenant) plan.Step {
	return plan.Step{Tenant: "acme", Operation: plan.Provision, Desired: &plan.Desired{Tenant: t}}
}

func deleted(t *tenant.Tenant) plan.Step {
	return plan.Step{Tenant: "acme", Operation: plan.Deprovision, Applied: &plan.Applied{Tenant: t}}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	nothing, _, err := policy.Load(fstest.MapFS{}, plan.Brake{Tenants: 7, Percent: 70})
	if err != nil {
		t.Fatal(err)
	}
	defaults := sync.Settings{
		Tenants: "tenants", Brake: plan.Brake{Tenants: 7, Percent: 70},
		Preview: sync.PreviewRules{Label: "preview", Max: 5, MaxAge: 72 * time.Hour},
	}
	if diff := cmp.Diff(defaults, nothing.Settings()); diff != "" {
		t.Errorf("without a file (-want +got):\n%s", diff)
	}
	if refusals := nothing.Judge(t.Context(), added(acme(nil))); refusals != nil {
		t.Errorf("without a file: %q", refusals)
	}
	got := load(t, full).Settings()
	if len(got.Digest) != 64 {
		t.Errorf("digest %q", got.Digest)
	}
	got.Digest = ""
	want := sync.Settings{
		Branch: "main", Tenants: "customers", Brake: plan.Brake{Tenants: 5, Percent: 10}, Approvers: []string{"ann", "bob"},
		Preview: sync.PreviewRules{Label: "preview", Max: 2, MaxAge: 48 * time.Hour, Seed: "seed.sql"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	p := load(t, full)
	design := &tenant.Design{Models: []tenant.Model{{Name: "task"}}}
	for name, c := range map[string]struct {
		step plan.Step
		want []string
	}{
		"allowed":  {step: added(acme(nil))},
		"a design": {step: added(acme(func(t *tenant.Tenant) { t.App.Path, t.App.Design = "", design }))},
		"no label": {
			step: added(acme(func(t *tenant.Tenant) { t.Labels = nil })),
			want: []string{"metadata.labels lacks owner, which every tenant must have (gitopsd.yaml:8:21)"},
		},
		"empty label": {
			step: added(acme(func(t *tenant.Tenant) { t.Labels["owner"] = "" })),
			want: []string{"metadata.labels lacks owner, which every tenant must have (gitopsd.yaml:8:21)"},
		},
		"memory": {
			step: added(acme(func(t *tenant.Tenant) { t.Compute.Memory = 4096 })),
			want: []string{"spec.compute.memory is 4096, at most 2048 is allowed (gitopsd.yaml:12:34)"},
		},
		"several": {
			step: added(acme(func(t *tenant.Tenant) {
				t.Compute.CPU, t.Compute.Scale.Max, t.Database.Connections = 2048, 9, 51
				t.Isolation.Database = tenant.Dedicated
				t.Domains = append(t.Domains, "acme.example", "a.b.acme.example")
				t.App.Secrets = append(t.App.Secrets, "AWS_KEY")
				t.App.Path = "cmd/x"
			})),
			want: []string{
				`spec.app.path is cmd/x, allowed are design, path:apps/** and git:https://github.com/acme/** (gitopsd.yaml:10:14)`,
				`spec.domains lists acme.example and a.b.acme.example, allowed is *.acme.example (gitopsd.yaml:11:14)`,
				`spec.app.secrets lists AWS_KEY, allowed is STRIPE_* (gitopsd.yaml:15:14)`,
				`spec.isolation.database is dedicated, allowed is shared (gitopsd.yaml:13:16)`,
				`spec.compute.cpu is 2048, at most 1024 is allowed (gitopsd.yaml:12:20)`,
				`spec.compute.scale.max is 9, at most 8 is allowed (gitopsd.yaml:12:51)`,
				`spec.database.connections is 51, at most 50 is allowed (gitopsd.yaml:14:29)`,
			},
		},
		"no database, no connections": {
			step: added(acme(func(t *tenant.Tenant) { t.Database = tenant.Database{Connections: 51} })),
		},
		"a rule": {
			step: added(acme(func(t *tenant.Tenant) { t.Labels["plan"] = "pro" })),
			want: []string{"rule production-is-protected: pro tenants must set spec.deletion.protect (gitopsd.yaml:20:15)"},
		},
		"a rule that is met": {
			step: added(acme(func(t *tenant.Tenant) { t.Labels["plan"], t.Deletion.Protect = "pro", true })),
		},
		"a deletion": {step: deleted(acme(func(t *tenant.Tenant) { t.Labels, t.Compute.Memory = nil, 4096 }))},
		"a deletion that a rule refuses": {
			step: deleted(acme(func(t *tenant.Tenant) { t.Labels["plan"] = "pro" })),
			want: []string{"rule pro-stays: move the customer to another plan first (gitopsd.yaml:24:15)"},
		},
		"a deletion of which nothing is known": {
			step: deleted(nil),
			want: []string{"rule pro-stays cannot be evaluated: nothing is known of the tenant (gitopsd.yaml:24:15)"},
		},
		"a suspended tenant": {
			step: plan.Step{Tenant: "acme", Desired: &plan.Desired{Tenant: acme(func(t *tenant.Tenant) { t.Suspend, t.Compute.CPU = true, 4096 })}},
			want: []string{"spec.compute.cpu is 4096, at most 1024 is allowed (gitopsd.yaml:12:20)"},
		},
		"an invalid file": {step: plan.Step{Tenant: "acme", Desired: &plan.Desired{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, p.Judge(context.Background(), c.step)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed, app string
		want         bool
	}{
		{"design", "design", true},
		{"design", "path:apps/acme", false},
		{"path:apps/**", "path:apps/acme", true},
		{"path:apps/**", "path:apps/a/b", true},
		{"path:apps/**", "path:apps", false},
		{"path:apps/**", "path:appsx/a", false},
		{"path:apps/*", "path:apps/acme", true},
		{"path:apps/*", "path:apps/a/b", false},
		{"path:a.b", "path:axb", false},
		{"git:https://github.com/acme/**", "git:https://github.com/acme/app.git", true},
		{"git:https://github.com/acme/**", "git:https://GitHub.com/acme/app.git", true},
		{"git:https://github.com/acme/**", "git:https://github.com/evil/app.git", false},
		{"git:https://github.com/acme/**", "git:https://github.com/acme/../evil/app.git", false},
		{"git:https://github.com/acme/**", "git:https://github.com/acme/%2e%2e/evil/app.git", false},
		{"git:https://github.com/acme/**", "git:https://github.com/acme//evil", false},
		{"git:https://github.com/acme/**", "git:https://github.com.evil.example/acme/app", false},
		{"git:https://github.com/acme/**", "path:apps/acme", false},
		{"git:https://github.com/acme/*", "git:https://github.com/acme/a/b", false},
		{"git:https://*.acme.example/**", "git:https://git.acme.example/x", true},
		{"git:https://*.acme.example/**", "git:https://evil.example/x.acme.example/y", false},
		{"git:file:///srv/**", "git:file:///srv/git/a.git", true},
		{"git:file:///srv/**", "git:file:///etc/a.git", false},
	} {
		p := load(t, head+fmt.Sprintf("  allow: {sources: [%q]}\n", c.allowed))
		step := added(acme(func(t *tenant.Tenant) {
			t.App.Path = ""
			switch kind, value, _ := strings.Cut(c.app, ":"); kind {
			case "design":
				t.App.Design = &tenant.Design{}
			case "path":
				t.App.Path = value
			default:
				t.App.Git = &tenant.GitSource{URL: value}
			}
		}))
		if refusals := p.Judge(t.Context(), step); (refusals == nil) != c.want {
			t.Errorf("%s of %s: %q", c.app, c.allowed, refusals)
		}
	}
}

func TestAnEmptyListAllowsNothing(t *testing.T) {
	t.Parallel()
	p := load(t, head+"  allow: {sources: [], domains: [], secrets: []}\n")
	want := []string{
		"spec.app.path is apps/acme, none is allowed (gitopsd.yaml:4:20)",
		"spec.domains lists app.acme.example, none is allowed (gitopsd.yaml:4:33)",
		"spec.app.secrets lists STRIPE_KEY, none is allowed (gitopsd.yaml:4:46)",
	}
	if diff := cmp.Diff(want, p.Judge(t.Context(), added(acme(nil)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
