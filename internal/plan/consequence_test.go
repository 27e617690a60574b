package plan_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var update = flag.Bool("update", false, "write the expected output anew")

// whole is a tenant of path app with every default filled in.
func whole(change ...func(*tenant.Tenant)) *tenant.Tenant {
	t := &tenant.Tenant{
		Name:      "acme",
		App:       tenant.App{Path: "apps/acme", Health: "/healthz"},
		Compute:   tenant.Compute{CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 1, Max: 1, TargetCPU: 60}},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared},
		Database:  tenant.Database{Enabled: true, Connections: 10},
		Cache:     tenant.Cache{Enabled: true},
		Deletion:  tenant.Deletion{Grace: 168 * time.Hour},
	}
	for _, f := range change {
		f(t)
	}
	return t
}

func designed(models ...tenant.Model) func(*tenant.Tenant) {
	return func(t *tenant.Tenant) { t.App.Path, t.App.Design = "", &tenant.Design{Models: models} }
}

func gitted(url, ref string) func(*tenant.Tenant) {
	return func(t *tenant.Tenant) { t.App.Path, t.App.Git = "", &tenant.GitSource{URL: url, Ref: ref} }
}

// stepOf makes the step of one tenant as a plan would.
func stepOf(t *testing.T, applied *plan.Applied, to *tenant.Tenant) plan.Step {
	t.Helper()
	in := plan.Input{Touched: []string{"acme"}, Applied: map[string]plan.Applied{}, Desired: map[string]plan.Desired{}, Live: 1, Files: 1, Brake: plan.DefaultBrake}
	if applied != nil {
		in.Applied["acme"] = *applied
	}
	if to != nil {
		in.Desired["acme"] = plan.Desired{Tenant: to, Infra: tenant.InfraDigest(to), App: tenant.AppDigest(to, "source")}
	}
	p := plan.Make(in)
	if len(p.Steps) != 1 {
		t.Fatalf("%d steps", len(p.Steps))
	}
	return p.Steps[0]
}

func applied(t *tenant.Tenant, change ...func(*plan.Applied)) *plan.Applied {
	i, a := tenant.InfraDigest(t), tenant.AppDigest(t, "source")
	out := &plan.Applied{Tenant: t, Infra: i, App: a, DoneInfra: i, DoneApp: a}
	for _, f := range change {
		f(out)
	}
	return out
}

type story struct {
	name     string
	from, to *tenant.Tenant
	applied  func(*plan.Applied)
}

