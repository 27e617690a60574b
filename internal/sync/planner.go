package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Tree is a repository as a plan needs it.
type Tree interface {
	// FS returns the files of a commit.
	FS(commit string) fs.FS
	// Changed returns the changed files under the given paths between two
	// commits, sorted.
	Changed(ctx context.Context, from, to string, paths []string) ([]string, error)
}

// Apps knows what an app is built from.
type Apps interface {
	// Sources returns the repository's paths the tenant's app is built from at
	// the commit, and one digest over them; nothing for a design. An app that
	// is not there is fault.NotFound, one that makes no sense fault.Invalid.
	Sources(ctx context.Context, commit string, t *tenant.Tenant) (paths []string, digest string, err error)
}

// Planner turns the difference of two commits into a plan.
type Planner struct {
	Tree   Tree
	Apps   Apps
	Dir    string // of the tenant files, "tenants"
	Domain string // the platform's
	Brake  plan.Brake
}

// Plan returns what moving from one commit to another asks for. from is "" to
// look at every tenant; applied returns what is recorded of some names (nil:
// of all), and index what is known of all that live.
func (p Planner) Plan(ctx context.Context, from, to string, index *Index, applied func(names []string) (map[string]plan.Applied, error)) (plan.Plan, error) {
	files := p.Tree.FS(to)
	names, err := p.touched(ctx, from, to, index)
	if err != nil {
		return plan.Plan{}, err
	}
	known, err := applied(names)
	if err != nil {
		return plan.Plan{}, fmt.Errorf("read applied tenants: %w", err)
	}
	in := plan.Input{
		Touched: names, Applied: known, Desired: map[string]plan.Desired{},
		Live: index.Live(), Files: 1, Brake: p.Brake,
	}
	hosts := index.hostsWithout(names)
	gone := false
	for _, name := range index.byAge(names) {
		d, found, err := p.desired(ctx, files, to, name, hosts)
		if err != nil {
			return plan.Plan{}, err
		}
		if found {
			in.Desired[name] = d
		} else {
			gone = true
		}
	}
	if gone { // only a deletion needs to know how many files are left
		if in.Files, err = p.count(files); err != nil {
			return plan.Plan{}, err
		}
	}
	return plan.Make(in), nil
}

// touched returns the names of the tenants whose file or source changed.
func (p Planner) touched(ctx context.Context, from, to string, index *Index) ([]string, error) {
	if from == "" {
		names, err := p.names(p.Tree.FS(to))
		return append(names, index.Names()...), err
	}
	changed, err := p.Tree.Changed(ctx, from, to, append([]string{p.Dir}, index.Sources()...))
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s: %w", short(from), short(to), err)
	}
	var names []string
	for _, file := range changed {
		if name, ok := p.nameOf(file); ok {
			names = append(names, name)
		}
		names = append(names, index.BuiltFrom(file)...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// nameOf returns the tenant that a tenant file is of.
func (p Planner) nameOf(file string) (string, bool) {
	dir, base := path.Split(file)
	return tenant.NameOf(base), path.Clean(dir) == p.Dir && tenant.IsFile(base)
}

// names lists the tenants that have a file.
func (p Planner) names(files fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(files, p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p.Dir, err)
	}
	var names []string
	for _, e := range entries {
		if tenant.IsFile(e.Name()) {
			names = append(names, tenant.NameOf(e.Name()))
		}
	}
	return names, nil
}

func (p Planner) count(files fs.FS) (int, error) {
	names, err := p.names(files)
	return len(names), err
}

// desired loads one tenant from a commit; found is false if it has no file.
func (p Planner) desired(ctx context.Context, files fs.FS, commit, name string, hosts tenant.Hosts) (d plan.Desired, found bool, err error) {
	f, found, err := tenant.LoadName(files, p.Dir, name)
	if err != nil || !found {
		return d, false, err
	}
	d.Problems = f.Problems
	if len(d.Problems) == 0 {
		d.Problems = hosts.Claim(f, p.Domain)
	}
	if len(d.Problems) > 0 {
		return d, true, nil
	}
	sources, digest, err := p.Apps.Sources(ctx, commit, f.Tenant)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		problem := f.ProblemAt("spec.app", err.Error())
		var e *fault.Error
		if errors.As(err, &e) {
			problem.Hint = e.Hint
		}
		d.Problems = tenant.Problems{problem}
		return d, true, nil
	}
	if err != nil {
		return d, true, fmt.Errorf("find the source of %s: %w", name, err)
	}
	d.Tenant, d.Sources = f.Tenant, sources
	d.Infra, d.App = tenant.InfraDigest(f.Tenant), tenant.AppDigest(f.Tenant, digest)
	return d, true, nil
}

func short(commit string) string {
	return commit[:min(len(commit), 7)]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
