package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

func file(name string, change ...func(*tenant.Tenant)) *tenant.Tenant {
	t := &tenant.Tenant{Name: name}
	for _, f := range change {
		f(t)
	}
	return t
}

func protected(t *tenant.Tenant) { t.Deletion.Protect = true }
func suspended(t *tenant.Tenant) { t.Suspend = true }

// ready is a tenant whose infrastructure i and app a are real.
func ready(name, i, a string, change ...func(*tenant.Tenant)) plan.Applied {
	return plan.Applied{Tenant: file(name, change...), Infra: i, App: a, DoneInfra: i, DoneApp: a}
}

func want(name, i, a string, change ...func(*tenant.Tenant)) plan.Desired {
	return plan.Desired{Tenant: file(name, change...), Infra: i, App: a}
}

func TestMakeDecidesOneTenant(t *testing.T) {
	t.Parallel()
	with := func(a plan.Applied, f func(*plan.Applied)) *plan.Applied { f(&a); return &a }
	base := ready("a", "i1", "a1")
	same := with(base, func(*plan.Applied) {})
	yes := func(d plan.Desired) *plan.Desired { return &d }
	problem := plan.Desired{Problems: tenant.Problems{{File: "tenants/a.yaml", Line: 3, Column: 1, Message: "no"}}}

	for name, c := range map[string]struct {
		applied *plan.Applied
		desired *plan.Desired
		want    plan.Operation
		failed  bool
	}{
		"new":                             {nil, yes(want("a", "i1", "a1")), plan.Provision, false},
		"new but suspended":               {nil, yes(want("a", "i1", "a1", suspended)), "", false},
		"new but invalid":                 {nil, &problem, "", true},
		"same":                            {same, yes(want("a", "i1", "a1")), "", false},
		"app only":                        {same, yes(want("a", "i1", "a2")), plan.Deploy, false},
		"infrastructure only":             {same, yes(want("a", "i2", "a1")), plan.Update, false},
		"both":                            {same, yes(want("a", "i2", "a2")), plan.Update, false},
		"changed but suspended":           {same, yes(want("a", "i2", "a2", suspended)), "", false},
		"changed but invalid":             {same, &problem, "", true},
		"file gone":                       {same, nil, plan.Deprovision, false},
		"file gone but protected":         {with(ready("a", "i1", "a1", protected), func(*plan.Applied) {}), nil, "", true},
		"file gone, deleted before":       {with(base, func(a *plan.Applied) { a.Deleted = true }), nil, "", false},
		"file back within the grace":      {with(base, func(a *plan.Applied) { a.Deleted = true }), yes(want("a", "i1", "a1")), plan.Provision, false},
		"never provisioned":               {with(base, func(a *plan.Applied) { a.DoneInfra, a.DoneApp = "", "" }), yes(want("a", "i1", "a1")), plan.Provision, false},
		"app failed, touched again":       {with(base, func(a *plan.Applied) { a.App, a.Failing = "a2", true }), yes(want("a", "i1", "a2")), plan.Deploy, false},
		"app failed, reverted":            {with(base, func(a *plan.Applied) { a.App, a.Failing = "a2", true }), yes(want("a", "i1", "a1")), plan.Deploy, false},
		"infrastructure failed, reverted": {with(base, func(a *plan.Applied) { a.Infra, a.Failing = "i2", true }), yes(want("a", "i1", "a1")), plan.Update, false},
		"other app under way, reverted":   {with(base, func(a *plan.Applied) { a.App, a.InProgress = "a2", true }), yes(want("a", "i1", "a1")), plan.Deploy, false},
		"failed after all was made":       {with(base, func(a *plan.Applied) { a.Failing = true }), yes(want("a", "i1", "a1")), plan.Deploy, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := plan.Input{Touched: []string{"a", "a"}, Live: 1, Files: 1, Brake: plan.DefaultBrake}
			if c.applied != nil {
				in.Applied = map[string]plan.Applied{"a": *c.applied}
			}
			if c.desired != nil {
				in.Desired = map[string]plan.Desired{"a": *c.desired}
			}
			p := plan.Make(in)
			var got plan.Step
			if len(p.Steps) > 1 {
				t.Fatalf("%d steps for one tenant", len(p.Steps))
			}
			if len(p.Steps) == 1 {
				got = p.Steps[0]
			}
			if got.Operation != c.want || (got.Failure != nil) != c.failed {
				t.Errorf("got operation %q, failure %v; want %q, failed %v", got.Operation, got.Failure, c.want, c.failed)
			}
			if got.Failure != nil && got.Failure.Kind != fault.Invalid {
				t.Errorf("failure is %s, want Invalid: nothing but another commit helps", got.Failure.Kind)
			}
		})
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		live, deleted, files int
		want                 plan.HoldReason
	}{
		"few of few":             {4, 3, 1, ""},
		"more than 3, over 10 %": {10, 4, 6, plan.HoldBrake},
		"more than 3, 10 %":      {40, 4, 36, ""},
		"no file left":           {2, 2, 0, plan.HoldEmpty},
		"nothing deleted":        {2, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := plan.Input{Applied: map[string]plan.Applied{}, Live: c.live, Files: c.files, Brake: plan.DefaultBrake}
			for i := range c.deleted {
				n := fmt.Sprintf("t%d", i)
				in.Touched = append(in.Touched, n)
				in.Applied[n] = ready(n, "i", "a")
			}
			p := plan.Make(in)
			if p.Reason != c.want || (p.Hold != "") != (c.want != "") {
				t.Errorf("held for %q (%s), want %q", p.Reason, p.Hold, c.want)
			}
		})
	}
}

