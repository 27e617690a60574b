package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/build/migration"
	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
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
	shown := outlook{Plan: made, Summary: made.Summary(), Steps: []stepOutlook{}}
	for _, s := range made.Steps {
		one, err := w.outlook(ctx, s, applied.Domain)
		if err != nil {
			return err
		}
		shown.Steps = append(shown.Steps, one)
	}
	if p.json() {
		err = t.printJSON(shown)
	} else {
		t.plan(shown)
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
		Policies: policy.New(w.FS, w.TreeID, applied.Brake),
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
func (t *terminal) plan(p outlook) {
	written, width := 0, 0
	for _, s := range p.Steps {
		width = max(width, len(s.Tenant))
	}
	for _, s := range p.Steps {
		if s.Operation == "" && s.Failure == nil && len(s.Consequences) == 0 {
			continue
		}
		t.step(s, width)
		written++
	}
	if p.Hold != "" {
		fmt.Fprintf(t.out, "\n%s: %s\n", t.paint(yellow, "would be held"), clean(p.Hold))
		fmt.Fprintln(t.out, "it would wait for: gitopsd approve <commit>")
	}
	if written > 0 {
		fmt.Fprintln(t.out)
	}
	fmt.Fprintln(t.out, clean(p.Summary))
}

func (t *terminal) step(s stepOutlook, width int) {
	sign, c := mark(s.Step)
	what, why := string(s.Operation), s.Reason
	broken := s.Desired != nil && len(s.Desired.Problems) > 0
	switch {
	case broken:
		what, why = "invalid", plural(len(s.Desired.Problems), "problem")
	case s.Failure != nil:
		what = "refused"
	case what == "":
		what = "nothing"
	}
	line := fmt.Sprintf("%s %-*s  %-11s", sign, width, clean(s.Tenant), what)
	fmt.Fprintf(t.out, "%s  %s\n", t.paint(c, line), clean(why))
	switch {
	case broken:
		fmt.Fprintln(t.out, indented(indented(cleanLines(s.Desired.Problems.Error()))))
	case s.Failure != nil:
		fmt.Fprintln(t.out, "    "+clean(s.Failure.Message))
		if s.Failure.Hint != "" {
			fmt.Fprintln(t.out, "    hint: "+clean(s.Failure.Hint))
		}
	default:
		t.consequences(s)
	}
}

// consequences writes what a step means, each with its effect in front.
func (t *terminal) consequences(s stepOutlook) {
	line := func(c colour, word, text string) {
		fmt.Fprintf(t.out, "    %s  %s\n", t.paint(c, fmt.Sprintf("%-14s", word)), clean(text))
	}
	if n := len(s.Changes); n > 0 {
		const most = 8
		text := strings.Join(s.Changes[:min(n, most)], ", ")
		if n > most {
			text += fmt.Sprintf(" and %d more", n-most)
		}
		line(grey, "changed", text)
	}
	for _, c := range s.Consequences {
		line(severity(c.Effect), string(c.Effect), c.Text)
	}
	for _, m := range s.Migrations {
		line(danger(m.Verdict), "migration", m.Name+": "+string(m.Verdict))
		for _, why := range m.Why {
			line(plain, "", why)
		}
	}
	if s.Unknown != "" {
		line(yellow, "migration", s.Unknown)
	}
}

func severity(e plan.Effect) colour {
	switch e {
	case plan.DataLoss, plan.Downtime:
		return red
	case plan.Breaking, plan.Action:
		return yellow
	case plan.NewCertificate, plan.Cost, plan.Infrastructure, plan.Restart, plan.Note:
	}
	return plain
}

func danger(v migration.Verdict) colour {
	switch v {
	case migration.Destructive, migration.Error:
		return red
	case migration.Caution:
		return yellow
	case migration.Safe:
	}
	return plain
}
