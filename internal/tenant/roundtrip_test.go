package tenant_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// tenants draws any valid tenant.
func tenants(t *rapid.T) *tenant.Tenant {
	text := rapid.StringOf(rapid.RuneFrom([]rune("aZ0 ~#:-\"'{}[]&*!|>%@`\\é✓\n\t,?=yesNo1.e")))
	texts := func(keys string, values *rapid.Generator[string], label string) map[string]string {
		m := rapid.MapOfN(rapid.StringMatching(keys), values, 0, 4).Draw(t, label)
		if len(m) == 0 {
			return nil
		}
		return m
	}
	sharing := rapid.SampledFrom([]tenant.Sharing{tenant.Shared, tenant.Dedicated})
	edge := rapid.SampledFrom([]tenant.Sharing{"", tenant.Dedicated})
	got := &tenant.Tenant{
		Name:    rapid.StringMatching(`[a-z]([a-z0-9-]{0,20}[a-z0-9])?`).Draw(t, "name"),
		Labels:  texts(`[a-z]{1,4}(/[a-z]{1,4})?`, rapid.StringMatching(`([A-Za-z0-9]([a-z0-9._-]{0,9}[a-z0-9])?)?`), "labels"),
		Suspend: rapid.Bool().Draw(t, "suspend"),
		Domains: some(rapid.SliceOfNDistinct(rapid.StringMatching(`([a-z0-9]{1,9}\.){1,3}[a-z]{2,5}`), 0, 3, rapid.ID).Draw(t, "domains")),
		Compute: tenant.Compute{
			CPU: rapid.IntRange(64, 16384).Draw(t, "cpu"), Memory: rapid.IntRange(64, 122880).Draw(t, "memory"),
			IdleAfter: time.Duration(rapid.IntRange(0, 30*24*3600).Draw(t, "idleAfter")) * time.Second,
		},
		Isolation: tenant.Isolation{Compute: sharing.Draw(t, "compute"), Database: sharing.Draw(t, "database"), Cache: sharing.Draw(t, "cache"), Edge: edge.Draw(t, "edge")},
		Database:  tenant.Database{Enabled: rapid.Bool().Draw(t, "db"), Connections: rapid.IntRange(1, 500).Draw(t, "connections")},
		Cache:     tenant.Cache{Enabled: rapid.Bool().Draw(t, "hasCache")},
		Deletion: tenant.Deletion{
			Protect: rapid.Bool().Draw(t, "protect"),
			Grace:   time.Duration(rapid.IntRange(0, 365*24*3600).Draw(t, "grace")) * time.Second,
		},
	}
	got.Compute.Scale.Min = rapid.IntRange(1, 100).Draw(t, "min")
	got.Compute.Scale.Max = rapid.IntRange(got.Compute.Scale.Min, 100).Draw(t, "max")
	got.Compute.Scale.TargetCPU = rapid.IntRange(1, 100).Draw(t, "targetCPU")
	got.App.Env = texts(`E[A-Za-z0-9_]{0,8}`, text, "env")
	got.App.Secrets = some(rapid.SliceOfNDistinct(rapid.StringMatching(`S[A-Z0-9_]{0,8}`), 0, 3, rapid.ID).Draw(t, "secrets"))
	got.App.Health = rapid.StringMatching(`/([a-z0-9._-]{1,5}(/[a-z]{1,3})?)?`).Draw(t, "health")
	switch rapid.IntRange(0, 2).Draw(t, "source") {
	case 0:
		got.App.Path = rapid.StringMatching(`apps(/[A-Za-z0-9_][A-Za-z0-9._-]{0,5}){0,3}`).Draw(t, "path")
	case 1:
		got.App.Git = &tenant.GitSource{
			URL:  rapid.StringMatching(`https://[a-z]{1,5}\.example(:[0-9]{2,4})?/[a-z]{1,5}(\.git)?`).Draw(t, "url"),
			Ref:  rapid.StringMatching(`[a-z0-9]{1,7}(/[a-z0-9]{1,5})?`).Draw(t, "ref"),
			Path: rapid.StringMatching(`([a-z]{1,5}(/[a-z]{1,5})?)?`).Draw(t, "gitPath"),
		}
	case 2:
		got.App.Design = designs(t)
	}
	return got
}

