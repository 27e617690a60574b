package tenant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// minimal is the smallest tenant file.
const minimal = "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: acme}\nspec: {app: {path: apps/acme}}\n"

// mustParse parses the file of the tenant acme.
func mustParse(tb testing.TB, text string) *tenant.Tenant {
	tb.Helper()
	got, problems := tenant.Parse("tenants/acme.yaml", []byte(text))
	if problems != nil {
		tb.Fatalf("Parse: %v\n%s", problems, text)
	}
	return got
}

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	want := &tenant.Tenant{
		Name:      "acme",
		App:       tenant.App{Path: "apps/acme", Health: "/healthz"},
		Compute:   tenant.Compute{CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 1, Max: 1, TargetCPU: 60}},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared},
		Database:  tenant.Database{Enabled: true, Connections: 10},
		Cache:     tenant.Cache{Enabled: true},
		Deletion:  tenant.Deletion{Grace: 168 * time.Hour},
	}
	if diff := cmp.Diff(want, mustParse(t, minimal)); diff != "" {
		t.Errorf("minimal tenant (-want +got):\n%s", diff)
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	field := func(name string, kind tenant.FieldType) tenant.Field { return tenant.Field{Name: name, Type: kind} }
	name, since, active := field("name", "string"), field("since", "date"), field("active", "bool")
	name.Required, since.Default, active.Default = true, "2024-01-31", true
	title, customer := field("title", "string"), field("customer", "ref")
	title.Required, customer.Ref = true, "customer"
	weight, meta := field("weight", "float"), field("meta", "json")
	weight.Default, meta.Default = 1.5, `{"a": [1]}`
	want := &tenant.Tenant{
		Name: "acme", Labels: map[string]string{"plan": "pro"},
		App: tenant.App{
			Design: &tenant.Design{Title: "Acme", Models: []tenant.Model{
				{Name: "customer", Fields: []tenant.Field{name, since, active}},
				{Name: "task", Fields: []tenant.Field{title, customer, weight, meta}},
			}},
			Env: map[string]string{"GREETING": "hello"}, Secrets: []string{"STRIPE_KEY"}, Health: "/healthz",
		},
		Domains: []string{"app.acme.example"},
		Compute: tenant.Compute{
			CPU: 256, Memory: 512, Scale: tenant.Scale{Min: 1, Max: 4, TargetCPU: 60}, IdleAfter: 15 * time.Minute,
		},
		Isolation: tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Dedicated},
		Database:  tenant.Database{Enabled: true, Connections: 10},
		Cache:     tenant.Cache{Enabled: true},
		Deletion:  tenant.Deletion{Grace: 7 * 24 * time.Hour},
	}
	if diff := cmp.Diff(want, mustParse(t, string(acme(t)))); diff != "" {
		t.Errorf("full tenant (-want +got):\n%s", diff)
	}
}

func TestParseKeepsPreviewNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"acme-pr-7": false, "acme-pr-x": true, "acme-pr": true, "pr-7": true, "a-pr-1-b": true} {
		_, problems := tenant.Parse(name+".yaml", []byte(strings.Replace(minimal, "name: acme", "name: "+name, 1)))
		if got := len(problems) == 0; got != ok {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestParseAcceptsOtherWaysToWriteIt(t *testing.T) {
	t.Parallel()
	want := mustParse(t, minimal)
	for name, text := range map[string]string{
		"windows line ends": strings.ReplaceAll(minimal, "\n", "\r\n"),
		"byte order mark":   "\uFEFF" + minimal,
		"document markers":  "---\n" + minimal + "...\n",
		"json":              `{"apiVersion": "gitopsd.dev/v1", "kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"app": {"path": "apps/acme"}}}`,
		"an alias":          "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: &n acme}\nspec: {app: {path: apps/acme}, isolation: &i {}, cache: *i}\n",
		"empty sections":    minimal[:len(minimal)-2] + ", domains: [], compute: {scale: {}}, deletion: {}}\n",
		"whole floats":      minimal[:len(minimal)-2] + ", compute: {cpu: 256.0}}\n",
		"idle never":        minimal[:len(minimal)-2] + ", compute: {idleAfter: 0}}\n",
		"days":              minimal[:len(minimal)-2] + ", deletion: {grace: 6d23h59m60s}}\n",
		"max follows min":   minimal[:len(minimal)-2] + ", compute: {scale: {min: 1}}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(want, mustParse(t, text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseMaxDefaultsToMin(t *testing.T) {
	t.Parallel()
	got := mustParse(t, minimal[:len(minimal)-2]+", compute: {scale: {min: 3}}}\n")
	if s := got.Compute.Scale; s.Min != 3 || s.Max != 3 {
		t.Errorf("scale is %+v, want 3 to 3", s)
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, good, bad string }{
		{"path", "apps/acme _x/a.b a..b", "/apps apps/ a//b . .. a/../b .git .git/x tenants tenants/x ./a a\\b ~/x -x a/-b"},
		{
			"git.url", "https://github.com/a/b.git https://github.com:8443/a/b file:///srv/git/a.git",
			"http://a/b git://a/b ssh://git@github.com/a/b https://user@a/b https://u:p@a/b ssh://u:p@a/b git@a:b ext::sh file://host/a https://a ssh://-oProxyCommand=x/y https://a/b?x=1 /srv/a",
		},
		{"git.ref", "main v1.2.0 feature/x 0123abc refs/heads/main", "-x --upload-pack=x a..b a//b a/ .a HEAD^ a:b @"},
		{"health", "/ /healthz /a/b /a/ /x.y-z", "healthz //a /a?b /a#b /a//b https://a/b"},
		{
			"domain", "a.example xn--bcher-kva.example a-b.c1.example " + strings.Repeat("a", 63) + ".example",
			"a A.example a.example. *.a.example 1.2.3.4 [::1] a_b.example -a.example a-.example a..example a.example:80 a.1 " + strings.Repeat("a", 64) + ".example " + strings.Repeat("a.", 127) + "example",
		},
		{"grace", "0 0s 1s 168h 7d 1d12h 1.5h 365d", "7 -1h h 1w 1h-1m 366d 0.5s 1_000h 99999999999999999999d .5h 1ms 1e3s"},
		{"idle", "0 1s 30d", "31d 0.001s never"},
		{"env", "A _a a1 LD_PRELOAD", "1A A-B A=B PORT DATABASE_URL REDIS_URL REDIS_PREFIX TENANT RELEASE COMMIT TMPDIR HOME PATH é"},
		{"secret", "A _a", "1A A-B PORT PATH"},
		{"label", "plan a/b app.kubernetes.io/name", "-a a- /a é"},
		{"model", "task order_line t2", "Task order-line 2t order__line _a a_ " + strings.Repeat("a", 64)},
		{"field", "name select created", "id created_at updated_at Name a-b"},
	} {
		for good, words := range map[bool]string{true: c.good, false: c.bad} {
			for word := range strings.FieldsSeq(words) {
				_, problems := tenant.Parse("tenants/acme.yaml", []byte(fileWith(c.key, word)))
				if (problems == nil) != good {
					t.Errorf("%s %q: problems %v, want any: %t", c.key, word, problems, !good)
				}
				if !good && strings.Contains(problems.Error(), "u:p") {
					t.Errorf("%s: the problem repeats a password: %v", c.key, problems)
				}
			}
		}
	}
}

// fileWith returns a tenant file with a word in one place.
func fileWith(key, word string) string {
	app, rest := "path: apps/acme", ""
	labels := "{}"
	q := fmt.Sprintf("%q", word)
	switch key {
	case "path":
		app = "path: " + q
	case "git.url":
		app = "git: {ref: main, url: " + q + "}"
	case "git.ref":
		app = "git: {url: 'https://a/b', ref: " + q + "}"
	case "health":
		app += ", health: " + q
	case "env":
		app += ", env: {" + q + ": x}"
	case "secret":
		app += ", secrets: [" + q + "]"
	case "model":
		app = "design: {models: [{name: " + q + ", fields: [{name: a, type: text}]}]}"
	case "field":
		app = "design: {models: [{name: a, fields: [{name: " + q + ", type: text}]}]}"
	case "label":
		labels = "{" + q + ": x}"
	case "domain":
		rest = ", domains: [" + q + "]"
	case "grace":
		rest = ", deletion: {grace: " + q + "}"
	case "idle":
		rest = ", compute: {idleAfter: " + q + "}"
	}
	return fmt.Sprintf("apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: acme, labels: %s}\nspec: {app: {%s}%s}\n", labels, app, rest)
}

func TestParseNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"a": true, "acme-2": true, strings.Repeat("a", tenant.MaxName): true,
		strings.Repeat("a", tenant.MaxName+1): false, "2a": false, "a-": false, "-a": false, "A": false, "a_b": false, "a.b": false, "é": false,
	} {
		text := strings.Replace(minimal, "acme}", `"`+name+`"}`, 1)
		if _, problems := tenant.Parse("tenants/"+name+".yaml", []byte(text)); (problems == nil) != good {
			t.Errorf("name %q: problems %v, want any: %t", name, problems, !good)
		}
	}
	if _, problems := tenant.Parse("tenants/other.yaml", []byte(minimal)); problems == nil {
		t.Error("a name that is not the file's stem was accepted")
	}
}

func TestProblemsAreAnError(t *testing.T) {
	t.Parallel()
	_, problems := tenant.Parse("tenants/acme.yaml", []byte("kind: Tenant\n"))
	var err error = problems
	var got tenant.Problems
	if !errors.As(err, &got) || len(got) != 1 || got[0].Line != 1 || got[0].Column != 1 || got[0].File != "tenants/acme.yaml" {
		t.Errorf("got %+v", got)
	}
}

// FuzzParse checks what holds for any input: an answer, and only one kind of
// it; the same one again; what is accepted survives JSON and keeps its digests.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/problems/*.yaml", "testdata/parse/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		got, problems := tenant.Parse("tenants/acme.yaml", data)
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("took %v", took)
		}
		if (got == nil) == (problems == nil) {
			t.Fatalf("tenant %v and problems %v", got, problems)
		}
		again, problemsAgain := tenant.Parse("tenants/acme.yaml", data)
		if diff := cmp.Diff(got, again) + cmp.Diff(problems, problemsAgain); diff != "" {
			t.Fatalf("parsed twice:\n%s", diff)
		}
		for _, p := range problems {
			if p.Message == "" || p.Line < 0 || strings.ContainsAny(p.String(), "\n\x00\x1b") {
				t.Errorf("problem %+v", p)
			}
		}
		if got != nil {
			checkStored(t, got)
		}
	})
}

// checkStored checks that a tenant comes back from JSON as it was.
func checkStored(t interface{ Fatalf(string, ...any) }, want *tenant.Tenant) {
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	got := new(tenant.Tenant)
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("after JSON (-want +got):\n%s", diff)
	}
	if tenant.InfraDigest(want) != tenant.InfraDigest(got) || tenant.AppDigest(want, "x") != tenant.AppDigest(got, "x") {
		t.Fatalf("the digests of %s moved", data)
	}
}
