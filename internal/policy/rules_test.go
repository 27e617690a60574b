package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// ruled returns a policy of one rule.
func ruled(expect, more string) string {
	quoted, _ := json.Marshal(expect)
	return head + fmt.Sprintf("  rules: [{name: r, expect: %s, message: not met%s}]\n", quoted, more)
}

// TestRules asks rules about one update: memory raised, of a pro tenant with env.
func TestRules(t *testing.T) {
	t.Parallel()
	before := acme(func(t *tenant.Tenant) { t.Labels["plan"] = "pro" })
	after := acme(func(t *tenant.Tenant) {
		t.Labels["plan"], t.Compute.Memory = "pro", 1024
		t.App.Design, t.App.Path = &tenant.Design{Models: []tenant.Model{
			{Name: "task", Fields: []tenant.Field{{Name: "title", Type: tenant.FieldString, Required: true}}},
		}}, ""
	})
	step := plan.Step{
		Tenant: "acme", Operation: plan.Update, Changes: []string{"app.design", "app.path", "compute.memory"},
		Desired: &plan.Desired{Tenant: after}, Applied: &plan.Applied{Tenant: before},
	}
	for expect, want := range map[string]string{
		`tenant.name == "acme" && tenant.name.startsWith("ac")`:                                "",
		`tenant.compute.memory > 1024`:                                                         "not met",
		`tenant.compute.memory <= 2 * applied.compute.memory`:                                  "",
		`tenant.compute.scale.max == tenant.compute.scale.min`:                                 "",
		`tenant.deletion.grace >= duration("168h")`:                                            "",
		`tenant.deletion.grace > duration("200h")`:                                             "not met",
		`tenant.compute.idleAfter == duration("0s")`:                                           "",
		`tenant.isolation.database == "shared"`:                                                "",
		`tenant.isolation.edge == "shared"`:                                                    "",
		`tenant.labels.plan == "pro"`:                                                          "",
		`tenant.labels["plan"] == "pro"`:                                                       "",
		`tenant.labels.tier == ""`:                                                             "",
		`tenant.labels[tenant.labels.plan] == ""`:                                              "",
		`has(tenant.labels.tier)`:                                                              "not met",
		`has(tenant.labels.plan) && "plan" in tenant.labels`:                                   "",
		`tenant.labels.?tier.orValue("none") == "none"`:                                        "",
		`tenant.app.env.GREETING == "hello"`:                                                   "",
		`tenant.app.env.MISSING == ""`:                                                         "",
		`tenant.app.env.all(k, tenant.app.env[k].size() < 100)`:                                "",
		`has(tenant.app.design) && !has(tenant.app.git)`:                                       "",
		`tenant.app.git == null`:                                                               "",
		`tenant.app.git.url == ""`:                                                             "cannot be evaluated: url is read of null",
		`tenant.app.git.?url.orValue("") == ""`:                                                "",
		`tenant.app.path == "" && applied.app.path != ""`:                                      "",
		`tenant.app.design.models.all(m, m.fields.exists(f, f.name == "title" && f.required))`: "",
		`tenant.domains.all(d, d.endsWith(".acme.example"))`:                                   "",
		`tenant.domains.all(d, d.matches("^[a-z]+[.]acme[.]example$"))`:                        "",
		`sets.contains(["STRIPE_KEY"], tenant.app.secrets)`:                                    "",
		`change.operation == "update" && !change.restores`:                                     "",
		`change.fields.exists(f, f == "compute.memory")`:                                       "",
		`!("compute.memory" in change.fields)`:                                                 "not met",
		`tenant.name.split("-").size() == 1 && tenant.name.upperAscii() == "ACME"`:             "",
		`["a", "b"].join(",") == "a,b" && tenant.domains.sort()[0] == "app.acme.example"`:      "",
		`tenant != null && applied != null`:                                                    "",
		`tenant.suspend`:                                                                       "not met",
		`tenant.domains[3] == "x"`:                                                             "cannot be evaluated: index out of bounds: 3",
		`1 / (tenant.compute.cpu - 256) == 1`:                                                  "cannot be evaluated: division by zero",
		`false`:                                                                                "not met",
	} {
		p, problems, err := policy.Load(repository(ruled(expect, "")), plan.DefaultBrake)
		if err != nil || problems != nil {
			t.Errorf("%s: %v %v", expect, problems, err)
			continue
		}
		got := strings.Join(p.Judge(t.Context(), step), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: refused with %q, want %q", expect, got, want)
		}
	}
}

