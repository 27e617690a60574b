package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/gitopsd/gitopsd/internal/build/design"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const root = "../.."

func example(t testing.TB, name string) *tenant.Tenant {
	t.Helper()
	path := filepath.Join("tenants", name+".yaml")
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	parsed, problems := tenant.Parse(path, b)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return parsed
}

// What examples and generated apps need is what this module needs, so that it
// is in the module cache of whoever built this program.
func TestVersionsAreThisModules(t *testing.T) {
	t.Parallel()
	read := func(name string, b []byte) *modfile.File {
		f, err := modfile.Parse(name, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	own := map[string]string{}
	for _, r := range read("go.mod", file("go.mod")).Require {
		own[r.Mod.Path] = r.Mod.Version
	}
	sums := string(file("go.sum"))
	generated, err := design.Generate(example(t, "tasks").App.Design)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{
		"apps/guestbook/go.mod": file("apps/guestbook/go.mod"), "apps/guestbook/go.sum": file("apps/guestbook/go.sum"),
	}
	for _, f := range generated {
		if strings.HasPrefix(f.Path, "go.") {
			all["generated "+f.Path] = f.Data
		}
	}
	if len(all) != 4 {
		t.Fatalf("%d files to look at, want 4", len(all))
	}
	for name, b := range all {
		if strings.HasSuffix(name, "go.mod") {
			for _, r := range read(name, b).Require {
				if own[r.Mod.Path] != r.Mod.Version {
					t.Errorf("%s: %s, but this module has %q", name, r.Mod, own[r.Mod.Path])
				}
			}
			continue
		}
		for line := range strings.Lines(string(b)) {
			// Modules that only tests of dependencies need have no h1 of content here.
			if path, _, _ := strings.Cut(line, " "); own[path] != "" && !strings.Contains(sums, line) && strings.Contains(line, own[path]) {
				t.Errorf("%s: %q is not in this module's go.sum", name, line)
			}
		}
	}
}
