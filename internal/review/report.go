package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// makeReport plans what merging a pull request now would do. An error says
// nothing of the pull request: the plan is to be made again.
func (l *Loop) makeReport(ctx context.Context, r *review, base, live string) (Report, error) {
	report := Report{
		Pull: r.pull, Base: base, Live: live, At: time.Now().UTC(),
		Commented: r.report.Commented, Previews: r.report.Previews,
	}
	r.still = true
	if r.unfit != nil {
		report.Failure = r.unfit
		return l.conclude(report), nil
	}
	err := l.plan(ctx, r, &report)
	if fault.Is(err, fault.Invalid) { // only another push can help
		report.Failure, err = fault.RecordOf(err), nil
	}
	return l.conclude(report), err
}

// plan fills in a report. What is fault.Invalid is wrong with the pull request.
func (l *Loop) plan(ctx context.Context, r *review, report *Report) error {
	merged, err := l.Source.Merge(ctx, report.Base, r.pull.Head)
	if err != nil {
		return err
	}
	report.Merged, report.Conflicts = merged.SHA, merged.Conflicts
	if len(merged.Conflicts) > 0 {
		return nil
	}
	accepted, p, err := l.Planner.Preview(ctx, merged.SHA)
	r.still = err == nil && accepted == report.Base && len(p.Steps) == 0
	if err != nil {
		return err
	}
	if err := l.authority(ctx, report, accepted, merged); err != nil {
		return err
	}
	if err := l.steps(ctx, report, accepted, p); err != nil {
		return err
	}
	return l.holdOf(ctx, r, report, p)
}

// authority checks who made the commits, and notes a change of the policy. Who
// may sign is what was accepted before: a pull request cannot bring its own key.
func (l *Loop) authority(ctx context.Context, report *Report, accepted string, merged Merged) error {
	why, err := "", error(nil)
	if accepted != "" {
		why, err = l.Planner.Distrust(ctx, accepted, merged.Base, report.Pull.Head)
	}
	if accepted == "" || fault.Is(err, fault.Invalid) { // as the loop that follows the branch does
		why, err = l.Planner.Distrust(ctx, merged.SHA, merged.Base, report.Pull.Head)
	}
	if err != nil {
		return err
	}
	if why != "" {
		report.Failure = fault.RecordOf(fault.Errorf(fault.Invalid, "%s", why).
			WithHint("sign the commits with a key that gitopsd.yaml lists"))
	}
	now, err := l.Planner.Settings(ctx, report.Base)
	if err != nil && !fault.Is(err, fault.Invalid) {
		return err
	}
	then, err := l.Planner.Settings(ctx, merged.SHA)
	if err != nil {
		return err
	}
	if then.Branch != "" && then.Branch != l.Branch && report.Failure == nil { // the loop would hold everything
		report.Failure = fault.RecordOf(fault.Errorf(fault.Invalid, "gitopsd.yaml is for the branch %s, and this is onto %s", then.Branch, l.Branch).
			WithHint("correct spec.branch of gitopsd.yaml"))
	}
	if report.Policy = now.Digest != then.Digest; report.Policy {
		report.Notes = append(report.Notes, "Changes gitopsd.yaml, the policy of this repository: every tenant is looked at again.")
	}
	if accepted != report.Base {
		report.Notes = append(report.Notes, fmt.Sprintf("%s is at %s, which is not carried out yet: this plan includes it.", l.Branch, short(report.Base)))
	}
	return nil
}

