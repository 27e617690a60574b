// Package archtest holds the rules of who may import whom, as data, and checks
// the whole module against them. docs/ARCHITECTURE.md says what they are for.
package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gitopsd/gitopsd"

// core are the packages that decide. They know no technology, so that each
// decision can be tested without one and means the same on every platform.
var core = []string{
	"internal/fault", "internal/tenant", "internal/plan", "internal/release", "internal/platform", "internal/pipeline", "internal/sync", "internal/review",
	"schema",
}

// coreModules are the modules that the core may use, directly or not.
var coreModules = map[string]string{
	"gopkg.in/yaml.v3":                         "tenant files are YAML",
	"github.com/santhosh-tekuri/jsonschema/v6": "tenant files have a JSON Schema",
	"golang.org/x/text":                        "jsonschema words its errors with it",
	"golang.org/x/sync":                        "errgroup",
}

// adapters each know one technology and the core, but not each other: what
// connects them is cmd/gitopsd. A package belongs to the longest name that is
// its own or above it.
var adapters = []string{
	"internal/agent", "internal/build", "internal/console", "internal/edge", "internal/git", "internal/github",
	"internal/pipeline/asl", "internal/pipeline/dbosrun", "internal/pipeline/sfnrun",
	"internal/platform/aws", "internal/platform/local", "internal/platform/platformtest",
	"internal/platform/snapshot", "internal/platform/tenantdb", "internal/platform/tenantkeys",
	"internal/policy", "internal/postgres", "internal/telemetry",
	"infra",
}

// exceptions are what an adapter imports beside the core, and why.
var exceptions = map[string]map[string]string{
	"internal/edge": {"infra": "it runs the very functions that the CDN runs"},
	"internal/platform/aws": {
		"infra":                        "its programs describe what the driver makes",
		"internal/platform/snapshot":   "what is in a snapshot is the same wherever it is kept",
		"internal/platform/tenantdb":   "a tenant's database is the same in every Postgres",
		"internal/platform/tenantkeys": "a tenant's keys are the same in every Redis",
	},
	"internal/platform/snapshot": {
		"internal/platform/tenantdb":   "it saves databases, and has them back",
		"internal/platform/tenantkeys": "it saves keys, and has them back",
	},
	"internal/platform/local": {
		"internal/platform/snapshot":   "what is in a snapshot is the same wherever it is kept",
		"internal/platform/tenantdb":   "a tenant's database is the same in every Postgres",
		"internal/platform/tenantkeys": "a tenant's keys are the same in every Redis",
	},
}

// free are the packages without a rule: they put the others together, or play
// with them from outside.
var free = []string{"cmd/gitopsd", "internal/archtest", "internal/e2e", "internal/iamtest", "internal/platform/aws/awstest", "scripts"}

// agent may use nothing else, so that an idle tenant costs a few megabytes.
var agent = []string{"cmd/gitopsd-agent", "internal/agent", "internal/release"}

// pkg is a package as go list shows it.
type pkg struct {
	ImportPath string
	Standard   bool
	Module     *struct{ Path string }
	Imports    []string
	Deps       []string
}

// list returns every package of the module and all they need, by path.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	look(t)
	c := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Module,Imports,Deps", "./...")
	c.Dir = "../.."
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &errs)
	}
	all := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// look touches every source file, so that go test knows that the result hangs on
// them, and does not repeat an old one after they changed.
func look(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "bin" || name == "node_modules" || name == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"):
			_, err = os.Stat(path)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ours returns the part of an import path below the module.
func ours(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

// in reports whether a package is the named one or below it.
func in(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// home returns the longest of all names that the package belongs to.
func home(name string) string {
	best := ""
	for _, dir := range slices.Concat(core, adapters, free, []string{"cmd/gitopsd-agent"}) {
		if in(name, dir) && len(dir) > len(best) {
			best = dir
		}
	}
	return best
}

func TestEveryPackageHasARule(t *testing.T) {
	t.Parallel()
	for path := range list(t) {
		if name, ok := ours(path); ok && home(name) == "" {
			t.Errorf("%s is in no rule: is it core or an adapter?", name)
		}
	}
}

func TestCoreKnowsNoTechnology(t *testing.T) {
	t.Parallel()
	all := list(t)
	for path, p := range all {
		name, ok := ours(path)
		if !ok || !slices.Contains(core, home(name)) {
			continue
		}
		for _, dep := range p.Deps {
			d, known := all[dep]
			switch own, isOurs := ours(dep); {
			case !known || d.Standard:
			case isOurs && !slices.Contains(core, home(own)):
				t.Errorf("%s needs %s, which is not core", name, own)
			case !isOurs && (d.Module == nil || coreModules[d.Module.Path] == ""):
				t.Errorf("%s needs %s, which the core may not use", name, dep)
			}
		}
	}
}

func TestAdaptersIgnoreEachOther(t *testing.T) {
	t.Parallel()
	for path, p := range list(t) {
		name, ok := ours(path)
		if !ok || !slices.Contains(adapters, home(name)) {
			continue
		}
		for _, dep := range p.Imports {
			own, isOurs := ours(dep)
			if !isOurs {
				continue
			}
			to := home(own)
			if to != home(name) && !slices.Contains(core, to) && exceptions[home(name)][to] == "" {
				t.Errorf("%s imports %s: adapters meet in cmd/gitopsd only", name, own)
			}
		}
	}
}

func TestAgentIsSmall(t *testing.T) {
	t.Parallel()
	all := list(t)
	root, ok := all[module+"/cmd/gitopsd-agent"]
	if !ok {
		t.Fatal("there is no cmd/gitopsd-agent")
	}
	for _, dep := range root.Deps {
		name, isOurs := ours(dep)
		if d, known := all[dep]; known && !d.Standard && (!isOurs || !slices.Contains(agent, name)) {
			t.Errorf("the agent needs %s; it may use the standard library, %v and nothing else", dep, agent[1:])
		}
	}
	if len(root.Deps) == 0 {
		t.Error("the agent needs nothing at all: the list is wrong")
	}
}

// TestReleaseIsStandard holds apart what the agent shares with the core.
func TestReleaseIsStandard(t *testing.T) {
	t.Parallel()
	all := list(t)
	for _, dep := range all[module+"/internal/release"].Deps {
		if d, known := all[dep]; known && !d.Standard {
			t.Errorf("internal/release needs %s; it may use the standard library alone", dep)
		}
	}
}