func TestRulesAreAskedAboutTheirSteps(t *testing.T) {
	t.Parallel()
	restored := plan.Step{
		Operation: plan.Provision, Restores: true,
		Desired: &plan.Desired{Tenant: acme(nil)}, Applied: &plan.Applied{Tenant: acme(nil), Deleted: true},
	}
	held := deleted(acme(nil))
	held.Operation = ""
	suspended := added(acme(func(t *tenant.Tenant) { t.Suspend = true }))
	suspended.Operation = ""
	for _, c := range []struct {
		expect, on string
		step       plan.Step
		refused    bool
	}{
		{"false", "", added(acme(nil)), true},
		{"false", "", deleted(acme(nil)), false},
		{"false", "[change]", deleted(acme(nil)), false},
		{"false", "[deletion]", deleted(acme(nil)), true},
		{"false", "[deletion]", added(acme(nil)), false},
		{"false", "[change, deletion]", added(acme(nil)), true},
		{"false", "[change, deletion]", deleted(acme(nil)), true},
		{"false", "[deletion]", held, true},
		{`change.operation != "deprovision"`, "[deletion]", held, true},
		{`tenant == null && change.operation == "deprovision" && applied.name == "acme"`, "[change, deletion]", deleted(acme(nil)), false},
		{`tenant.name != ""`, "[change, deletion]", deleted(acme(nil)), true}, // cannot be evaluated
		{`applied == null && change.operation == "provision"`, "", added(acme(nil)), false},
		{`applied.labels.owner == ""`, "", added(acme(nil)), true}, // cannot be evaluated
		{`applied.?labels.owner.orValue("") == ""`, "", added(acme(nil)), false},
		{`applied.compute.cpu != 1`, "", added(acme(nil)), true}, // cannot be evaluated
		{`applied == null || applied.compute.cpu == 256`, "", added(acme(nil)), false},
		{`!has(applied.name)`, "", added(acme(nil)), false},
		{"change.restores", "", restored, false},
		{`change.operation == "none" && tenant.suspend`, "", suspended, false},
	} {
		more := ""
		if c.on != "" {
			more = ", on: " + c.on
		}
		refusals := load(t, ruled(c.expect, more)).Judge(t.Context(), c.step)
		if (refusals != nil) != c.refused {
			t.Errorf("%s on %q of %s: refused with %q, want any: %t", c.expect, c.on, c.step.Operation, refusals, c.refused)
		}
	}
}

func TestWhenSaysWhetherARuleApplies(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]string{
		"true": "rule r: not met (gitopsd.yaml:4:29)", "false": "",
		`"tenant.domains[9] == ''"`: "rule r cannot be evaluated: index out of bounds: 9 (gitopsd.yaml:4:29)",
	} {
		got := load(t, ruled("false", ", when: "+when)).Judge(t.Context(), added(acme(nil)))
		if strings.Join(got, "; ") != want {
			t.Errorf("when %s: %q, want %q", when, got, want)
		}
	}
}

