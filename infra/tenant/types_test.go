package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/tenant"
)

// TestTypes holds every resource of every variant against the provider's types.
func TestTypes(t *testing.T) {
	t.Parallel()
	dir, err := check.TypesDir()
	switch {
	case err != nil && check.Required():
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	var all []check.Resource
	for _, c := range variants() {
		all = append(all, run(t, c).Resources...)
		r, err := check.Program(tenant.CertificateProgram(c), false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Resources...)
	}
	// What the check is worth: a name, a nested name and a type that are wrong.
	bucket := all[slices.IndexFunc(all, func(r check.Resource) bool { return r.Token == "aws:s3/bucket:Bucket" })]
	planted := func(key string, value resource.PropertyValue) check.Resource {
		p := bucket
		p.Name, p.Inputs = "planted", bucket.Inputs.Copy()
		p.Inputs[resource.PropertyKey(key)] = value
		return p
	}
	wrong := []check.Resource{
		planted("forceDestory", resource.NewProperty(true)),
		planted("versioning", resource.NewProperty(resource.PropertyMap{"enabeld": resource.NewProperty(true)})),
		planted("forceDestroy", resource.NewProperty("yes")),
	}
	found, err := check.Types(t.Context(), dir, append(all, wrong...))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"forceDestory", "enabeld", "'string' is not assignable to type"} {
		i := slices.IndexFunc(found, func(line string) bool { return strings.Contains(line, word) })
		if i < 0 {
			t.Errorf("the planted mistake %q was not found in %q", word, found)
			continue
		}
		found = slices.Delete(found, i, i+1)
		for i < len(found) && strings.HasPrefix(found[i], " ") {
			found = slices.Delete(found, i, i+1)
		}
	}
	for _, line := range found {
		t.Error(line)
	}
	t.Logf("%d resources type-checked", len(all))
}