func some(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func designs(t *rapid.T) *tenant.Design {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,9}`), 1, 3, rapid.ID)
	d := &tenant.Design{Title: rapid.StringMatching(`[A-Za-zé :#"'-]{0,20}`).Draw(t, "title")}
	models := names.Draw(t, "models")
	for _, model := range models {
		m := tenant.Model{Name: model}
		for _, name := range names.Filter(func(n []string) bool { return !strings.Contains(strings.Join(n, " "), "id") }).Draw(t, "fields") {
			f := tenant.Field{Name: name, Required: rapid.Bool().Draw(t, "required"), Unique: rapid.Bool().Draw(t, "unique")}
			defaults := map[tenant.FieldType][]any{
				tenant.FieldString: {nil, "", "yes", "x: y", "1"}, tenant.FieldText: {nil, "a\nb"},
				tenant.FieldInt: {nil, 0.0, -1.0, float64(1 << 53)}, tenant.FieldFloat: {nil, 0.5, -1e300, 5e-324},
				tenant.FieldBool: {nil, true, false}, tenant.FieldDate: {nil, "2024-02-29"},
				tenant.FieldTime: {nil, "2024-02-29T01:02:03.5+02:00"}, tenant.FieldUUID: {nil, "6f9619ff-8b86-d011-b42d-00c04fc964ff"},
				tenant.FieldJSON: {nil, "{}", "1"}, tenant.FieldRef: {nil},
			}
			f.Type = rapid.SampledFrom([]tenant.FieldType{
				tenant.FieldString, tenant.FieldText, tenant.FieldInt, tenant.FieldFloat, tenant.FieldBool,
				tenant.FieldDate, tenant.FieldTime, tenant.FieldUUID, tenant.FieldJSON, tenant.FieldRef,
			}).Draw(t, "type")
			f.Default = rapid.SampledFrom(defaults[f.Type]).Draw(t, "default")
			if f.Type == tenant.FieldRef {
				f.Ref = rapid.SampledFrom(models).Draw(t, "ref")
			}
			m.Fields = append(m.Fields, f)
		}
		d.Models = append(d.Models, m)
	}
	return d
}

// write returns files of a tenant, in JSON and in YAML. The model's JSON has
// the file's keys, but for the name and labels, and times in nanoseconds.
func write(tb rapid.TB, t *tenant.Tenant) [][]byte {
	data, err := json.Marshal(t)
	if err != nil {
		tb.Fatalf("marshal: %v", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		tb.Fatalf("unmarshal: %v", err)
	}
	metadata := map[string]any{"name": t.Name}
	if t.Labels != nil {
		metadata["labels"] = t.Labels
	}
	delete(spec, "name")
	delete(spec, "labels")
	spec["compute"].(map[string]any)["idleAfter"] = t.Compute.IdleAfter.String()
	spec["deletion"].(map[string]any)["grace"] = t.Deletion.Grace.String()
	file := map[string]any{"apiVersion": "gitopsd.dev/v1", "kind": "Tenant", "metadata": metadata, "spec": spec}
	asJSON, err := json.Marshal(file)
	if err != nil {
		tb.Fatalf("marshal: %v", err)
	}
	for _, value := range t.App.Env {
		if strings.Contains(value, "\n") { // which yaml.Marshal does not always write so that it comes back
			return [][]byte{asJSON}
		}
	}
	asYAML, err := yaml.Marshal(file)
	if err != nil {
		tb.Fatalf("marshal: %v", err)
	}
	return [][]byte{asJSON, asYAML}
}

func TestAnyTenantComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := tenants(t)
		checkStored(t, want)
		for _, file := range write(t, want) {
			got, problems := tenant.Parse("tenants/"+want.Name+".yaml", file)
			if problems != nil {
				t.Fatalf("%v\n%s", problems, file)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("from the file (-want +got):\n%s\n%s", diff, file)
			}
		}
	})
}
