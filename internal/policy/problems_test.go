package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
)

func problemsOf(t *testing.T, files fstest.MapFS) []string {
	t.Helper()
	p, problems, err := policy.Load(files, plan.DefaultBrake)
	if err != nil {
		t.Fatal(err)
	}
	if (p == nil) == (len(problems) == 0) {
		t.Errorf("policy %v with problems %v", p, problems)
	}
	var lines []string
	for _, problem := range problems {
		lines = append(lines, strings.TrimPrefix(problem.String(), "gitopsd.yaml:"))
	}
	return lines
}

func TestProblems(t *testing.T) {
	t.Parallel()
	const noKeys = "4:16: signatures are required, but no key is listed: no commit could meet that (list the keys in spec.signatures.keys)"
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"", "1:1: the file is empty (begin with apiVersion: gitopsd.dev/v1 and kind: Policy)"},
		"another kind":   {"apiVersion: gitopsd.dev/v1\nkind: Tenant\nspec: {}\n", `2:7: kind is "Tenant" (must be Policy)`},
		"two documents":  {head + "  branch: main\n---\n" + head, "5:1: a second document begins here (a file describes one policy; put the second one into a file of its own)"},
		"unknown key":    {head + "  aprovers: [ann]\n", `4:3: unknown key "aprovers" in spec (did you mean "approvers"?)`},
		"misplaced key":  {head + "  cpu: 3\n", `4:3: unknown key "cpu" in spec ("cpu" belongs in spec.allow.compute)`},
		"a brake":        {head + "  brake: {percent: 101}\n", "4:20: spec.brake.percent is 101 (must be at most 100)"},
		"an at":          {head + "  approvers: ['@ann']\n", `4:15: spec.approvers[0] is "@ann" (must be a login of the forge, without @, such as ann)`},
		"a source":       {head + "  allow: {sources: [docker.io/x]}\n", `4:21: spec.allow.sources[0] is "docker.io/x" (must be design, path:apps/** or git:https://host/owner/**)`},
		"an isolation":   {head + "  allow: {isolation: [share]}\n", `4:23: spec.allow.isolation[0] is "share" (did you mean "shared"? it must be shared or dedicated)`},
		"long previews":  {head + "  preview: {maxAge: 31d}\n", `4:21: spec.preview.maxAge is "31d" (at most 30d)`},
		"short previews": {head + "  preview: {maxAge: 0s}\n", `4:21: spec.preview.maxAge is "0s" (at least 1m; max: 0 allows no preview at all)`},
		"a seed":         {head + "  preview: {seed: ../x.sql}\n", `4:19: spec.preview.seed is "../x.sql" (must be a clean path below the app's source that ends in .sql, such as seed.sql)`},
		"no keys":        {head + "  signatures: {required: true}\n", strings.Replace(noKeys, "4:16", "4:26", 1)},
		"a key without":  {head + "  signatures: {keys: [{name: ann}]}\n", "4:23: spec.signatures.keys[0] has no key or file (write exactly one of key and file)"},
		"two keys in one": {
			head + "  signatures: {keys: [{name: ann, key: x, file: y}]}\n",
			"4:43: spec.signatures.keys[0] has key and file (keep exactly one of key and file)",
		},
		"no key": {
			head + "  signatures: {keys: [{name: ann, key: hello}]}\n",
			"4:40: the key of ann cannot be read (write an SSH public key as in ~/.ssh/id_ed25519.pub, or an armored OpenPGP key)",
		},
		"a missing key file": {
			head + "  signatures: {keys: [{name: ann, file: keys/ann.pub}]}\n",
			"4:41: keys/ann.pub does not exist (name the file of a public key in this repository)",
		},
		"a rule's name": {head + "  rules: [{name: A, expect: 'true', message: m}]\n", `4:18: spec.rules[0].name is "A" (must be lower-case letters, digits and dashes, such as pro-is-protected)`},
		"rules of one name": {
			head + "  rules:\n  - {name: a, expect: 'true', message: m}\n  - {name: a, expect: 'true', message: m}\n",
			`6:12: a second rule is called "a" (the first one is in line 5)`,
		},
		"syntax of a rule": {
			head + "  rules:\n  - name: a\n    expect: tenant.name ==\n    message: m\n",
			"6:27: spec.rules[0].expect: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
		},
		"a variable that is none": {
			head + "  rules:\n  - name: a\n    expect: tenant.name == tennant.name\n    message: m\n",
			"6:28: spec.rules[0].expect: undeclared reference to 'tennant'",
		},
		"a field that is none": {
			head + "  rules:\n  - name: a\n    expect: \"tenant.deletion.protct\"\n    message: m\n",
			"6:29: spec.rules[0].expect: undefined field 'protct'",
		},
		"in a block": {
			head + "  rules:\n  - name: a\n    expect: |\n      tenant.suspend ||\n        tenant.deletion.grace > 5\n    message: m\n",
			"8:31: spec.rules[0].expect: found no matching overload for '_>_' applied to '(duration, int)'",
		},
		"in folded lines": {
			head + "  rules:\n  - name: a\n    expect: >\n      tenant.suspend ||\n      tenant.suspended\n    message: m\n",
			"6:13: spec.rules[0].expect: undefined field 'suspended'",
		},
		"no bool": {
			head + "  rules:\n  - {name: a, when: tenant.name, expect: 'true', message: m}\n",
			"5:21: spec.rules[0].when: it is a string, but must be a bool",
		},
		"a rule that sleeps": {
			head + "  rules:\n  - {name: a, when: change.operation == 'deprovision', expect: 'false', message: m}\n",
			"5:41: spec.rules[0].when: it speaks of deprovision, but is not asked about deletions (add on: [deletion])",
		},
		"a rule on nothing": {
			head + "  rules:\n  - {name: a, on: [deletion], expect: tenant.deletion.protect, message: m}\n",
			"5:45: spec.rules[0].expect: tenant is null on a deletion (read applied, which is what the tenant was)",
		},
		"a regular expression": {
			head + "  rules:\n  - {name: a, expect: 'tenant.name.matches(\"(\")', message: m}\n",
			"5:44: spec.rules[0].expect: invalid matches argument",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, strings.Join(problemsOf(t, repository(c.text)), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	t.Parallel()
	got := problemsOf(t, repository(head+"  brnch: main\n  brake: {tenants: -1}\n  preview: {max: many}\n"))
	if len(got) != 3 {
		t.Errorf("%q", got)
	}
	got = problemsOf(t, repository(head+"  signatures: {required: true}\n  rules:\n  - {name: a, expect: x, message: m}\n  - {name: a, expect: y, message: m}\n"))
	if len(got) != 4 {
		t.Errorf("%q", got)
	}
}

func TestOnlyAFileIsAPolicy(t *testing.T) {
	t.Parallel()
	link, dir := repository(full), fstest.MapFS{"gitopsd.yaml/x": {}}
	link["gitopsd.yaml"] = &fstest.MapFile{Mode: 0o777 | 1<<27, Data: []byte("real.yaml")} // fs.ModeSymlink
	link["real.yaml"] = &fstest.MapFile{Data: []byte(full)}
	for name, files := range map[string]fstest.MapFS{
		"symbolic link": link, "regular file": dir,
		"symbolic link, which": {
			"gitopsd.yaml":    {Data: []byte(head + "  signatures: {keys: [{name: ann, file: keys/ann.pub}]}\n")},
			"keys":            {Mode: 0o777 | 1<<27, Data: []byte("secrets")},
			"secrets/ann.pub": {Data: []byte("x")},
		},
	} {
		got := problemsOf(t, files)
		if len(got) != 1 || !strings.Contains(got[0], name) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	bomb := "apiVersion: gitopsd.dev/v1\nkind: Policy\na: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += strings.NewReplacer("B", string(c), "A", string(c-1)).Replace("B: &B [*A,*A,*A,*A,*A,*A,*A,*A,*A,*A]\n")
	}
	for name, text := range map[string]string{
		"large":   head + "  branch: main # " + strings.Repeat("x", 300<<10),
		"deep":    head + "  approvers: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"aliases": bomb,
		"loop":    head + "  approvers: &a [*a]\n",
		"bytes":   head + "  branch: \"\xff\"\n",
		"control": head + "  branch: \"a\\u0000\"\n",
		"tag":     head + "  branch: !!binary aGVsbG8=\n",
	} {
		start := time.Now()
		if got := problemsOf(t, repository(text)); len(got) == 0 {
			t.Errorf("%s: no problem", name)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// FuzzLoad checks what holds for any input: an answer, soon, and only one kind of
// it; the same one again; and that what is accepted judges.
func FuzzLoad(f *testing.F) {
	f.Add(full, "")
	f.Add(listing("ann", "ssh-ed25519 AAAA"), "")
	f.Add(head+"  preview: {maxAge: 1d}\n  allow: {sources: [\"git:https://*.example/**\"]}\n", "")
	f.Add("", "tenant.labels[tenant.app.env.X].contains('a')")
	f.Add("", `tenant.domains.exists(d, d.matches("^a+$")) || has(applied.app.git) && change.fields.map(f, f + "x").join(",") == "a"`)
	f.Add("", `tenant.app.?design.models.orValue([]).all(m, sets.contains(["a"], m.fields.map(f, f.name).sort())) || "%s".format([1]) == ""`)
	f.Fuzz(func(t *testing.T, text, expect string) {
		if text == "" {
			text = ruled(expect, ", on: [change, deletion]")
		}
		start := time.Now()
		p, problems, err := policy.Load(repository(text), plan.DefaultBrake)
		if err != nil || (p == nil) == (len(problems) == 0) {
			t.Fatalf("policy %v, problems %v, error %v", p, problems, err)
		}
		for _, problem := range problems {
			if problem.Line < 1 || problem.Column < 1 || strings.ContainsAny(problem.String(), "\n\x00\x1b") {
				t.Errorf("problem %+v", problem)
			}
		}
		_, again, _ := policy.Load(repository(text), plan.DefaultBrake)
		if diff := cmp.Diff(problems, again); diff != "" {
			t.Errorf("read twice:\n%s", diff)
		}
		if p != nil {
			first, second := p.Judge(t.Context(), added(acme(nil))), p.Judge(t.Context(), added(acme(nil)))
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("judged twice:\n%s", diff)
			}
			p.Judge(t.Context(), deleted(acme(nil)))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
