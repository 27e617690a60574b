package review_test

import (
	"context"
	"testing"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/review"
)

// heavy is a source that finds one commit too large, and counts how often it is
// asked for it.
type heavy struct {
	review.Source
	sha   *string
	asked *int
}

func (h heavy) Has(ctx context.Context, sha string) (bool, error) {
	if sha == *h.sha {
		return false, nil
	}
	return h.Source.Has(ctx, sha)
}

func (h heavy) Obtain(ctx context.Context, wanted []review.Wanted) error {
	for _, w := range wanted {
		if w.SHA == *h.sha {
			*h.asked++
			return fault.Errorf(fault.Invalid, "the repository is larger than what is fetched at most")
		}
	}
	return h.Source.Obtain(ctx, wanted)
}

// A head that is too large is not fetched again each time that something moves.
func TestWhatIsTooLargeIsFetchedOnce(t *testing.T) {
	t.Parallel()
	sha, asked := "", 0
	w := newWorld(t, []string{"base"}, with(func(c *review.Config) { c.Source = heavy{c.Source, &sha, &asked} }))
	_, sha = w.open("large", map[string]string{path("acme"): file("acme", "hello")})
	_, other := w.open("other", map[string]string{path("beta"): file("beta", "hello")})
	w.look()
	w.want(sha, "failure", "larger than what is fetched")
	w.want(other, "success", "1 provision")
	before := asked
	for _, greeting := range []string{"two", "three"} {
		w.push("main", map[string]string{path("base"): file("base", greeting)})
		w.done()
		w.look()
	}
	if asked != before {
		t.Errorf("it was asked for %d times again", asked-before)
	}
	w.want(other, "success", "1 provision")
}