func stories() []story {
	deleted := func(a *plan.Applied) { a.Deleted = true }
	set := func(f func(*tenant.Tenant)) *tenant.Tenant { return whole(f) }
	return append(designStories(),
		story{name: "new", to: whole()},
		story{name: "new with everything", to: whole(gitted("https://example.com/app.git", "v1"), func(t *tenant.Tenant) {
			t.Domains = []string{"acme.apps.example", "app.acme.test", "acme.test", "eu.acme.apps.example"}
			t.App.Secrets = []string{"STRIPE_KEY", "SMTP_PASSWORD"}
			t.Compute.Scale.Max, t.Isolation.Database = 4, tenant.Dedicated
			t.Database.Enabled, t.Cache.Enabled, t.Deletion.Grace = false, false, 0
		})},
		story{name: "new but suspended", to: set(func(t *tenant.Tenant) { t.Suspend = true })},
		story{name: "deleted", from: set(func(t *tenant.Tenant) { t.Domains = []string{"app.acme.test"} })},
		story{name: "deleted without grace", from: set(func(t *tenant.Tenant) { t.Deletion.Grace = 0 })},
		story{name: "deleted but protected", from: set(func(t *tenant.Tenant) { t.Deletion.Protect = true })},
		story{name: "back", from: whole(), to: whole(), applied: func(a *plan.Applied) {
			a.Deleted, a.PurgeAfter = true, time.Date(2026, 12, 1, 10, 30, 0, 0, time.UTC)
		}},
		story{name: "back before the deletion ended", from: whole(), to: whole(), applied: deleted},
		story{name: "back without grace", from: set(func(t *tenant.Tenant) { t.Deletion.Grace = 0 }), to: whole(), applied: deleted},
		story{
			name: "environment", from: set(func(t *tenant.Tenant) { t.App.Env = map[string]string{"A": "1", "B": "1"} }),
			to: set(func(t *tenant.Tenant) { t.App.Env = map[string]string{"B": "2", "C": "1"} }),
		},
		story{
			name: "secrets", from: set(func(t *tenant.Tenant) { t.App.Secrets = []string{"OLD"} }),
			to: set(func(t *tenant.Tenant) { t.App.Secrets = []string{"STRIPE_KEY"} }),
		},
		story{name: "health", from: whole(), to: set(func(t *tenant.Tenant) { t.App.Health = "/ready" })},
		story{name: "code", from: whole(), to: whole(), applied: func(a *plan.Applied) { a.App, a.DoneApp = "old", "old" }},
		story{name: "failed before", from: whole(), to: whole(), applied: func(a *plan.Applied) { a.Failing = true }},
		story{
			name: "domains", from: set(func(t *tenant.Tenant) {
				t.Domains = []string{"old.acme.test", "eu.acme.apps.example", "acme.apps.example"}
			}),
			to: set(func(t *tenant.Tenant) { t.Domains = []string{"app.acme.test"} }),
		},
		story{name: "sizes", from: whole(), to: set(func(t *tenant.Tenant) { t.Compute.CPU, t.Compute.Scale.Max = 512, 4 })},
		story{name: "smaller", from: whole(), to: set(func(t *tenant.Tenant) { t.Compute.Memory = 128 })},
		story{name: "scaling", from: set(func(t *tenant.Tenant) { t.Compute.Scale.Max = 3 }), to: set(func(t *tenant.Tenant) {
			t.Compute.Scale.Max, t.Compute.Scale.TargetCPU, t.Compute.IdleAfter = 3, 75, 90*time.Minute
		})},
		story{name: "no more idling", from: set(func(t *tenant.Tenant) { t.Compute.IdleAfter = time.Hour }), to: whole()},
		story{name: "dedicated", from: whole(), to: set(func(t *tenant.Tenant) {
			t.Isolation = tenant.Isolation{Compute: tenant.Dedicated, Database: tenant.Dedicated, Cache: tenant.Dedicated}
		})},
		story{name: "shared again", from: set(func(t *tenant.Tenant) { t.Isolation.Database = tenant.Dedicated }), to: whole()},
		story{name: "database off", from: whole(), to: set(func(t *tenant.Tenant) { t.Database.Enabled = false })},
		story{name: "database on", from: set(func(t *tenant.Tenant) { t.Database.Enabled = false }), to: whole()},
		story{name: "fewer connections", from: whole(), to: set(func(t *tenant.Tenant) { t.Database.Connections = 1 })},
		story{name: "cache off", from: whole(), to: set(func(t *tenant.Tenant) { t.Cache.Enabled = false })},
		story{name: "cache on", from: set(func(t *tenant.Tenant) { t.Cache.Enabled = false }), to: whole()},
		story{name: "protected", from: whole(), to: set(func(t *tenant.Tenant) { t.Deletion.Protect = true })},
		story{name: "no longer protected", from: set(func(t *tenant.Tenant) { t.Deletion.Protect = true }), to: whole()},
		story{name: "shorter grace", from: whole(), to: set(func(t *tenant.Tenant) { t.Deletion.Grace = 36 * time.Hour })},
		story{name: "no grace", from: whole(), to: set(func(t *tenant.Tenant) { t.Deletion.Grace = 0 })},
		story{
			name: "labels", from: set(func(t *tenant.Tenant) { t.Labels = map[string]string{"plan": "free", "team/eu": "a"} }),
			to: set(func(t *tenant.Tenant) { t.Labels = map[string]string{"plan": "pro", "x": "1"} }),
		},
		story{name: "suspended", from: whole(), to: set(func(t *tenant.Tenant) { t.Suspend, t.Compute.CPU = true, 512 })},
		story{name: "still suspended", from: set(func(t *tenant.Tenant) { t.Suspend = true }), to: set(func(t *tenant.Tenant) { t.Suspend, t.Compute.CPU = true, 512 })},
		story{name: "resumed", from: set(func(t *tenant.Tenant) { t.Suspend = true }), to: whole()},
		story{name: "another path", from: whole(), to: set(func(t *tenant.Tenant) { t.App.Path = "apps/other" })},
		story{name: "path to git", from: whole(), to: whole(gitted("https://example.com/app.git", "v1"))},
		story{name: "another ref", from: whole(gitted("https://example.com/app.git", "v1")), to: whole(gitted("https://example.com/app.git", "v2"))},
	)
}

