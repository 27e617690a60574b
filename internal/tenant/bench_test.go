package tenant_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"testing/fstest"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// acme returns a tenant file that uses every section.
func acme(tb testing.TB) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/parse/acme.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func BenchmarkParse(b *testing.B) {
	full := acme(b)
	small := []byte("apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: acme}\nspec:\n  app: {path: apps/acme, env: {GREETING: hello}}\n  domains: [app.acme.example]\n")
	for _, c := range []struct {
		name string
		data []byte
	}{{"full", full}, {"small", small}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.data)))
			for b.Loop() {
				if _, problems := tenant.Parse("tenants/acme.yaml", c.data); problems != nil {
					b.Fatal(problems)
				}
			}
		})
	}
}

func BenchmarkLoad10000(b *testing.B) {
	fsys := fstest.MapFS{}
	full := acme(b)
	for i := range 10_000 {
		name := fmt.Sprintf("t%05d", i)
		fsys["tenants/"+name+".yaml"] = &fstest.MapFile{Data: bytes.Replace(full, []byte("name: acme"), []byte("name: "+name), 1)}
	}
	b.ReportAllocs()
	for b.Loop() {
		set, err := tenant.Load(fsys, "tenants")
		if err != nil || len(set.Files) != 10_000 {
			b.Fatalf("%v", err)
		}
		for _, f := range set.Files {
			if f.Problems != nil {
				b.Fatal(f.Problems)
			}
		}
	}
}
