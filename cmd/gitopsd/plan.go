package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// planCmd says what committing the working tree would do.
type planCmd struct {
	apiFlags
	outputFlag
}

// Run makes the plan just as the daemon would make it of the commit.
func (p *planCmd) Run(ctx context.Context, t *terminal) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	var applied console.Applied
	if err := c.get(ctx, apiPath("applied"), &applied); err != nil {
		return err
	}
	w, err := openWorktree(ctx, ".")
	if err != nil {
		return err
	}
	defer w.Close()
	made, err := planOf(ctx, w, applied)
	if err != nil {
		return err
	}
	if p.json() {
		err = t.printJSON(made)
	} else {
		t.plan(made)
	}
	if err == nil && invalid(made) > 0 {
		return exitError(exitInvalid)
	}
	return err
}

// planOf looks at every tenant: what the daemon has accepted need not be in the
// history of the working tree.
func planOf(ctx context.Context, w *worktree, applied console.Applied) (plan.Plan, error) {
	planner := sync.Planner{
		Tree: repository{w.Mirror}, Apps: apps{w.Mirror}, Dir: tenantsDir, Domain: applied.Domain, Brake: applied.Brake,
	}
	made, err := planner.Plan(ctx, "", w.commit, sync.NewIndex(applied.Domain, applied.Tenants),
		func([]string) (map[string]plan.Applied, error) { return applied.Tenants, nil })
	if err != nil {
		return made, fmt.Errorf("plan the working tree: %w", err)
	}
	return made, nil
}

func invalid(p plan.Plan) int {
	n := 0
	for _, s := range p.Steps {
		if s.Failure != nil {
			n++
		}
	}
	return n
}

// marks are what a step's line begins with.
func mark(s plan.Step) (string, colour) {
	switch {
	case s.Failure != nil:
		return "!", red
	case s.Operation == plan.Provision:
		return "+", green
	case s.Operation == plan.Deprovision, s.Operation == plan.Purge:
		return "-", red
	}
	return "~", yellow
}

// plan writes the steps that do something, and counts the rest.
func (t *terminal) plan(p plan.Plan) {
	unchanged, width := 0, 0
	for _, s := range p.Steps {
		width = max(width, len(s.Tenant))
	}
	for _, s := range p.Steps {
		if s.Operation == "" && s.Failure == nil {
			unchanged++
			continue
		}
		t.step(s, width)
	}
	if p.Hold != "" {
		fmt.Fprintf(t.out, "\n%s: %s\n", t.paint(yellow, "would be held"), clean(p.Hold))
		fmt.Fprintln(t.out, "it would wait for: gitopsd approve <commit>")
	}
	if len(p.Steps) > unchanged {
		fmt.Fprintln(t.out)
	}
	fmt.Fprintln(t.out, summary(p, unchanged))
}

func (t *terminal) step(s plan.Step, width int) {
	sign, c := mark(s)
	what, why := string(s.Operation), s.Reason
	broken := s.Desired != nil && len(s.Desired.Problems) > 0
	switch {
	case broken:
		what, why = "invalid", plural(len(s.Desired.Problems), "problem")
	case s.Failure != nil:
		what = "refused"
	}
	line := fmt.Sprintf("%s %-*s  %-11s", sign, width, clean(s.Tenant), what)
	fmt.Fprintf(t.out, "%s  %s\n", t.paint(c, line), clean(why))
	for _, field := range s.Changes {
		fmt.Fprintln(t.out, "    "+clean(field))
	}
	switch {
	case broken:
		fmt.Fprintln(t.out, indented(indented(cleanLines(s.Desired.Problems.Error()))))
	case s.Failure != nil:
		fmt.Fprintln(t.out, "    "+clean(s.Failure.Message))
		if s.Failure.Hint != "" {
			fmt.Fprintln(t.out, "    hint: "+clean(s.Failure.Hint))
		}
	}
}

// summary counts the steps, such as "1 provision, 2 deploy, 1 invalid, 40 unchanged".
func summary(p plan.Plan, unchanged int) string {
	count := map[plan.Operation]int{}
	for _, s := range p.Steps {
		if s.Failure == nil {
			count[s.Operation]++
		}
	}
	var parts []string
	for _, op := range []plan.Operation{plan.Provision, plan.Update, plan.Deploy, plan.Deprovision, plan.Purge} {
		if n := count[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, op))
		}
	}
	if n := invalid(p); n > 0 {
		parts = append(parts, fmt.Sprintf("%d invalid", n))
	}
	if unchanged > 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", unchanged))
	}
	return strings.Join(parts, ", ")
}