func designStories() []story {
	field := func(name string, typ tenant.FieldType, change ...func(*tenant.Field)) tenant.Field {
		f := tenant.Field{Name: name, Type: typ}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	required := func(f *tenant.Field) { f.Required = true }
	unique := func(f *tenant.Field) { f.Unique = true }
	byDefault := func(v any) func(*tenant.Field) { return func(f *tenant.Field) { f.Default = v } }
	refers := func(m string) func(*tenant.Field) { return func(f *tenant.Field) { f.Ref = m } }
	task := func(fields ...tenant.Field) tenant.Model { return tenant.Model{Name: "task", Fields: fields} }
	tag := tenant.Model{Name: "tag", Fields: []tenant.Field{field("name", tenant.FieldString)}}
	title := field("title", tenant.FieldString)
	return []story{
		{name: "design: new tenant without database", to: whole(designed(tag), func(t *tenant.Tenant) { t.Database.Enabled = false })},
		{name: "design: models", from: whole(designed(task(title))), to: whole(designed(tag))},
		{
			name: "design: fields",
			from: whole(designed(task(title, field("note", tenant.FieldText), field("n", tenant.FieldInt, required, unique, byDefault(1.0)), field("r", tenant.FieldRef, refers("tag"))), tag)),
			to: whole(designed(task(field("title", tenant.FieldText, required, unique), field("n", tenant.FieldInt, byDefault(2.0)),
				field("r", tenant.FieldRef, refers("task"), required), field("due", tenant.FieldDate), field("done", tenant.FieldBool, required),
				field("code", tenant.FieldString, required, unique), field("kind", tenant.FieldString, required, byDefault("a"))), tag)),
		},
		{name: "design: order and title", from: whole(designed(tag, task(title))), to: whole(designed(task(title), tag), func(t *tenant.Tenant) { t.App.Design.Title = "Acme" })},
		{name: "design to path", from: whole(designed(tag)), to: whole()},
		{name: "path to design without database", from: whole(func(t *tenant.Tenant) { t.Database.Enabled = false }), to: whole(designed(tag), func(t *tenant.Tenant) { t.Database.Enabled = false })},
	}
}

func TestConsequencesGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range stories() {
		var known *plan.Applied
		if s.from != nil {
			known = applied(s.from)
			if s.applied != nil {
				s.applied(known)
			}
		}
		step := stepOf(t, known, s.to)
		fmt.Fprintf(&b, "# %s: %s\n", s.name, step.Operation)
		for _, c := range plan.Consequences(step, "apps.example.") {
			fmt.Fprintf(&b, "%-14s [%s] %s\n", c.Effect, c.Field, c.Text)
			if c.From != "" || c.To != "" {
				fmt.Fprintf(&b, "%-14s %s → %s\n", "", c.From, c.To)
			}
		}
		b.WriteByte('\n')
	}
	const golden = "testdata/consequences.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("differs from %s (run with -update):\n%s", golden, diff)
	}
}

// Every field of a tenant, however deep, has a rule: a change of it alone is
// seen, and what is said of it is more than that it changes.
func TestEveryFieldHasARule(t *testing.T) {
	t.Parallel()
	leaves := 0
	for _, base := range []func() *tenant.Tenant{
		func() *tenant.Tenant { return whole() },
		func() *tenant.Tenant { return whole(gitted("https://example.com/a.git", "v1")) },
		func() *tenant.Tenant {
			return whole(designed(tenant.Model{Name: "task", Fields: []tenant.Field{{Name: "above", Type: tenant.FieldRef, Ref: "task"}}}))
		},
	} {
		walk(reflect.ValueOf(base()).Elem(), "", func(path string, _ reflect.Value) {
			if path == "Name" || path == "App.Path" && base().App.Path == "" {
				return // the identity: another name is another tenant; a second source, which no file may have
			}
			leaves++
			to := base()
			walk(reflect.ValueOf(to).Elem(), "", func(other string, v reflect.Value) {
				if other == path {
					alter(t, v)
				}
			})
			if path == "Suspend" {
				to = whole() // resuming is the change that does something
			}
			from := base()
			from.Suspend = path == "Suspend"
			step := stepOf(t, applied(from), to)
			if len(step.Changes) == 0 {
				t.Fatalf("%s: the change is not seen", path)
			}
			all := plan.Consequences(step, "apps.example")
			for _, field := range step.Changes {
				told := slices.ContainsFunc(all, func(c plan.Consequence) bool {
					return c.Field != "" && (field == c.Field || strings.HasPrefix(field, c.Field+".")) &&
						c.Effect != plan.Restart && c.Text != field+" changes." && c.Text != "Models or fields are in another order."
				})
				if !told {
					t.Errorf("%s: nothing is said of %s: %+v", path, field, all)
				}
			}
		})
	}
	if leaves < 30 {
		t.Errorf("only %d fields were found", leaves)
	}
}

