package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each kind of bad input gets a clear message; the tenant's previous release
// goes on serving and other tenants are not touched.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	w.probe("apps/one")
	w.probe("apps/two")
	w.tenant("one", "apps/one")
	w.tenant("two", "apps/two")
	commit := w.commit("Add one and two")
	w.start()
	w.done(commit)

	good := tenantFile("one", "apps/one")
	for _, c := range []struct {
		name string
		do   func()
		undo func()
		want []string // in what wait and status say
	}{
		{"yaml error", func() { w.write("tenants/one.yaml", "a: [\n") }, nil, []string{"tenants/one.yaml:"}},
		{"unknown key", func() { w.write("tenants/one.yaml", good+"  databse: {enabled: true}\n") }, nil, []string{"tenants/one.yaml:9:3", "databse", "database"}},
		{"wrong type", func() { w.write("tenants/one.yaml", good+"  compute: {cpu: lots}\n") }, nil, []string{"tenants/one.yaml:9:18", "cpu"}},
		{"two files for one name", func() { w.write("tenants/one.yml", good) }, func() { w.remove("tenants/one.yml") }, []string{"one.yml"}},
		{"symlink", func() {
			w.remove("tenants/one.yaml")
			w.must(os.Symlink("two.yaml", filepath.Join(w.repo, "tenants/one.yaml")))
		}, func() { w.remove("tenants/one.yaml") }, []string{"symbolic link"}},
		{"large file", func() { w.write("tenants/one.yaml", good+strings.Repeat("# "+strings.Repeat("x", 1022)+"\n", 10*1024)) }, nil, []string{"tenants/one.yaml", "KiB"}},
		{"no such path", func() { w.write("tenants/one.yaml", tenantFile("one", "apps/none")) }, nil, []string{"apps/none"}},
		{
			"does not compile", func() { w.write("apps/one/broken.go", "package main\n\nfunc f() int { return \"x\" }\n") },
			func() { w.remove("apps/one/broken.go") },
			[]string{"broken.go:3:23"},
		},
		{
			"migration fails", func() { w.write("apps/one/migrations/002_bad.sql", "-- +goose Up\nALTER TABLE nope ADD x int;\n") },
			func() { w.remove("apps/one/migrations/002_bad.sql") },
			[]string{"002_bad.sql", "nope"},
		},
		{
			"crashes at start", func() {
				w.write("tenants/one.yaml", strings.Replace(good, "path: apps/one", "path: apps/one\n    env: {FAULT: crash}", 1))
			},
			nil,
			[]string{"this release crashes at start", "failed in AwaitHealthy"},
		},
		{
			"never healthy", func() {
				w.write("tenants/one.yaml", strings.Replace(good, "path: apps/one", "path: apps/one\n    env: {FAULT: unhealthy}", 1))
			}, nil, []string{"/healthz", "500 Internal Server Error"},
		},
		{
			"missing secret", func() {
				w.write("tenants/one.yaml", strings.Replace(good, "path: apps/one", "path: apps/one\n    secrets: [STRIPE_KEY]", 1))
			}, nil, []string{"STRIPE_KEY", "gitopsd secret set one STRIPE_KEY"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.do()
			w.tenant("two", "apps/two", "  # "+c.name+"\n") // the same commit touches a good tenant
			bad := w.commit("Bad: " + c.name)
			text, code := w.wait(bad)
			if code != 1 {
				t.Fatalf("wait ended with %d, want 1:\n%s", code, text)
			}
			status, _, _ := w.cli("status", bad)
			for _, want := range c.want {
				if !strings.Contains(text+status, want) {
					t.Errorf("nothing says %q:\n%s\n%s", want, text, status)
				}
			}
			w.equal("version of one", w.get("one", "/version"), "v1")
			w.equal("version of two", w.get("two", "/version"), "v1")
			w.oneTerminalStatus(bad)
			if c.undo != nil {
				c.undo()
			}
			w.write("tenants/one.yaml", good)
			w.done(w.commit("Mend: " + c.name))
			w.equal("version of one after the mend", w.get("one", "/version"), "v1")
		})
	}

	t.Run("all tenants deleted", func(t *testing.T) {
		w.git("rm", "-rq", "tenants")
		empty := w.commit("Delete everything")
		text, code := w.wait(empty)
		if code != 3 || !strings.Contains(text, "gitopsd approve") {
			t.Errorf("wait ended with %d, want 3 and a word on approving:\n%s", code, text)
		}
		w.equal("version of one", w.get("one", "/version"), "v1")
		w.git("revert", "--no-edit", "HEAD")
		w.done(w.git("rev-parse", "HEAD"))
	})
	t.Run("history rewritten", func(t *testing.T) {
		w.git("reset", "-q", "--hard", "HEAD~2")
		w.version("apps/one", "rewritten")
		rewritten := w.commit("Another history")
		text, code := w.wait(rewritten)
		if code != 3 || !strings.Contains(text, "rewritten") {
			t.Errorf("wait ended with %d, want 3 and why:\n%s", code, text)
		}
		w.equal("version of one", w.get("one", "/version"), "v1")
		if _, errs, code := w.cli("approve", rewritten); code != 0 {
			t.Fatalf("approve: %s", errs)
		}
		w.done(rewritten)
		w.equal("version of one, approved", w.get("one", "/version"), "rewritten")
	})
}