// steps says what each step means.
func (l *Loop) steps(ctx context.Context, report *Report, accepted string, p plan.Plan) error {
	var paths []string
	for _, s := range p.Steps {
		if s.Operation == "" && s.Failure == nil && len(s.Changes) == 0 {
			continue // looked at, and nothing is to be done
		}
		shown := StepShown{Step: s, Consequences: plan.Consequences(s, l.Domain)}
		if s.Desired != nil {
			shown.Problems = s.Desired.Problems
			paths = append(paths, s.Desired.Sources...)
		}
		if s.Failure == nil && s.Desired != nil && s.Desired.Tenant != nil && s.Operation != "" {
			var err error
			if shown.Migrations, err = l.Migrations.Migrations(ctx, accepted, report.Merged, s); err != nil {
				return fmt.Errorf("find the migrations of %s: %w", s.Tenant, err)
			}
		}
		report.Steps = append(report.Steps, shown)
	}
	report.Notes = append(report.Notes, renames(p.Steps)...)
	slices.Sort(paths)
	ignored, err := l.Source.Ignored(ctx, report.Merged, slices.Compact(paths))
	if err != nil {
		return err
	}
	if len(ignored) > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("Not built: %s. Only what the repository itself holds is.", few(ignored, 5)))
	}
	return nil
}

// renames says of tenants whose file only got another name what that means.
func renames(steps []plan.Step) []string {
	gone := map[string]string{} // name by what it runs
	for _, s := range steps {
		if s.Operation == plan.Deprovision && s.Applied != nil {
			gone[s.Applied.App] = s.Tenant
		}
	}
	var notes []string
	for _, s := range steps {
		if s.Operation != plan.Provision || s.Desired == nil || s.Restores {
			continue
		}
		if was := gone[s.Desired.App]; was != "" {
			delete(gone, s.Desired.App)
			notes = append(notes, fmt.Sprintf("This renames %s to %s: %s is deleted, and %s starts empty.", was, s.Tenant, was, s.Tenant))
		}
	}
	return notes
}

// holdOf notes what merging would wait for, and since when it is known.
func (l *Loop) holdOf(ctx context.Context, r *review, report *Report, p plan.Plan) error {
	if p.Hold == "" {
		return nil
	}
	report.Hold, report.Fingerprint = p.Hold, p.Fingerprint()
	if was := r.report; was.Fingerprint == report.Fingerprint && was.Pull.Head == r.pull.Head {
		report.Held = was.Held
	} else { // r.pull may be from long before: a comment since then is not about this
		now, err := l.Forge.Pull(ctx, r.pull.Number)
		if err != nil {
			return fmt.Errorf("ask for the forge's time: %w", asked(err))
		}
		report.Held = now.Seen
	}
	a, ok, err := l.Ledger.PlanApproved(ctx, report.Fingerprint)
	if err != nil {
		return err
	}
	if ok {
		report.Approved = a.By
	}
	return nil
}

// conclude puts a report in a status.
func (l *Loop) conclude(r Report) Report {
	var refused []StepShown
	for _, s := range r.Steps {
		if s.Failure != nil {
			refused = append(refused, s)
		}
	}
	r.State = sync.StateFailure
	switch {
	case len(r.Conflicts) > 0:
		r.Description = fmt.Sprintf("Conflicts with %s: %s", l.Branch, few(r.Conflicts, 3))
	case r.Failure != nil:
		r.Description = reason(r.Failure)
	case len(refused) > 0:
		r.Description = fmt.Sprintf("%d of %d refused: %s: %s", len(refused), len(r.Steps), refused[0].Tenant, firstLine(refused[0].Failure.Message))
	case r.Hold != "" && r.Approved == "":
		r.Description = "Needs /gitopsd approve: " + r.Hold
	case len(r.Steps) == 0:
		r.State, r.Description = sync.StateSuccess, "No tenant is touched"
	default:
		r.State, r.Description = sync.StateSuccess, summary(r.Steps)
	}
	if r.Policy && r.State == sync.StateSuccess {
		r.Description = "Changes gitopsd.yaml: " + r.Description
	}
	r.Description = sync.Shorten(r.Description)
	return r
}

// reason says in a line what is wrong: where it is the contents of files, at
// which place. It names no commit that a merge would make: that is another one
// with each commit of the branch.
func reason(f *fault.Record) string {
	if located(f.Detail) != nil {
		return firstLine(f.Detail)
	}
	return firstLine(f.Message)
}

// summary says what a plan would do in a line; what is lost comes first.
func summary(steps []StepShown) string {
	p := plan.Plan{}
	for _, s := range steps {
		p.Steps = append(p.Steps, s.Step)
	}
	return p.Summary()
}

func few(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
