package tenant_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

func digests(t *tenant.Tenant, source string) [2]string {
	return [2]string{tenant.InfraDigest(t), tenant.AppDigest(t, source)}
}

func TestDigestsIgnoreHowItIsWritten(t *testing.T) {
	t.Parallel()
	want := digests(mustParse(t, minimal), "")
	for name, text := range map[string]string{
		"comments and blocks": "# c\nkind: Tenant # c\n\napiVersion: 'gitopsd.dev/v1'\nspec:\n  # c\n  app:\n    path: \"apps/acme\"\nmetadata:\n  name: acme\n",
		"defaults spelled out": `{apiVersion: gitopsd.dev/v1, kind: Tenant, metadata: {labels: {}, name: acme}, spec: {
			suspend: false, app: {path: apps/acme, env: {}, secrets: [], health: /healthz}, domains: [],
			compute: {cpu: 256, memory: 512, scale: {targetCPU: 60, max: 1, min: 1}, idleAfter: "0"},
			isolation: {compute: shared, database: shared, cache: shared, edge: shared}, database: {enabled: true, connections: 10},
			cache: {enabled: true}, deletion: {protect: false, grace: 7d}}}`,
	} {
		if got := digests(mustParse(t, text), ""); got != want {
			t.Errorf("%s: digests %v, want %v", name, got, want)
		}
	}
	a := mustParse(t, strings.Replace(minimal, "path: apps/acme", "path: apps/acme, env: {A: x, B: y}", 1))
	b := mustParse(t, strings.Replace(minimal, "path: apps/acme", "env: {B: y, A: x}, path: apps/acme", 1))
	if digests(a, "") != digests(b, "") {
		t.Error("the order of env moves a digest")
	}
}

// The ledger keeps digests: if these move, every tenant is updated and built
// anew after an upgrade.
func TestDigestsStayAcrossVersions(t *testing.T) {
	t.Parallel()
	got := digests(mustParse(t, string(acme(t))), "source")
	want := [2]string{
		"7a7c2d5c0989b679c7ba2d21d246c56c51d87ba418cd66c6267f624787f87d3b",
		"c8c6d0e299d79bf7ae8ea33fcc75f2250c5a4b69c0be2e66eb75df989458beeb",
	}
	if got != want {
		t.Errorf("digests moved: %q", got)
	}
}

func TestDigestsOfTheSource(t *testing.T) {
	t.Parallel()
	acme := mustParse(t, minimal)
	if tenant.AppDigest(acme, "a") == tenant.AppDigest(acme, "b") {
		t.Error("another source, but the same app digest")
	}
	if d := tenant.AppDigest(acme, ""); d == tenant.InfraDigest(acme) || len(d) != 64 {
		t.Errorf("app digest %s", d)
	}
}

// TestEachFieldMovesOneDigest changes every field of the model in turn, found
// by reflection, so that a new field cannot be forgotten.
func TestEachFieldMovesOneDigest(t *testing.T) {
	t.Parallel()
	base := func() *tenant.Tenant {
		return &tenant.Tenant{App: tenant.App{Git: &tenant.GitSource{}, Design: &tenant.Design{
			Models: []tenant.Model{{Fields: []tenant.Field{{}}}},
		}}}
	}
	before := digests(base(), "")
	var fields int
	var visit func(path string, find func(*tenant.Tenant) reflect.Value)
	visit = func(path string, find func(*tenant.Tenant) reflect.Value) {
		v := find(base())
		switch {
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				visit(path+"."+v.Type().Field(i).Name, func(t *tenant.Tenant) reflect.Value { return find(t).Field(i) })
			}
			return
		case v.Kind() == reflect.Pointer:
			visit(path, func(t *tenant.Tenant) reflect.Value { return find(t).Elem() })
			return
		case v.Kind() == reflect.Slice && v.Len() > 0:
			visit(path+"[0]", func(t *tenant.Tenant) reflect.Value { return find(t).Index(0) })
		}
		fields++
		changed := base()
		change(t, path, find(changed))
		after := digests(changed, "")
		isApp := strings.HasPrefix(path, ".App.")
		if moved := [2]bool{before[0] != after[0], before[1] != after[1]}; moved != [2]bool{!isApp, isApp} {
			t.Errorf("%s: infra and app digest moved: %v", path, moved)
		}
	}
	visit("", func(t *tenant.Tenant) reflect.Value { return reflect.ValueOf(t).Elem() })
	if fields < 30 {
		t.Errorf("only %d fields found", fields)
	}
}

func change(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("changed")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Hour))
	case reflect.Interface:
		v.Set(reflect.ValueOf("changed"))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"changed": "x"}))
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	default:
		t.Fatalf("%s: no value of %s to change it to", path, v.Type())
	}
}
