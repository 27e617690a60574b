package sync

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// mostPassed bounds how many commits of one push get a status of their own.
const mostPassed = 1000

// purgeBackoff is how long a purge that failed is left alone.
const purgeBackoff = 10 * time.Minute

// accept records the plan of a head and makes it the accepted one. approval is
// the fingerprint whose approval that uses up, "" for none.
func (l *Loop) accept(ctx context.Context, from, head string, p plan.Plan, approval string) error {
	c, err := l.commit(ctx, head)
	if err != nil {
		return err
	}
	a := Acceptance{Commit: c, Previous: l.head, Approval: approval}
	for _, step := range p.Steps {
		a.Items = append(a.Items, itemOf(step, head))
	}
	if a.Passed, err = l.passed(ctx, from, head); err != nil {
		return err
	}
	if err := l.Ledger.Accept(ctx, a); err != nil {
		l.stale = true // it may be recorded all the same
		return fmt.Errorf("accept %s: %w", short(head), err)
	}
	l.Log.Info("commit accepted", "commit", head, "subject", c.Subject, "tenants", len(a.Items))
	l.known.Lock()
	l.index.accept(a.Items)
	l.head, l.held = head, ""
	l.known.Unlock()
	l.mu.Lock()
	l.health.Head = head
	l.mu.Unlock()
	return nil
}

func itemOf(s plan.Step, commit string) Item {
	item := Item{Tenant: s.Tenant, Operation: s.Operation, Reason: s.Reason, Failure: s.Failure}
	if s.Desired != nil {
		item.Problems = s.Desired.Problems
	}
	if s.Failure != nil {
		return item
	}
	if s.Operation != "" {
		item.Run = runID(s.Tenant, commit)
	}
	switch {
	case s.Operation == plan.Deprovision:
		item.Spec, item.Infra, item.App, item.Sources = s.Applied.Tenant, s.Applied.Infra, s.Applied.App, s.Applied.Sources
	case s.Desired != nil:
		d := s.Desired
		item.Spec, item.Infra, item.App, item.Sources = d.Tenant, d.Infra, d.App, d.Sources
	}
	return item
}

// runID names a run: which tenant, which commit, and which of its runs.
func runID(tenant, commit string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%s-%s", tenant, commit[:min(len(commit), 12)], hex.EncodeToString(b[:]))
}

// passed returns the commits between two heads that touch tenants: the newer
// head takes their place, and each gets a status that says so.
func (l *Loop) passed(ctx context.Context, from, head string) ([]Commit, error) {
	if from == "" {
		return nil, nil
	}
	between, err := l.Source.Commits(ctx, from, head, mostPassed+1)
	if err != nil {
		return nil, fmt.Errorf("list commits: %w", err)
	}
	if len(between) < 2 {
		return nil, nil
	}
	settings, err := l.Planner.Settings(ctx, head)
	if err != nil {
		return nil, err
	}
	paths := append([]string{settings.Tenants}, l.index.Sources()...)
	var touching []Commit
	for i, c := range between[1:] {
		parent := from
		if i+2 < len(between) {
			parent = between[i+2].SHA
		} else if len(between) > mostPassed {
			break // its parent is not known; it and older ones go without
		}
		changed, err := l.Source.Changed(ctx, parent, c.SHA, paths)
		if err != nil {
			return nil, fmt.Errorf("compare %s with %s: %w", short(parent), short(c.SHA), err)
		}
		if len(changed) > 0 {
			touching = append(touching, c)
		}
	}
	return touching, nil
}

// dispatch starts queued runs as far as there is room.
func (l *Loop) dispatch(ctx context.Context) error {
	running, err := l.resume(ctx)
	free := l.Runs - running
	if err != nil || free <= 0 {
		return err
	}
	runs, err := l.Ledger.Claim(ctx, free)
	if err != nil {
		return fmt.Errorf("claim runs: %w", err)
	}
	return l.start(ctx, runs)
}

