package tenant_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// fileOf returns the smallest file of a tenant.
func fileOf(name string) []byte {
	return []byte(strings.Replace(minimal, "name: acme", "name: "+name, 1))
}

// summary says of each file whether it has a tenant, or its first problem.
func summary(files []tenant.File) map[string]string {
	got := make(map[string]string)
	for _, f := range files {
		switch {
		case f.Tenant != nil && f.Problems == nil && f.Tenant.Name == f.Name:
			got[f.Path] = "ok"
		case f.Tenant == nil && len(f.Problems) > 0:
			got[f.Path] = f.Problems[0].String()
		default:
			got[f.Path] = "neither a tenant nor problems, or both"
		}
	}
	return got
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, "tenants", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("acme.yaml", fileOf("acme"))
	write("bolt.yml", fileOf("bolt"))
	write("twin.yaml", fileOf("twin"))
	write("twin.yml", fileOf("twin"))
	write("bad.yaml", []byte("a: [\n"))
	write("huge.yaml", []byte(strings.Repeat("#\n", tenant.MaxFile)))
	write("eu/nested.yaml", fileOf("nested"))
	write("dir.yaml/x", nil)
	write(".hidden.yaml", fileOf("hidden"))
	write(".yaml", nil)
	write("README.md", nil)
	write("notes.txt", nil)
	write("acme.yaml~", nil)
	if err := os.Symlink("acme.yaml", filepath.Join(dir, "tenants", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	fsys := os.DirFS(dir)
	set, err := tenant.Load(fsys, "tenants")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"tenants/acme.yaml": "ok",
		"tenants/bolt.yml":  "ok",
		"tenants/bad.yaml":  "tenants/bad.yaml:1:1: a list or mapping in brackets breaks off here (write the value, or close the bracket)",
		"tenants/huge.yaml": "tenants/huge.yaml: the file is larger than 256 KiB (no tenant file needs to be)",
		"tenants/link.yaml": "tenants/link.yaml: is a symbolic link, which is not followed (commit the file itself)",
		"tenants/twin.yaml": "tenants/twin.yaml: twin.yml describes the same tenant (keep one of the two)",
		"tenants/twin.yml":  "tenants/twin.yml: twin.yaml describes the same tenant (keep one of the two)",
	}
	if diff := cmp.Diff(want, summary(set.Files)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"tenants/acme.yaml~", "tenants/dir.yaml", "tenants/eu", "tenants/notes.txt"}, set.Ignored); diff != "" {
		t.Errorf("ignored (-want +got):\n%s", diff)
	}
	for _, f := range set.Files {
		one := tenant.LoadFile(fsys, f.Path)
		if diff := cmp.Diff([]tenant.File{f}, []tenant.File{one}, cmp.FilterPath(
			func(p cmp.Path) bool { return p.Last().String() == ".domains" }, cmp.Ignore())); diff != "" {
			t.Errorf("LoadFile (-in set +alone):\n%s", diff)
		}
	}
	gone := tenant.LoadFile(fsys, "tenants/gone.yaml")
	if len(gone.Problems) != 1 || gone.Name != "gone" || !strings.Contains(gone.Problems[0].Message, "not exist") {
		t.Errorf("a file that is not there: %+v", gone)
	}
}

func TestLoadFailsRatherThanListNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := tenant.Load(os.DirFS(dir), "tenants")
	if !errors.Is(err, fs.ErrNotExist) || !fault.Is(err, fault.NotFound) {
		t.Errorf("missing directory: %v", err)
	}
	for _, name := range []string{"link", "file"} {
		if set, err := tenant.Load(os.DirFS(dir), name); err == nil {
			t.Errorf("%s was listed as %+v", name, set)
		}
	}
}

// brokenFS is a file system of which one file cannot be read.
type brokenFS struct{ fstest.MapFS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "tenants/bolt.yaml" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("object is corrupt")}
	}
	return b.MapFS.Open(name)
}

func TestLoadKeepsOneUnreadableFileApart(t *testing.T) {
	t.Parallel()
	set, err := tenant.Load(brokenFS{fstest.MapFS{
		"tenants/acme.yaml": {Data: fileOf("acme")},
		"tenants/bolt.yaml": {Data: fileOf("bolt")},
	}}, "tenants")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"tenants/acme.yaml": "ok",
		"tenants/bolt.yaml": "tenants/bolt.yaml: cannot be read: object is corrupt",
	}
	if diff := cmp.Diff(want, summary(set.Files)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIsFile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"acme.yaml": true, "acme.yml": true, ".yaml": false, ".acme.yaml": false, "acme.YAML": false, "acme.yaml.bak": false, "acme": false,
	} {
		if got := tenant.IsFile(name); got != want {
			t.Errorf("IsFile(%q) = %t", name, got)
		}
	}
}
