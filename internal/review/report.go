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
	merged, err := l.Source.Merge(ctx, base, r.pull.Head)
	if fault.Is(err, fault.Invalid) {
		report.Failure = fault.RecordOf(err)
		return l.conclude(report), nil
	}
	if err != nil {
		return report, err
	}
	report.Merged, report.Conflicts = merged.SHA, merged.Conflicts
	if len(merged.Conflicts) > 0 {
		return l.conclude(report), nil
	}
	accepted, p, err := l.Planner.Preview(ctx, merged.SHA)
	if fault.Is(err, fault.Invalid) {
		report.Failure = fault.RecordOf(err)
		return l.conclude(report), nil
	}
	if err != nil {
		return report, err
	}
	if err := l.authority(ctx, &report, base, merged); err != nil {
		return report, err
	}
	if err := l.steps(ctx, &report, accepted, p); err != nil {
		return report, err
	}
	if err := l.holdOf(ctx, r, &report, p); err != nil {
		return report, err
	}
	return l.conclude(report), nil
}

// authority checks who made the commits, and notes a change of the policy.
func (l *Loop) authority(ctx context.Context, report *Report, base string, merged Merged) error {
	why, err := l.Planner.Distrust(ctx, base, merged.Base, report.Pull.Head)
	if err != nil {
		return err
	}
	if why != "" {
		report.Failure = fault.RecordOf(fault.Errorf(fault.Invalid, "%s", why).
			WithHint("sign the commits with a key that gitopsd.yaml lists"))
	}
	now, err := l.Planner.Settings(ctx, base)
	if err != nil && !fault.Is(err, fault.Invalid) {
		return err
	}
	then, err := l.Planner.Settings(ctx, merged.SHA)
	if err != nil {
		return err
	}
	if now.Digest != then.Digest {
		report.Notes = append(report.Notes, "Changes gitopsd.yaml, the policy of this repository: every tenant is looked at again.")
	}
	if head, err := l.Ledger.Head(ctx); err != nil {
		return err
	} else if head != base {
		report.Notes = append(report.Notes, fmt.Sprintf("%s is at %s, which is not carried out yet: this plan includes it.", l.Branch, short(base)))
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
	slices.Sort(paths)
	ignored, err := l.Source.Ignored(ctx, report.Merged, slices.Compact(paths))
	if err != nil {
		return err
	}
	for _, what := range ignored {
		report.Notes = append(report.Notes, fmt.Sprintf("Not built: %s. Only what the repository itself holds is.", what))
	}
	return nil
}

// holdOf notes what merging would wait for, and since when it is known.
func (l *Loop) holdOf(ctx context.Context, r *review, report *Report, p plan.Plan) error {
	if p.Hold == "" {
		return nil
	}
	report.Hold, report.Fingerprint, report.Held = p.Hold, p.Fingerprint(), r.pull.Seen
	if was := r.report; was.Fingerprint == report.Fingerprint && was.Pull.Head == r.pull.Head {
		report.Held = was.Held
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
		r.Description = firstLine(r.Failure.Message)
	case len(refused) > 0:
		r.Description = fmt.Sprintf("%d of %d refused: %s: %s", len(refused), len(r.Steps), refused[0].Tenant, firstLine(refused[0].Failure.Message))
	case r.Hold != "" && r.Approved == "":
		r.Description = "Needs /gitopsd approve: " + r.Hold
	case len(r.Steps) == 0:
		r.State, r.Description = sync.StateSuccess, "No tenant is touched"
	default:
		r.State, r.Description = sync.StateSuccess, summary(r.Steps)
	}
	r.Description = sync.Shorten(r.Description)
	return r
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
