package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// tenantsDir is where a repository has its tenant files.
const tenantsDir = "tenants"

// validateCmd checks tenant files without a daemon.
type validateCmd struct {
	Output string `help:"How to write: table, json, or github for workflow commands that GitHub shows at the lines." short:"o" enum:"table,json,github" default:"table"`
	Dir    string `arg:"" optional:"" default:"." help:"The repository, or its directory of tenant files." placeholder:"DIR"`
	Domain string `help:"The platform's domain, whose host names go by the tenants' names." default:"localhost"`
}

// findings are what was read, and what is wrong with it.
type findings struct {
	Files    int             `json:"files"` // of tenants
	Ignored  []string        `json:"ignored,omitempty"`
	Problems tenant.Problems `json:"problems"`

	invalid map[string]bool // the files with problems, below the root
}

// Run checks every file and says everything that is wrong.
func (v *validateCmd) Run(t *terminal) error {
	found, err := v.check()
	switch {
	case err != nil && v.Output == "github":
		return t.annotateError(err)
	case err != nil:
		return err
	}
	switch v.Output {
	case "json":
		if err := t.printJSON(found); err != nil {
			return err
		}
	case "github":
		t.annotate(found)
	default:
		t.verdict(found)
	}
	if len(found.Problems) > 0 {
		return exitError(exitInvalid)
	}
	return nil
}

// check reads the policy and the tenants, and names files as the output is to
// name them.
func (v *validateCmd) check() (*findings, error) {
	root, dir, err := v.locate()
	if err != nil {
		return nil, err
	}
	files := os.DirFS(root)
	rules, problems, err := policy.Load(files, plan.DefaultBrake)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = tenantsDir
		if rules != nil {
			dir = rules.Settings().Tenants
		}
	}
	set, err := tenant.Load(files, dir)
	if err != nil {
		return nil, err
	}
	found := &findings{
		Files: len(set.Files), Ignored: set.Ignored, invalid: map[string]bool{},
		Problems: slices.Concat(problems, check(files, set, v.Domain), against(rules, set)),
	}
	name := func(file string) string {
		file = filepath.Join(root, file)
		if v.Output == "github" {
			return inRepository(file)
		}
		return file
	}
	for i := range found.Problems {
		p := &found.Problems[i]
		found.invalid[p.File] = true
		p.File = name(p.File)
	}
	for i := range found.Ignored {
		found.Ignored[i] = name(found.Ignored[i])
	}
	return found, nil
}

// locate finds the repository's root, and the tenant files' directory below it:
// "" where that is for the policy to say.
func (v *validateCmd) locate() (root, dir string, err error) {
	if _, err := os.Lstat(filepath.Join(v.Dir, policy.File)); err == nil || isDir(filepath.Join(v.Dir, tenantsDir)) {
		return v.Dir, "", nil
	}
	info, err := os.Stat(v.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", fault.Errorf(fault.NotFound, "there is no directory %s", v.Dir)
	case err != nil:
		return "", "", fmt.Errorf("look at %s: %w", v.Dir, err)
	case !info.IsDir():
		return "", "", fault.Errorf(fault.Invalid, "%s is not a directory", v.Dir).WithHint("name the directory of the tenant files")
	case v.Dir == ".":
		return "", "", fault.Errorf(fault.NotFound, "there is no directory %s here", tenantsDir).
			WithHint("run this at the root of the repository, or name the directory of the tenant files")
	}
	clean := filepath.Clean(v.Dir)
	return filepath.Dir(clean), filepath.Base(clean), nil
}

// check returns the problems of all tenant files, in their order.
func check(files fs.FS, set *tenant.Set, domain string) tenant.Problems {
	hosts := tenant.NewHosts(domain).Check(set.Files)
	problems := tenant.Problems{}
	for _, f := range set.Files {
		problems = append(problems, f.Problems...)
		problems = append(problems, hosts[f.Name]...)
		if f.Tenant != nil && f.Tenant.App.Path != "" {
			if _, err := build.Sources(files, f.Tenant.App.Path); err != nil {
				problems = append(problems, appProblem(f, err))
			}
		}
	}
	return problems
}

// against returns what the policy has against the tenants. Each is judged as if
// nothing of it changed: what was applied before is for a plan to know.
func against(rules *policy.Policy, set *tenant.Set) tenant.Problems {
	var problems tenant.Problems
	for _, f := range set.Files {
		if rules == nil || f.Tenant == nil {
			continue
		}
		step := plan.Step{
			Tenant: f.Name, Desired: &plan.Desired{Tenant: f.Tenant}, Applied: &plan.Applied{Tenant: f.Tenant},
		}
		for _, refusal := range rules.Judge(context.Background(), step) {
			problems = append(problems, tenant.Problem{File: f.Path, Message: "policy: " + refusal})
		}
	}
	return problems
}

func appProblem(f tenant.File, err error) tenant.Problem {
	r := fault.RecordOf(err)
	return tenant.Problem{File: f.Path, Message: "spec.app.path: " + r.Message, Hint: r.Hint}
}

// verdict writes what was found, a line a problem.
func (t *terminal) verdict(found *findings) {
	for _, p := range found.Problems {
		fmt.Fprintln(t.err, clean(p.String()))
	}
	for _, name := range found.Ignored {
		fmt.Fprintf(t.err, "note: %s is not read\n", clean(name))
	}
	invalid := len(found.invalid)
	if found.invalid[policy.File] {
		invalid--
		fmt.Fprintf(t.err, "%s invalid\n", policy.File)
	}
	switch {
	case invalid > 0:
		fmt.Fprintf(t.err, "%d of %s invalid\n", invalid, plural(found.Files, "tenant file"))
	case found.Files == 0:
		fmt.Fprintln(t.err, "note: there is no tenant file")
	default:
		fmt.Fprintf(t.out, "%s valid\n", plural(found.Files, "tenant file"))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
