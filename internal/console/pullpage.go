package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// pullShown is what a pull request's page shows.
type pullShown struct {
	review.Report
	Conflicts, Notes listShown
	Failure          *failureShown
	Counts           []statusCount
	Shown            []stepShown
	Pager            pagerShown
}

// listShown is a list and how many of it are not shown.
type listShown struct {
	Items []string
	Left  int
}

func listed(all []string) listShown {
	l := listShown{Items: all[:min(len(all), shownList)]}
	l.Left = len(all) - len(l.Items)
	return l
}

// stepShown is what merging means for one tenant.
type stepShown struct {
	review.StepShown
	Word       string // operation, or that there is none
	Changes    listShown
	Failure    *failureShown
	Migrations []migrationShown
	Left       int // migrations that are not shown
}

// migrationShown is a change of a database.
type migrationShown struct {
	review.Migration
	SQL string
}

func (s *Server) pullPage(ctx context.Context, r *http.Request, who reader) (page, error) {
	report, err := s.report(ctx, r.PathValue("number"))
	if err != nil {
		return page{}, err
	}
	outputs := &budget{} // all of it is in the pull request
	p := pullShown{Report: report, Conflicts: listed(report.Conflicts), Notes: listed(report.Notes)}
	p.Failure = failureOf(report.Failure, nil, outputs)
	p.Previews = report.Previews[:min(len(report.Previews), shownList)]
	steps := slices.Clone(report.Steps)
	slices.SortStableFunc(steps, func(a, b review.StepShown) int { return cmp.Compare(weight(a), weight(b)) })
	p.Counts = operations(steps)
	steps, p.Pager, err = pageOf(r, steps)
	if err != nil {
		return page{}, err
	}
	for _, step := range steps {
		p.Shown = append(p.Shown, showStep(step, outputs))
	}
	shown := page{Title: "#" + strconv.Itoa(report.Pull.Number) + " " + line(report.Pull.Title), Template: "pull", Data: p, Refresh: later}
	if report.State == sync.StatePending {
		shown.Refresh = soon
	}
	return shown, nil
}

func showStep(step review.StepShown, outputs *budget) stepShown {
	s := stepShown{
		StepShown: step, Word: operation(step), Changes: listed(step.Changes),
		Failure: failureOf(step.Failure, step.Problems, outputs),
	}
	s.Left = max(len(step.Migrations)-shownList, 0)
	for _, m := range step.Migrations[:len(step.Migrations)-s.Left] {
		s.Migrations = append(s.Migrations, migrationShown{Migration: m, SQL: outputs.output(m.SQL)})
	}
	return s
}

func operation(s review.StepShown) string {
	switch {
	case s.Failure != nil || len(s.Problems) > 0:
		return "refused"
	case s.Operation == "":
		return "no change"
	}
	return string(s.Operation)
}

// weight sorts steps: what is refused, what takes away, what does anything, and
// the rest.
func weight(s review.StepShown) int {
	switch word := operation(s); {
	case word == "refused":
		return 0
	case s.Operation == plan.Deprovision:
		return 1
	case s.Operation != "":
		return 2
	}
	return 3
}

func operations(steps []review.StepShown) []statusCount {
	n := map[string]int{}
	for _, s := range steps {
		n[operation(s)]++
	}
	var counts []statusCount
	for _, word := range []string{"refused", string(plan.Deprovision), string(plan.Provision), string(plan.Update), string(plan.Deploy), "no change"} {
		if n[word] > 0 {
			counts = append(counts, statusCount{word, n[word]})
		}
	}
	return counts
}