// walk visits every value without parts of its own; a nil pointer has none.
func walk(v reflect.Value, path string, visit func(string, reflect.Value)) {
	join := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), join(v.Type().Field(i).Name), visit)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		walk(v.Elem(), path, visit)
	case v.Kind() == reflect.Pointer:
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			walk(v.Index(i), join(fmt.Sprint(i)), visit)
		}
	default:
		visit(path, v)
	}
}

// alter gives a value another one.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int()*2 + 1)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"K": "v"}))
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"new.example.test"}))
	case reflect.Interface:
		v.Set(reflect.ValueOf("x"))
	default:
		t.Fatalf("cannot alter a %s", v.Type())
	}
}

func TestConsequencesAreBounded(t *testing.T) {
	t.Parallel()
	var models []tenant.Model
	for i := range 100 {
		models = append(models, tenant.Model{Name: fmt.Sprintf("m%d", i), Fields: []tenant.Field{{Name: strings.Repeat("f", 63), Type: tenant.FieldInt}}})
	}
	long := strings.Repeat("é", 200)
	from := whole(designed(models...), func(t *tenant.Tenant) { t.App.Design.Title = long })
	to := whole(designed(tenant.Model{Name: "other"}), func(t *tenant.Tenant) { t.App.Health = "/" + long; t.App.Env = map[string]string{} })
	for i := range 100 {
		to.App.Env[fmt.Sprintf("%s%d", strings.Repeat("E", 90), i)] = long
	}
	all := plan.Consequences(stepOf(t, applied(from), to), "apps.example")
	if len(all) > 60 {
		t.Errorf("%d consequences", len(all))
	}
	for _, c := range all {
		if n := utf8.RuneCountInString(c.Text); n > 1000 {
			t.Errorf("%d characters: %s", n, c.Text)
		}
		if utf8.RuneCountInString(c.From) > 60 || utf8.RuneCountInString(c.To) > 60 {
			t.Errorf("long values: %q %q", c.From, c.To)
		}
	}
}

func TestEveryOperationHasConsequences(t *testing.T) {
	t.Parallel()
	base := stepOf(t, applied(whole(), func(a *plan.Applied) { a.DoneApp = "old" }), whole())
	for _, op := range []plan.Operation{plan.Provision, plan.Update, plan.Deploy, plan.Deprovision, plan.Purge, plan.Restore} {
		s := base
		s.Operation = op
		all := plan.Consequences(s, "apps.example")
		if len(all) == 0 {
			t.Errorf("%s has no consequences", op)
			continue
		}
		destroys := op == plan.Deprovision || op == plan.Purge || op == plan.Restore
		if first := all[0].Effect; (first == plan.DataLoss) != destroys {
			t.Errorf("%s begins with %s", op, first)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	step := func(name string, op plan.Operation) plan.Step { return plan.Step{Tenant: name, Operation: op} }
	many := plan.Plan{Hold: "too many"}
	for i := range 40 {
		many.Steps = append(many.Steps, step(fmt.Sprintf("%s%d", strings.Repeat("t", 38), i), plan.Deprovision))
	}
	refused := plan.Step{Tenant: "p", Failure: &fault.Record{}}
	invalid := plan.Step{Tenant: "i", Failure: &fault.Record{}, Desired: &plan.Desired{Problems: tenant.Problems{{}}}}
	for _, c := range []struct {
		plan plan.Plan
		want string
	}{
		{plan.Plan{}, "No tenant is touched"},
		{plan.Plan{Steps: []plan.Step{step("a", ""), step("b", "")}}, "2 unchanged"},
		{
			plan.Plan{Steps: []plan.Step{step("a", plan.Deploy), step("acme", plan.Deprovision), step("b", plan.Provision), step("c", plan.Deploy), refused, invalid}},
			"1 provision, 2 deploy, 1 deprovision, 1 invalid, 1 refused: deletes data of acme",
		},
		{many, "Would be held: 40 deprovision: deletes data of " + strings.Repeat("t", 38) + "0, " + strings.Repeat("t", 38) + "1 and 38 more"},
	} {
		got := c.plan.Summary()
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if n := utf8.RuneCountInString(got); n > plan.MaxSummary {
			t.Errorf("%d characters: %s", n, got)
		}
	}
}
