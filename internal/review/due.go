package review

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// patience is how long plans wait for the loop that follows the branch to look
// at a new commit of it. A plan that is made before includes what that commit
// does, and is made again right after.
const patience = 5 * time.Second

// planDue makes the plans that are missing or out of date, those of new heads
// first. It stops for a hint: what is new comes before what only moved. One that
// cannot be planned keeps no other from it.
func (l *Loop) planDue(ctx context.Context) error {
	base := l.Source.Head()
	if base == "" || len(l.pulls) == 0 {
		return nil // nothing was fetched yet, or there is nothing to plan
	}
	if ready, err := l.lookedAt(ctx, base); err != nil || !ready {
		return err // its coming makes for another turn
	}
	live, err := l.Ledger.State(ctx)
	if err != nil {
		return err
	}
	fresh, moved := l.due(base, live)
	failed := l.bring(ctx, slices.Concat(fresh, moved))
	if ctx.Err() != nil {
		return failed
	}
	one := func(r *review) error {
		if err := l.planOne(ctx, r, base, live); err != nil {
			return fmt.Errorf("pull request %d: %w", r.pull.Number, err)
		}
		return nil
	}
	if failed = join(failed, each(ctx, fresh, one)); fault.Is(failed, fault.Conflict) {
		return failed
	}
	interrupted := false
	failed = join(failed, each(ctx, moved, func(r *review) error {
		if interrupted = interrupted || r != moved[0] && len(l.hints) > 0; interrupted {
			return nil
		}
		return one(r)
	}))
	if interrupted {
		l.Hint(Hint{Kind: HintPush}) // come back for the rest
	}
	return failed
}

// lookedAt reports whether the loop that follows the branch has accepted or held
// its commit, or takes too long about it.
func (l *Loop) lookedAt(ctx context.Context, base string) (bool, error) {
	head, err := l.Ledger.Head(ctx)
	if err != nil || head == base {
		return true, err
	}
	if _, err = l.Ledger.Commit(ctx, base); !fault.Is(err, fault.NotFound) {
		return true, err
	}
	if l.unknown != base {
		l.unknown, l.since = base, time.Now()
	}
	return time.Since(l.since) > patience, nil
}

// due returns the reviews whose plan is missing, and those whose plan is of
// another base or of what was applied before.
func (l *Loop) due(base, live string) (fresh, moved []*review) {
	for _, r := range l.pulls {
		was := r.report
		switch {
		case r.gone:
		case r.forced || was.Pull.Head != r.pull.Head || was.Pull.Draft != r.pull.Draft:
			fresh = append(fresh, r)
		case was.Base != base || was.Live != live && !r.still:
			moved = append(moved, r)
		}
	}
	byNumber := func(a, b *review) int { return a.pull.Number - b.pull.Number }
	slices.SortFunc(fresh, byNumber)
	slices.SortFunc(moved, byNumber)
	return fresh, moved
}

// mostMissed bounds how many heads are asked for one by one in vain.
const mostMissed = 3

// bring has the heads of reviews be there, in one exchange if all is well. Of
// those that are not, it notes whether they are gone or unfit.
func (l *Loop) bring(ctx context.Context, reviews []*review) error {
	var missing []*review
	for _, r := range reviews {
		if r.unfit != nil {
			continue // its head would be fetched in vain, and may be large
		}
		switch there, err := l.Source.Has(ctx, r.pull.Head); {
		case err != nil:
			return err
		case !there:
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 || l.obtain(ctx, missing) == nil {
		return l.noteGone(ctx, missing)
	}
	var failed []error
	for _, r := range missing { // one that cannot be had keeps no other from it
		err := l.obtain(ctx, []*review{r})
		switch {
		case err == nil || fault.Is(err, fault.NotFound):
			err = l.noteGone(ctx, []*review{r})
		case fault.Is(err, fault.Invalid):
			r.unfit, err = fault.RecordOf(err), nil
		}
		if err == nil {
			continue
		}
		if failed = append(failed, asked(err)); len(failed) == mostMissed || ctx.Err() != nil {
			break // the repository cannot be reached, most likely
		}
	}
	return join(failed...)
}

func (l *Loop) obtain(ctx context.Context, reviews []*review) error {
	wanted := make([]Wanted, len(reviews))
	for i, r := range reviews {
		wanted[i] = Wanted{Ref: r.pull.Ref, SHA: r.pull.Head}
	}
	if err := l.Source.Obtain(ctx, wanted); err != nil {
		return fmt.Errorf("fetch the heads of pull requests: %w", err)
	}
	return nil
}

// noteGone notes which heads their refs do not lead to: the next look asks for
// them again, or brings newer ones.
func (l *Loop) noteGone(ctx context.Context, reviews []*review) error {
	for _, r := range reviews {
		there, err := l.Source.Has(ctx, r.pull.Head)
		if err != nil {
			return err
		}
		r.gone = !there
	}
	return nil
}

// planOne makes a pull request's plan and puts what shows it.
func (l *Loop) planOne(ctx context.Context, r *review, base, live string) error {
	if r.unfit == nil {
		if there, err := l.Source.Has(ctx, r.pull.Head); err != nil || !there {
			return err
		}
	}
	if err := l.recall(ctx, r); err != nil {
		return err
	}
	if r.seen.IsZero() {
		var err error
		if r.seen, err = l.Ledger.SawHead(ctx, r.pull.Number, r.pull.Head, r.pull.Seen); err != nil {
			return err
		}
	}
	report, err := l.makeReport(ctx, r, base, live)
	if err != nil {
		return err
	}
	if l.Source.Head() != base {
		return nil // perhaps it compares a merge into the old base with the new one
	}
	if err := l.publish(ctx, r, report); err != nil {
		return err
	}
	r.made, r.forced = true, false
	return nil
}

// recall takes up the report of a pull request that was closed, or onto another
// branch: its comment is still there, and is to be true again.
func (l *Loop) recall(ctx context.Context, r *review) error {
	if r.report.Pull.Number != 0 {
		return nil
	}
	was, err := l.Ledger.Report(ctx, r.pull.Number)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		r.report, r.report.Previews = was, nil
	}
	return err
}

// publish keeps a report and puts the notices that show it.
func (l *Loop) publish(ctx context.Context, r *review, report Report) error {
	notices, err := l.notices(&report)
	if err != nil {
		return err
	}
	if err := l.Ledger.PutReport(ctx, report, notices); err != nil {
		return err
	}
	if report.State != r.report.State || report.Pull.Head != r.report.Pull.Head {
		l.Log.Info("pull request planned", "pull", report.Pull.Number, "commit", report.Pull.Head,
			"state", report.State, "description", report.Description)
	}
	r.report = report
	signal(l.deliver)
	return nil
}