// TestHostileRules checks that a rule that wants much is refused, early.
func TestHostileRules(t *testing.T) {
	t.Parallel()
	large := acme(func(t *tenant.Tenant) {
		t.App.Path, t.App.Design = "", &tenant.Design{}
		for i := range 100 {
			model := tenant.Model{Name: fmt.Sprint("m", i)}
			for j := range 200 {
				model.Fields = append(model.Fields, tenant.Field{Name: fmt.Sprint("f", j)})
			}
			t.App.Design.Models = append(t.App.Design.Models, model)
			t.App.Secrets = append(t.App.Secrets, fmt.Sprint("SECRET", i))
			t.App.Env[fmt.Sprint("E", i)] = strings.Repeat("x", 2000)
		}
		t.App.Env["BIG"] = strings.Repeat("a", 32<<10)
	})
	const models = "tenant.app.design.models"
	for _, expect := range []string{
		`tenant.app.env.BIG.replace("", tenant.app.env.BIG) != ""`,
		`tenant.app.env.BIG.replace("a", tenant.app.env.BIG).replace("a", tenant.app.env.BIG) != ""`,
		models + ".all(a, " + models + ".all(b, " + models + ".all(c, " + models + ".all(d, a.name != b.name || c.name != d.name || true))))",
		models + ".all(a, a.fields.all(f, " + models + ".all(b, b.fields.all(g, f.name == g.name || true))))",
		`tenant.app.secrets.map(a, tenant.app.secrets.map(b, tenant.app.secrets.map(c, tenant.app.env.BIG).join(a)).join(",")).join() == ""`,
		`lists.range(1000000000).size() > 0`,
		`lists.range(100000).map(x, lists.range(100000)).size() > 0`,
		`"%1000000000d".format([1]) == ""`,
		`"%.1000000000f".format([1.0]) == ""`,
		`tenant.app.env.BIG.matches("(a+)+$") && tenant.app.env.all(k, tenant.app.env.all(j, tenant.app.env[j].matches("(x+x+)+y")))`,
		`tenant.app.env.BIG.matches("((a{1,100}){1,100}){1,100}")`,
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200),
		strings.Repeat("!", 1000) + "true",
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + ".size() == 0",
		"true" + strings.Repeat(" && true", 490),
		`tenant.app.env.BIG.split("").map(a, tenant.app.env.BIG.split("").map(b, a + b)).size() > 0`,
	} {
		start := time.Now()
		p, problems, err := policy.Load(repository(ruled(expect, "")), plan.DefaultBrake)
		if err != nil {
			t.Fatal(err)
		}
		outcome := fmt.Sprint(problems)
		if p != nil {
			outcome = fmt.Sprint(p.Judge(context.Background(), added(large)))
			if outcome == "[]" && !strings.HasPrefix(expect, "true") && !strings.HasPrefix(expect, "!") && !strings.HasPrefix(expect, "(") {
				t.Errorf("%.100s: allowed", expect)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%.100s: took %v", expect, took)
		}
		t.Logf("%v %.60s: %s", time.Since(start).Round(time.Millisecond), expect, outcome)
	}
}

// TestManyCostlyRulesAreBounded checks the bound over all rules of a step.
func TestManyCostlyRulesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(head + "  rules:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "    - {name: r%d, message: m, expect: 'tenant.app.design.models.all(a, tenant.app.design.models.all(b, a.name != b.name || a.fields == b.fields))'}\n", i)
	}
	p := load(t, b.String())
	wide := acme(func(t *tenant.Tenant) {
		t.App.Path, t.App.Design = "", &tenant.Design{}
		for i := range 100 {
			t.App.Design.Models = append(t.App.Design.Models, tenant.Model{Name: fmt.Sprint("m", i)})
		}
	})
	start := time.Now()
	refusals := p.Judge(t.Context(), added(wide))
	if n := len(refusals); n < 80 || n == 100 {
		t.Errorf("%d of 100 rules refuse: %.300q", n, refusals)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if n := len(p.Judge(t.Context(), added(acme(func(t *tenant.Tenant) { t.App.Design = &tenant.Design{} })))); n != 0 {
		t.Errorf("%d rules refuse the next step", n)
	}
}

func TestJudgeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := load(t, ruled("tenant.app.env.all(k, k != '')", ""))
	if refusals := p.Judge(ctx, added(acme(func(t *tenant.Tenant) {
		for i := range 1000 {
			t.App.Env[fmt.Sprint("E", i)] = ""
		}
	}))); len(refusals) != 1 || !strings.Contains(refusals[0], "cannot be evaluated") {
		t.Errorf("%q", refusals)
	}
}
