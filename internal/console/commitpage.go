package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// commitShown is what a commit's page shows.
type commitShown struct {
	Commit
	Word, Text string // the state, and more of it
	Counts     []statusCount
	Shown      []itemShown
	Failed     []itemShown // of those shown
	Pager      pagerShown
}

// statusCount is how many items are where.
type statusCount struct {
	Status string
	Count  int
}

// itemShown is what a commit means for one tenant.
type itemShown struct {
	sync.ItemProgress
	Status  string // the run's, or that there is none
	URL     string // of the tenant
	Failure *failureShown
}

func (s *Server) commitPage(ctx context.Context, r *http.Request, who reader) (page, error) {
	sha := r.PathValue("sha")
	if err := checkCommit(sha); err != nil {
		return page{}, err
	}
	found, err := s.find(ctx, sha)
	if err != nil {
		return page{}, err
	}
	c := commitShown{Commit: view(found)}
	c.Word, c.Text = commitState(c.Commit)
	c.Counts = countsOf(c.Items)
	slices.SortStableFunc(c.Items, func(a, b sync.ItemProgress) int { return cmp.Compare(order(a), order(b)) })
	items, pager, err := pageOf(r, c.Items)
	if err != nil {
		return page{}, err
	}
	c.Pager = pager
	outputs := &budget{hidden: !who.SignedIn}
	for _, i := range items {
		shown := s.item(i, outputs)
		c.Shown = append(c.Shown, shown)
		if shown.Failure != nil {
			c.Failed = append(c.Failed, shown)
		}
	}
	p := page{Title: short(c.Progress.Commit.SHA) + " " + line(c.Progress.Commit.Subject), Template: "commit", Data: c}
	switch {
	case c.Word == stateHeld:
		p.Refresh = later
	case c.State == sync.StatePending:
		p.Refresh = soon
	}
	return p, nil
}

func (s *Server) item(i sync.ItemProgress, outputs *budget) itemShown {
	shown := itemShown{ItemProgress: i, Status: itemStatus(i)}
	if i.Operation != plan.Deprovision && i.Operation != plan.Purge {
		shown.URL = s.url(i.Tenant + "." + s.config.Domain)
	}
	if i.Status == pipeline.Failed {
		cause := i.Failure
		if cause == nil {
			cause = i.Cause
		}
		shown.Failure = failureOf(cause, i.Problems, outputs)
	}
	return shown
}

// commitState says in which state a commit is, and more of it.
func commitState(c Commit) (state, text string) {
	switch {
	case c.SupersededBy != "":
		return stateSuperseded, ""
	case c.Hold != nil:
		return stateHeld, ""
	}
	return string(c.State), c.Description
}

func itemStatus(i sync.ItemProgress) string {
	if i.Operation == "" && i.Failure == nil && i.Status != pipeline.Failed {
		return "no change"
	}
	return string(i.Status)
}

// order sorts items: what failed, what is under way, and the rest.
func order(i sync.ItemProgress) int {
	switch i.Status {
	case pipeline.Failed:
		return 0
	case pipeline.Running:
		return 1
	case pipeline.Queued:
		return 2
	}
	return 3
}

func countsOf(items []sync.ItemProgress) []statusCount {
	n := map[string]int{}
	for _, i := range items {
		n[itemStatus(i)]++
	}
	var counts []statusCount
	for _, s := range []pipeline.Status{pipeline.Failed, pipeline.Running, pipeline.Queued, pipeline.Succeeded, pipeline.Superseded, "no change"} {
		if n[string(s)] > 0 {
			counts = append(counts, statusCount{string(s), n[string(s)]})
		}
	}
	return counts
}
