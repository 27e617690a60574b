package tenant_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// claims reads files of tenants that ask for domains: "acme a.example b.example".
func claims(tb testing.TB, tenants ...string) []tenant.File {
	tb.Helper()
	var files []tenant.File
	for _, words := range tenants {
		name, domains, _ := strings.Cut(words, " ")
		path := "tenants/" + name + ".yaml"
		text := strings.Replace(string(fileOf(name)), "spec: {", "spec: {domains: ["+strings.ReplaceAll(domains, " ", ", ")+"], ", 1)
		f := tenant.LoadFile(fstest.MapFS{path: {Data: []byte(text)}}, path)
		if f.Problems != nil {
			tb.Fatal(f.Problems)
		}
		files = append(files, f)
	}
	return files
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		applied []string
		change  []string
		want    map[string]string // tenant → domains refused
	}{
		{"nobody else", nil, []string{"acme a.example b.example"}, nil},
		{"again", []string{"acme a.example"}, []string{"acme a.example b.example"}, nil},
		{"taken before", []string{"zeta a.example"}, []string{"acme a.example b.example"}, map[string]string{"acme": "a.example"}},
		{"two at once", nil, []string{"bolt a.example", "acme a.example"}, map[string]string{"bolt": "a.example"}},
		{"who has it keeps it", []string{"zeta a.example"}, []string{"acme a.example", "zeta a.example"}, map[string]string{"acme": "a.example"}},
		{"handed over", []string{"zeta a.example"}, []string{"acme a.example", "zeta"}, nil},
		{"swapped", []string{"acme a.example", "bolt b.example"}, []string{"acme b.example", "bolt a.example"}, nil},
		{
			"not handed over after all",
			[]string{"zeta a.example", "other c.example"},
			[]string{"acme a.example", "zeta c.example"},
			map[string]string{"acme": "a.example", "zeta": "c.example"},
		},
		{"own platform host", nil, []string{"acme acme.apps.test www.acme.apps.test"}, nil},
		{"another's platform host", nil, []string{"acme bolt.apps.test x.bolt.apps.test"}, map[string]string{"acme": "bolt.apps.test x.bolt.apps.test"}},
		{"the platform's domain", nil, []string{"acme apps.test"}, map[string]string{"acme": "apps.test"}},
		{"only like the platform's domain", nil, []string{"acme bolt-apps.test bolt.myapps.test"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hosts := tenant.NewHosts("apps.test")
			for _, f := range claims(t, c.applied...) {
				hosts.Set(f.Tenant)
			}
			files := claims(t, c.change...)
			got := map[string]string{}
			for name, problems := range hosts.Check(files) {
				var refused []string
				for _, p := range problems {
					if p.Line != 4 || p.Column < 10 || p.File != "tenants/"+name+".yaml" {
						t.Errorf("problem at %s:%d:%d", p.File, p.Line, p.Column)
					}
					refused = append(refused, strings.Split(p.Message, `"`)[1])
				}
				got[name] = strings.Join(refused, " ")
			}
			if c.want == nil {
				c.want = map[string]string{}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostsProblem(t *testing.T) {
	t.Parallel()
	hosts := tenant.NewHosts("apps.test")
	hosts.Set(claims(t, "bolt a.example")[0].Tenant)
	got := hosts.Check(claims(t, "acme b.example a.example"))["acme"].Error()
	want := `tenants/acme.yaml:4:29: spec.domains[1] is "a.example", which belongs to the tenant bolt ` +
		`(host names below apps.test go by the tenants' names; any other belongs to the tenant that had it first)`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHostsOwner(t *testing.T) {
	t.Parallel()
	hosts := tenant.NewHosts("Apps.test.")
	files := claims(t, "acme a.example b.example", "bolt c.example")
	hosts.Set(files[0].Tenant)
	hosts.Set(files[1].Tenant)
	plan := hosts.Clone()
	plan.Set(claims(t, "acme b.example c.example")[0].Tenant) // c stays bolt's
	plan.Remove("nobody")
	for _, c := range []struct {
		table      *tenant.Hosts
		host, want string
	}{
		{hosts, "a.example", "acme"},
		{hosts, "b.example", "acme"},
		{plan, "a.example", ""},
		{plan, "b.example", "acme"},
		{plan, "c.example", "bolt"},
		{plan, "acme.apps.test", "acme"},
		{plan, "x.y.apps.test", "y"},
		{plan, "apps.test", ""},
	} {
		if got, ok := c.table.Owner(c.host); got != c.want || ok != (c.want != "") {
			t.Errorf("Owner(%s) = %q, %t, want %q", c.host, got, ok, c.want)
		}
	}
	plan.Remove("bolt")
	if got, ok := plan.Owner("c.example"); ok {
		t.Errorf("after Remove, c.example is %q's", got)
	}
}

func BenchmarkHostsCheck(b *testing.B) {
	hosts := tenant.NewHosts("apps.test")
	for i := range 10_000 {
		hosts.Set(&tenant.Tenant{Name: fmt.Sprintf("t%d", i), Domains: []string{fmt.Sprintf("t%d.example", i)}})
	}
	change := claims(b, "acme a.example t5.example")
	for b.Loop() {
		if len(hosts.Check(change)) != 1 {
			b.Fatal("the conflict was not found")
		}
	}
}
