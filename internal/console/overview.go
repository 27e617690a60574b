package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

const (
	pageSize     = 100 // tenants, items or steps on one page
	shownCommits = 15
	shownPulls   = 30
)

// overview is what the first page shows.
type overview struct {
	Failing string // why the branch cannot be followed
	Head    string

	Phases  []phaseCount
	Tenants []Summary
	Total   int
	Search  string
	Phase   Phase
	Pager   pagerShown

	Commits []commitRow
	Forge   bool
	Pulls   []review.Report
}

// phaseCount is how many tenants are in a phase.
type phaseCount struct {
	Phase Phase
	Count int
	Link  string
}

// commitRow is a commit in a list.
type commitRow struct {
	Listed
	State, Text string
}

// pagerShown leads through a list that is too long for one page.
type pagerShown struct {
	From, To, All  int // entries, from 1
	Previous, Next string
}

// pageOf cuts a list to the page a request asks for.
func pageOf[T any](r *http.Request, list []T) ([]T, pagerShown, error) {
	n, query := 1, r.URL.Query()
	if v := query.Get("page"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1 || n > 1_000_000 {
			return nil, pagerShown{}, fault.Errorf(fault.Invalid, "page=%s is not a page's number", cut(v, 20)).WithHint("pages count from 1")
		}
	}
	from := min((n-1)*pageSize, len(list))
	to := min(from+pageSize, len(list))
	p := pagerShown{From: min(from+1, to), To: to, All: len(list)}
	leading := func(n int) string {
		query.Del("news")
		query.Del("wait")
		query.Set("page", strconv.Itoa(n))
		return "?" + query.Encode()
	}
	if n > 1 {
		p.Previous = leading(n - 1)
	}
	if to < len(list) {
		p.Next = leading(n + 1)
	}
	return list[from:to], p, nil
}

func (s *Server) overview(ctx context.Context, r *http.Request, who reader) (page, error) {
	o := overview{Search: strings.TrimSpace(r.URL.Query().Get("q")), Phase: Phase(r.URL.Query().Get("phase"))}
	if health := s.config.Loop.Health(); who.SignedIn {
		o.Failing, o.Head = health.Failing, health.Head
	} else if health.Failing != "" {
		o.Failing = "The branch cannot be followed just now. Sign in to see why."
	}
	if err := s.addTenants(ctx, r, &o); err != nil {
		return page{}, err
	}
	moving, err := s.addCommits(ctx, &o)
	if err != nil {
		return page{}, err
	}
	if o.Forge = s.config.Reviews != nil; o.Forge {
		if o.Pulls, err = s.config.Reviews.Pulls(ctx, shownPulls); err != nil {
			return page{}, fmt.Errorf("read pull requests: %w", err)
		}
	}
	p := page{Title: "Overview", Template: "overview", Data: o, Refresh: later}
	if moving {
		p.Refresh = soon
	}
	return p, nil
}

// addTenants adds those that are asked for, what needs attention first.
func (s *Server) addTenants(ctx context.Context, r *http.Request, o *overview) error {
	all, err := s.summaries(ctx)
	if err != nil {
		return err
	}
	o.Total = len(all)
	counts := map[Phase]int{}
	for _, t := range all {
		counts[t.Phase]++
	}
	for _, phase := range slices.Sorted(maps.Keys(counts)) {
		o.Phases = append(o.Phases, phaseCount{phase, counts[phase], "?" + url.Values{"phase": {string(phase)}}.Encode()})
	}
	found := slices.DeleteFunc(all, func(t Summary) bool {
		return !strings.Contains(t.Name, strings.ToLower(o.Search)) || o.Phase != "" && t.Phase != o.Phase
	})
	slices.SortStableFunc(found, func(a, b Summary) int { return cmp.Compare(urgency(a), urgency(b)) })
	o.Tenants, o.Pager, err = pageOf(r, found)
	return err
}

// urgency sorts tenants: what went wrong, what is under way, and the rest.
func urgency(t Summary) int {
	switch {
	case tone(t.Phase) == "bad" || strings.HasPrefix(t.Message, "refused"):
		return 0
	case tone(t.Phase) == "busy":
		return 1
	}
	return 2
}

// addCommits adds the last commits; moving means that one is in progress.
func (s *Server) addCommits(ctx context.Context, o *overview) (moving bool, err error) {
	last, err := s.config.Ledger.Commits(ctx, shownCommits)
	if err != nil {
		return false, fmt.Errorf("read commits: %w", err)
	}
	for _, c := range last {
		row := commitRow{Listed: c}
		row.State, row.Text = listedState(c)
		o.Commits = append(o.Commits, row)
		moving = moving || row.State == string(sync.StatePending)
	}
	return moving, nil
}

// The states that a commit has beside those of its status.
const (
	stateHeld       = "held"
	stateSuperseded = "superseded"
)

func listedState(c Listed) (state, text string) {
	switch {
	case c.SupersededBy != "":
		return stateSuperseded, "by " + short(c.SupersededBy)
	case c.Hold != nil:
		return stateHeld, c.Hold.Message
	case c.Status == nil:
		return string(sync.StatePending), ""
	}
	return string(c.Status.State), c.Status.Description
}