// resume starts the claimed runs that this process has not started: the last
// one left them, or starting them failed. It returns how many are claimed.
func (l *Loop) resume(ctx context.Context) (int, error) {
	running, err := l.Ledger.Running(ctx)
	if err != nil {
		return 0, fmt.Errorf("read running runs: %w", err)
	}
	var left []pipeline.Run
	started := make(map[string]bool, len(running)) // without those that are over
	for _, run := range running {
		if l.started[run.ID] {
			started[run.ID] = true
		} else {
			left = append(left, run)
		}
	}
	l.started = started
	return len(running), l.start(ctx, left)
}

// start has the engine run claimed runs. One that fails keeps no other from it.
func (l *Loop) start(ctx context.Context, runs []pipeline.Run) error {
	var failed []error
	for _, run := range runs {
		if err := l.Engine.Start(ctx, run); err != nil {
			failed = append(failed, fmt.Errorf("start run %s: %w", run.ID, err))
			continue
		}
		l.started[run.ID] = true
		l.Log.Info("run started", "tenant", run.Tenant, "commit", run.Commit, "run", run.ID, "operation", run.Operation)
	}
	return errors.Join(failed...)
}

// purge queues the second half of the deprovisions whose grace period is over.
func (l *Loop) purge(ctx context.Context) error {
	now := time.Now()
	due, err := l.Ledger.Purgeable(ctx, now)
	if err != nil {
		return fmt.Errorf("look for tenants to purge: %w", err)
	}
	for name, a := range due {
		if a.Failing && now.Sub(l.purgeTried[name]) < purgeBackoff {
			continue
		}
		// Its file may be back, and too broken to bring the tenant back: data go
		// only while the accepted commit has no file of the tenant at all.
		gone, err := l.Planner.gone(ctx, l.head, name)
		if err != nil {
			return fmt.Errorf("make sure that %s has no file: %w", name, err)
		}
		if !gone {
			continue
		}
		l.purgeTried[name] = now
		if err := l.enqueue(ctx, name, a, plan.Purge); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) enqueue(ctx context.Context, name string, a plan.Applied, op plan.Operation) error {
	err := l.Ledger.Enqueue(ctx, pipeline.Run{
		ID: runID(name, a.Commit), Tenant: name, Commit: a.Commit, Operation: op,
		Spec: a.Tenant, Infra: a.Infra, App: a.App, Status: pipeline.Queued,
	})
	if err != nil {
		return fmt.Errorf("queue %s of %s: %w", op, name, err)
	}
	return nil
}

// ofPull refuses what previews have no use for: the pull request decides.
func ofPull(name string) error {
	if !tenant.IsPreview(name) {
		return nil
	}
	return fault.Errorf(fault.Conflict, "%s is the preview of a pull request", name).
		WithHint("to have it made anew, take the label off the pull request and set it again")
}

// Retry queues again what failed last for a tenant.
func (l *Loop) Retry(ctx context.Context, name string) error {
	if err := ofPull(name); err != nil {
		return err
	}
	applied, err := l.Ledger.Applied(ctx, []string{name})
	if err != nil {
		return err
	}
	a, ok := applied[name]
	switch {
	case !ok:
		return fault.Errorf(fault.NotFound, "there is no tenant %s", name)
	case a.InProgress:
		return fault.Errorf(fault.Conflict, "a run of %s is queued or under way", name)
	case !a.Failing:
		return fault.Errorf(fault.Conflict, "%s did not fail: there is nothing to try again", name)
	}
	op := plan.RetryOf(a)
	if a.Deleted {
		head, err := l.Ledger.Head(ctx)
		if err != nil {
			return err
		}
		gone, err := l.Planner.gone(ctx, head, name)
		if err != nil {
			return err
		}
		if !gone {
			return fault.Errorf(fault.Conflict, "%s has a file again: it is not taken away", name).
				WithHint("correct the file, or delete it in a new commit")
		}
	}
	if err := l.enqueue(ctx, name, a, op); err != nil {
		return err
	}
	l.Wake()
	return nil
}
