package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitopsd/gitopsd/internal/build"
	"github.com/gitopsd/gitopsd/internal/fault"
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

// Run checks every file and says everything that is wrong.
func (v *validateCmd) Run(t *terminal) error {
	set, problems, err := v.check()
	switch {
	case err != nil && v.Output == "github":
		return t.annotateError(err)
	case err != nil:
		return err
	}
	switch v.Output {
	case "json":
		err = t.printJSON(struct {
			Files    int             `json:"files"`
			Ignored  []string        `json:"ignored,omitempty"`
			Problems tenant.Problems `json:"problems"`
		}{len(set.Files), set.Ignored, problems})
		if err != nil {
			return err
		}
	case "github":
		t.annotate(set, problems)
	default:
		t.verdict(set, problems)
	}
	if len(problems) > 0 {
		return exitError(exitInvalid)
	}
	return nil
}

// check returns what was read and what is wrong with it, naming files as the
// output is to name them.
func (v *validateCmd) check() (*tenant.Set, tenant.Problems, error) {
	root, dir, err := v.locate()
	if err != nil {
		return nil, nil, err
	}
	set, err := tenant.Load(os.DirFS(root), dir)
	if err != nil {
		return nil, nil, err
	}
	problems := check(os.DirFS(root), set, v.Domain)
	name := func(file string) string {
		file = filepath.Join(root, file)
		if v.Output == "github" {
			return inRepository(file)
		}
		return file
	}
	for i := range problems {
		problems[i].File = name(problems[i].File)
	}
	for i := range set.Ignored {
		set.Ignored[i] = name(set.Ignored[i])
	}
	return set, problems, nil
}

// locate finds the repository's root, and the tenant files' directory below it.
func (v *validateCmd) locate() (root, dir string, err error) {
	if isDir(filepath.Join(v.Dir, tenantsDir)) {
		return v.Dir, tenantsDir, nil
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

// check returns the problems of all files, in the order of the files.
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

func appProblem(f tenant.File, err error) tenant.Problem {
	r := fault.RecordOf(err)
	return tenant.Problem{File: f.Path, Message: "spec.app.path: " + r.Message, Hint: r.Hint}
}

// verdict writes what was found, a line a problem.
func (t *terminal) verdict(set *tenant.Set, problems tenant.Problems) {
	for _, p := range problems {
		fmt.Fprintln(t.err, clean(p.String()))
	}
	for _, name := range set.Ignored {
		fmt.Fprintf(t.err, "note: %s is not read\n", clean(name))
	}
	bad := map[string]bool{}
	for _, p := range problems {
		bad[p.File] = true
	}
	switch n := len(set.Files); {
	case len(bad) > 0:
		fmt.Fprintf(t.err, "%d of %s invalid\n", len(bad), plural(n, "tenant file"))
	case n == 0:
		fmt.Fprintln(t.err, "note: there is no tenant file")
	default:
		fmt.Fprintf(t.out, "%s valid\n", plural(n, "tenant file"))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