// Whatever the input: no tenant is deprovisioned that has a file, is protected
// or is deleted already; and a bad file changes no other tenant's step.
func TestMakeNeverDeletesWhatIsGuarded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := plan.Input{
			Applied: map[string]plan.Applied{}, Desired: map[string]plan.Desired{},
			Live: 100, Files: 1, Brake: plan.DefaultBrake,
		}
		digest := rapid.SampledFrom([]string{"", "x", "y"})
		for i := range rapid.IntRange(0, 6).Draw(t, "tenants") {
			n := fmt.Sprintf("t%d", i)
			in.Touched = append(in.Touched, n)
			if rapid.Bool().Draw(t, "applied") {
				a := plan.Applied{
					Tenant: file(n), Infra: digest.Draw(t, "infra"), App: digest.Draw(t, "app"),
					DoneInfra: digest.Draw(t, "doneInfra"), DoneApp: digest.Draw(t, "doneApp"),
					Deleted: rapid.Bool().Draw(t, "deleted"), Failing: rapid.Bool().Draw(t, "failing"), InProgress: rapid.Bool().Draw(t, "busy"),
				}
				a.Tenant.Deletion.Protect = rapid.Bool().Draw(t, "protect")
				in.Applied[n] = a
			}
			if rapid.Bool().Draw(t, "desired") {
				in.Desired[n] = want(n, digest.Draw(t, "wantInfra"), digest.Draw(t, "wantApp"))
			}
		}
		p := plan.Make(in)
		for _, s := range p.Steps {
			a, known := in.Applied[s.Tenant]
			_, wanted := in.Desired[s.Tenant]
			if s.Operation == plan.Deprovision && (wanted || !known || a.Deleted || a.Tenant.Deletion.Protect) {
				t.Fatalf("%s is deprovisioned: %+v", s.Tenant, a)
			}
			if known && wanted && s.Operation == "" && !a.Deleted &&
				(a.DoneInfra != in.Desired[s.Tenant].Infra || a.DoneApp != in.Desired[s.Tenant].App) {
				t.Fatalf("%s is left as it is though it differs", s.Tenant)
			}
		}
		if len(in.Touched) == 0 {
			return
		}
		bad := in.Touched[0]
		in.Desired[bad] = plan.Desired{Problems: tenant.Problems{{File: "f", Message: "no"}}}
		others := func(steps []plan.Step) []string {
			var out []string
			for _, s := range steps {
				if s.Tenant != bad {
					out = append(out, s.Tenant+" "+string(s.Operation))
				}
			}
			return out
		}
		if diff := cmp.Diff(others(p.Steps), others(plan.Make(in).Steps)); diff != "" {
			t.Fatalf("a bad file of %s changes others:\n%s", bad, diff)
		}
	})
}

func TestChanges(t *testing.T) {
	t.Parallel()
	from := file("a", func(t *tenant.Tenant) { t.Compute.Scale.Max = 1; t.App.Env = map[string]string{"A": "1", "B": "1"} })
	to := file("a", func(t *tenant.Tenant) {
		t.Compute.Scale.Max = 2
		t.App.Env = map[string]string{"A": "2", "C": "1"}
		t.Domains = []string{"x.example"}
		t.Deletion.Grace = time.Hour
	})
	got := strings.Join(plan.Changes(from, to), " ")
	if want := "app.env.A app.env.B app.env.C compute.scale.max deletion.grace domains"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
