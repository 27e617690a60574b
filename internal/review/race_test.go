package review_test

import (
	"context"
	"testing"

	"github.com/gitopsd/gitopsd/internal/review"
)

// meanwhile does something while a plan is made: one thing with each.
type meanwhile struct {
	review.Source
	do []func()
}

func (m *meanwhile) Merge(ctx context.Context, base, head string) (review.Merged, error) {
	merged, err := m.Source.Merge(ctx, base, head)
	if len(m.do) > 0 {
		do := m.do[0]
		m.do = m.do[1:]
		do()
	}
	return merged, err
}

// A plan is never of two bases: what the branch brought while it was made would
// look like something that the pull request takes back.
func TestBranchMovesWhilePlanning(t *testing.T) {
	t.Parallel()
	m := &meanwhile{}
	w := newWorld(t, []string{"base"}, with(func(c *review.Config) { m.Source, c.Source = c.Source, m }))
	_, head := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	m.do = []func(){
		func() {
			w.push("main", map[string]string{path("base"): file("base", "two")})
			w.done()
		},
		func() { w.must(w.review.Deliver(w.ctx)) },
	}
	w.look()
	if all := w.statuses(head, review.ContextPlan); len(all) != 1 || all[0].Description != "1 provision" {
		t.Errorf("the plans are %+v", all)
	}
}
