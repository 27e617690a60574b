package review_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/review"
)

// TestLabelsByPollAlone: whether a label was set on the head that is there now.
func TestLabelsByPollAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fork bool
		act  func(w *world, n int, branch string)
		want bool
	}{
		"at the opening": {act: func(*world, int, string) {}, want: true},
		"long after the push": {fork: true, want: true, act: func(w *world, n int, _ string) {
			w.look()
			w.label(n, ann)
		}},
		"then pushed": {fork: true, act: func(w *world, n int, branch string) {
			w.label(n, ann)
			w.tick()
			w.push(branch, map[string]string{path("acme"): file("acme", "evil")})
		}},
		"then pushed, in the repository": {act: func(w *world, n int, branch string) {
			w.look()
			w.label(n, ann)
			w.tick()
			w.push(branch, map[string]string{path("acme"): file("acme", "evil")})
		}},
		"another branch pushed": {act: func(w *world, n int, _ string) {
			w.look()
			w.label(n, ann)
			w.tick()
			w.push("elsewhere", map[string]string{"x": "y"})
		}, want: true},
		// Mallory shows evil, puts something nice there to get the label, and puts
		// evil back.
		"put back": {fork: true, act: func(w *world, n int, branch string) {
			evil := w.push(branch, map[string]string{path("acme"): file("acme", "evil")})
			w.look()
			w.tick()
			w.push(branch, map[string]string{path("acme"): file("acme", "nice")})
			w.label(n, ann)
			w.tick()
			w.gitRun("update-ref", "refs/forks/mallory/add", evil)
			w.must(w.hub.Refresh())
		}},
		"set again for the new head": {fork: true, act: func(w *world, n int, branch string) {
			w.label(n, ann)
			w.tick()
			w.push(branch, map[string]string{path("acme"): file("acme", "more")})
			w.look()
			w.label(n, ann)
		}, want: true},
		"set again by a reader": {fork: true, act: func(w *world, n int, _ string) {
			w.look()
			w.label(n, ann)
			w.label(n, rita)
		}},
		"another label": {act: func(w *world, n int, _ string) {
			w.label(n, rita)
			w.must(w.hub.SetLabel(n, "good", ann))
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []string{"base"})
			branch, p := "add", githubtest.Pull{Author: ann}
			if test.fork {
				branch, p.Author = "mallory:add", mallory
			}
			w.push(branch, map[string]string{path("acme"): file("acme", "hello")})
			p.Branch = branch
			w.tick()
			n := w.pull(p)
			if name == "at the opening" {
				w.must(w.hub.SetLabel(n, label, ann))
			}
			test.act(w, n, branch)
			w.look()
			w.look()
			if got := len(w.previews()) > 0; got != test.want {
				t.Errorf("previews %q:\n%s", w.previews(), w.said(n).Body)
			}
			if !test.want {
				w.said(n, "No preview: ")
			}
			before := w.previews()
			w.restart()
			w.look()
			w.wantPreviews(before...)
		})
	}
}

// labelled is the hint that a signed delivery about a label makes.
func labelled(pull int, by, name, head string) review.Hint {
	return review.Hint{Kind: review.HintPull, Pull: pull, Label: name, Labelled: &review.Labelling{By: by, At: time.Now().Truncate(time.Second), Head: head}}
}

// TestLabelsByWebhook: the head at the moment of the label is known.
func TestLabelsByWebhook(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hints func(n int, head, second string) []review.Hint
		want  bool
	}{
		"of this head":       {func(n int, _, second string) []review.Hint { return []review.Hint{labelled(n, ann, label, second)} }, true},
		"in another case":    {func(n int, _, second string) []review.Hint { return []review.Hint{labelled(n, ann, "Preview", second)} }, true},
		"of the head before": {func(n int, head, _ string) []review.Hint { return []review.Hint{labelled(n, ann, label, head)} }, false},
		"by a reader":        {func(n int, _, second string) []review.Hint { return []review.Hint{labelled(n, rita, label, second)} }, false},
		"another label": {func(n int, _, second string) []review.Hint {
			return []review.Hint{labelled(n, rita, label, second), labelled(n, ann, "documentation", second)}
		}, false},
		"another label afterwards": {func(n int, _, second string) []review.Hint {
			return []review.Hint{labelled(n, ann, label, second), labelled(n, rita, "documentation", second)}
		}, true},
		"taken off": {func(n int, _, second string) []review.Hint {
			return []review.Hint{labelled(n, ann, label, second), {Kind: review.HintPull, Pull: n, Label: label}}
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []string{"base"})
			head := w.push("mallory:add", map[string]string{path("acme"): file("acme", "hello")})
			n := w.pull(githubtest.Pull{Branch: "mallory:add", Author: mallory})
			w.must(w.hub.SetLabel(n, label, rita)) // what the forge itself knows does not count
			second := w.push("mallory:add", map[string]string{path("acme"): file("acme", "more")})
			w.hinted(test.hints(n, head, second)...)
			if got := len(w.previews()) > 0; got != test.want {
				t.Errorf("previews %q:\n%s", w.previews(), w.said(n).Body)
			}
			third := w.push("mallory:add", map[string]string{path("acme"): file("acme", "evil")})
			w.look()
			for _, p := range must(w.ledger.Previews(w.ctx)) {
				if p.Head == third {
					t.Errorf("the third head is shown: %+v", p)
				}
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPermissionUnknown: while it is not known whether somebody may ask for a
// preview there is none.
func TestPermissionUnknown(t *testing.T) {
	t.Parallel()
	p := &picky{about: rita, err: errors.New("500 or so")}
	w := newWorld(t, nil, with(func(c *review.Config) { p.Forge, c.Forge = c.Forge, p }))
	n, _ := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	w.look()
	w.label(n, rita)
	for range 3 {
		if err := w.review.Turn(w.ctx, nil, true); err == nil {
			t.Error("nobody was asked")
		}
		w.wantPreviews()
	}
	p.err = nil
	w.look()
	w.wantPreviews()
	w.said(n, "rita may not write")
}
