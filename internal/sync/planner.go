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
	Tree     Tree
	Apps     Apps
	Domain   string     // the platform's
	Dir      string     // of the tenant files, "tenants"; a policy may name another
	Brake    plan.Brake // unless a policy has one
	Policies Policies   // nil where repositories have no say
}

// Settings returns what a commit's policy says that is data. A policy with
// problems is fault.Invalid.
func (p Planner) Settings(ctx context.Context, commit string) (Settings, error) {
	policy, err := p.policy(ctx, commit)
	if err != nil {
		return Settings{}, err
	}
	return policy.Settings(), nil
}

func (p Planner) policy(ctx context.Context, commit string) (Policy, error) {
	if p.Policies == nil || commit == "" {
		return unbound{Settings{Tenants: p.Dir, Brake: p.Brake}}, nil
	}
	policy, err := p.Policies.At(ctx, commit)
	if err != nil {
		return nil, fmt.Errorf("read the policy of %s: %w", short(commit), err)
	}
	return policy, nil
}

// unbound is the policy of a repository that has none.
type unbound struct{ settings Settings }

func (u unbound) Settings() Settings                      { return u.settings }
func (unbound) Judge(context.Context, plan.Step) []string { return nil }
func (unbound) Trust(SignedCommit) error                  { return nil }

// Plan returns what moving from one commit to another asks for. from is "" to
// look at every tenant; applied returns what is recorded of some names (nil:
// of all), and index what is known of all that live.
func (p Planner) Plan(ctx context.Context, from, to string, index *Index, applied func(names []string) (map[string]plan.Applied, error)) (plan.Plan, error) {
	policy, err := p.policy(ctx, to)
	if err != nil {
		return plan.Plan{}, err
	}
	p.Dir, p.Brake = policy.Settings().Tenants, policy.Settings().Brake
	if from != "" {
		before, err := p.before(ctx, from)
		if err != nil {
			return plan.Plan{}, err
		}
		if before != nil { // a commit cannot loosen the brake for itself
			was := before.Settings().Brake
			p.Brake = plan.Brake{Tenants: min(p.Brake.Tenants, was.Tenants), Percent: min(p.Brake.Percent, was.Percent)}
		}
		if before == nil || before.Settings().Digest != policy.Settings().Digest {
			from = "" // what it says now may concern any tenant
		}
	}
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
	found, gone, err := p.files(files, names)
	if err != nil {
		return plan.Plan{}, err
	}
	clashes := index.without(gone, known).Check(found)
	for _, f := range found {
		f.Problems = append(f.Problems, clashes[f.Name]...)
		if in.Desired[f.Name], err = p.desired(ctx, to, f); err != nil {
			return plan.Plan{}, err
		}
	}
	if len(gone) > 0 { // only a deletion needs to know how many files are left
		if in.Files, err = p.count(files); err != nil {
			return plan.Plan{}, err
		}
	}
	made := plan.Make(in)
	for i := range made.Steps {
		judge(ctx, policy, &made.Steps[i])
	}
	return made, nil
}

// before returns the policy of the commit that was accepted before, nil if there
// was none, or if it is not valid any more: what was accepted was valid to the
// gitopsd of then.
func (p Planner) before(ctx context.Context, from string) (Policy, error) {
	if from == "" {
		return nil, nil //nolint:nilnil // there was none
	}
	before, err := p.policy(ctx, from)
	if fault.Is(err, fault.Invalid) {
		return nil, nil //nolint:nilnil // see above
	}
	return before, err
}

// judge refuses a step that the policy is against. What is refused for another
// reason already, or takes away what the policy is against, it leaves alone.
func judge(ctx context.Context, policy Policy, s *plan.Step) {
	if s.Failure != nil {
		return
	}
	against := policy.Judge(ctx, *s)
	if len(against) == 0 {
		return
	}
	e := fault.Errorf(fault.Invalid, "policy: %s", against[0])
	if len(against) > 1 {
		e = e.WithDetail(strings.Join(against, "\n"))
	}
	s.Operation, s.Reason, s.Restores = "", "refused by the policy", false
	s.Failure = fault.RecordOf(e)
}

// touched returns the names of the tenants whose file or source changed.
func (p Planner) touched(ctx context.Context, from, to string, index *Index) ([]string, error) {
	if from == "" {
		names, err := p.names(p.Tree.FS(to))
		return distinct(append(names, index.Names()...)), err
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
	return distinct(names), nil
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// nameOf returns the tenant that a tenant file is of.
func (p Planner) nameOf(file string) (string, bool) {
	dir, base := path.Split(file)
	return stem(base), path.Clean(dir) == p.Dir && tenant.IsFile(base)
}

func stem(base string) string { return strings.TrimSuffix(base, path.Ext(base)) }

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
			names = append(names, stem(e.Name()))
		}
	}
	return names, nil
}

func (p Planner) count(files fs.FS) (int, error) {
	names, err := p.names(files)
	return len(names), err
}

// files reads the files of the named tenants; gone are those that have none.
// A file that might be there but can't be looked for is an error, never gone.
func (p Planner) files(files fs.FS, names []string) (found []tenant.File, gone []string, err error) {
	for _, name := range names {
		there := false
		for _, suffix := range []string{".yaml", ".yml"} {
			file := path.Join(p.Dir, name+suffix)
			_, err := fs.Lstat(files, file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("look for %s: %w", file, err)
			}
			found, there = append(found, tenant.LoadFile(files, file)), true
			break // a second file beside it is a problem that LoadFile reports
		}
		if !there {
			gone = append(gone, name)
		}
	}
	return found, gone, nil
}

// gone reports whether a commit has no file of a tenant.
func (p Planner) gone(ctx context.Context, commit, name string) (bool, error) {
	settings, err := p.Settings(ctx, commit)
	if err != nil {
		return false, err
	}
	p.Dir = settings.Tenants
	_, gone, err := p.files(p.Tree.FS(commit), []string{name})
	return len(gone) > 0, err
}

// desired says what a commit's file asks for.
func (p Planner) desired(ctx context.Context, commit string, f tenant.File) (plan.Desired, error) {
	if len(f.Problems) > 0 {
		return plan.Desired{Problems: f.Problems}, nil
	}
	d, err := p.Desire(ctx, commit, f.Tenant)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		problem := tenant.Problem{File: f.Path, Message: "spec.app: " + err.Error()}
		var e *fault.Error
		if errors.As(err, &e) {
			problem.Hint = e.Hint
		}
		return plan.Desired{Problems: tenant.Problems{problem}}, nil
	}
	if err != nil {
		return plan.Desired{}, fmt.Errorf("find the source of %s: %w", f.Name, err)
	}
	return d, nil
}

// Desire says what a tenant amounts to, built from a commit. Errors are those of
// Apps.Sources.
func (p Planner) Desire(ctx context.Context, commit string, t *tenant.Tenant) (plan.Desired, error) {
	sources, digest, err := p.Apps.Sources(ctx, commit, t)
	if err != nil {
		return plan.Desired{}, err
	}
	return plan.Desired{
		Tenant: t, Sources: sources, Infra: tenant.InfraDigest(t), App: tenant.AppDigest(t, digest),
	}, nil
}

func short(commit string) string {
	return commit[:min(len(commit), 7)]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
