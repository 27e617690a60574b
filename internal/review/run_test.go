package review_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/github/githubtest"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/postgres"
	"github.com/gitopsd/gitopsd/internal/review"
)

// TestRun lets the loop run by itself: by hints, by changes and by its own clock.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"})
	w.must(w.mirrorFetched())
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.review.Run(ctx) }()
	w.until("the first poll was made", func() bool { return w.hub.Requests()["GET /repos/{owner}/{repo}/pulls"] > 0 })
	n, head := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
	w.review.Hint(review.Hint{Kind: review.HintPull, Pull: n})
	w.until("a hint is followed", func() bool { return len(w.statuses(head, review.ContextPlan)) == 1 && len(w.ours(n)) == 1 })
	w.push("main", map[string]string{path("acme"): file("acme", "hello")})
	w.done()
	w.until("a change of the branch is followed", func() bool { return strings.Contains(w.status(head).Description, "No tenant") })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func (w *world) mirrorFetched() error {
	_, err := w.mirror.Fetch(w.ctx)
	return err
}

// TestTwoDaemons: once another one has the lease, the loop ends, and says why, also
// while the forge is down; the other one takes over without showing anything again.
func TestTwoDaemons(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("forge down: %v", down), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []string{"base"}, with(func(c *review.Config) { c.Interval = 20 * time.Millisecond }))
			n, head := w.open("add", map[string]string{path("acme"): file("acme", "hello")})
			w.look()
			first := w.review
			ended := make(chan error, 1)
			go func() { ended <- first.Run(w.ctx) }()
			if down {
				end := w.hub.Fail(githubtest.Fault{Kind: githubtest.ServerError})
				defer end()
			}
			other, err := postgres.Open(w.ctx, w.database, postgres.WithLogger(slog.New(slog.DiscardHandler)))
			w.must(err)
			t.Cleanup(other.Close)
			w.must(w.ledger.Release(w.ctx))
			w.must(other.Acquire(w.ctx, "other"))
			// What it writes next is refused: a plan of another base.
			w.push("main", map[string]string{"README.md": "More.\n"})
			w.must(w.mirrorFetched())
			w.ledger = other
			w.restart()
			w.must(w.sync.Turn(w.ctx, true))
			select {
			case err := <-ended:
				if !fault.Is(err, fault.Conflict) {
					t.Errorf("it ends with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if !down {
				w.look()
				w.said(n)
				if s := w.statuses(head, review.ContextPlan); len(s) != 1 {
					t.Errorf("statuses %+v", s)
				}
			}
		})
	}
}

var errKilled = errors.New("killed")

// mortal is a ledger whose process is killed at its nth write, before or after it.
type mortal struct {
	review.Ledger
	left  int // writes until then; negative for never
	after bool
	dead  bool
	n     int
}

// write does a write, unless it is killed before; what comes after is never done.
func (m *mortal) write(do func() error) error {
	if m.dead {
		return errKilled
	}
	m.n++
	if m.left--; m.left == 0 {
		m.dead = true
		if !m.after {
			return errKilled
		}
	}
	err := do()
	if m.dead {
		return errKilled
	}
	return err
}

func (m *mortal) PutReport(ctx ctxt, r review.Report, n []review.Notice) error {
	return m.write(func() error { return m.Ledger.PutReport(ctx, r, n) })
}

func (m *mortal) PutNotices(ctx ctxt, n []review.Notice) error {
	return m.write(func() error { return m.Ledger.PutNotices(ctx, n) })
}

func (m *mortal) NoticeDelivered(ctx ctxt, key string, version, remote int64) error {
	return m.write(func() error { return m.Ledger.NoticeDelivered(ctx, key, version, remote) })
}

func (m *mortal) SawHead(ctx ctxt, pull int, head string, at time.Time) (seen time.Time, err error) {
	return seen, m.write(func() error { seen, err = m.Ledger.SawHead(ctx, pull, head, at); return err })
}

func (m *mortal) PutCommand(ctx ctxt, c review.Command, n []review.Notice) (fresh bool, err error) {
	return fresh, m.write(func() error { fresh, err = m.Ledger.PutCommand(ctx, c, n); return err })
}

func (m *mortal) ApprovePlan(ctx ctxt, a review.PlanApproval) error {
	return m.write(func() error { return m.Ledger.ApprovePlan(ctx, a) })
}

func (m *mortal) PutPreview(ctx ctxt, p review.Preview, run pipeline.Run) error {
	return m.write(func() error { return m.Ledger.PutPreview(ctx, p, run) })
}

func (m *mortal) EndPreview(ctx ctxt, name string, run pipeline.Run) error {
	return m.write(func() error { return m.Ledger.EndPreview(ctx, name, run) })
}

func (m *mortal) Announced(ctx ctxt, run string, s pipeline.Status, n []review.Notice) error {
	return m.write(func() error { return m.Ledger.Announced(ctx, run, s, n) })
}

// TestKilled: killed before or after any write of a story, a new process brings it
// to the same end, and shows each thing once.
func TestKilled(t *testing.T) {
	t.Parallel()
	writes := story(t, -1, false)
	t.Logf("the story has %d writes", writes)
	// Each run of the tests tries others: all of them would take a minute.
	for n := 1 + rand.IntN(7); n <= writes; n += 7 {
		after := rand.IntN(2) == 0
		t.Run(fmt.Sprintf("write %d, after: %v", n, after), func(t *testing.T) {
			t.Parallel()
			story(t, n, after)
		})
	}
}

// story has a pull request with two previews approved and merged, by a process that
// is killed at a write. It returns how many there are.
func story(t *testing.T, kill int, after bool) int {
	m := &mortal{left: -1, after: after}
	w := newWorld(t, names(5), with(func(c *review.Config) { m.Ledger, c.Ledger = c.Ledger, m }))
	look := func() {
		t.Helper()
		for range 2 {
			err := w.review.Turn(w.ctx, nil, true)
			if err == nil {
				err = w.review.Deliver(w.ctx)
			}
			if !m.dead {
				w.must(err)
				return
			}
			m.dead = false
			w.restart()
		}
		t.Fatal("it is killed again")
	}
	look()
	m.n, m.left = 0, kill
	files := without("t0", "t1", "t2", "t3")
	files[path("u")], files[path("v")] = file("u", "one"), file("v", "one")
	n, head := w.open("purge", files)
	look()
	w.tick()
	w.must(w.hub.SetLabel(n, label, ann))
	id := w.comment(n, ann, approve)
	look()
	w.wantPreviews("u-pr-1", "v-pr-1")
	w.want(head, "success", "2 provision, 4 deprovision")
	w.done()
	look()
	merged, err := w.hub.Merge(n, githubtest.MergeCommit)
	w.must(err)
	w.done()
	look()
	w.done()
	look()
	w.wantPreviews()
	w.wantSync(merged, "success", "done")
	if sign := w.signs(n, id); sign != "+1" {
		t.Errorf("the comment is answered %q", sign)
	}
	w.said(n)
	w.shownOnce(n, head, head, merged)
	if got := w.statuses(head, review.ContextPlan); len(got) != 2 {
		t.Errorf("plans %+v", got)
	}
	var made []string
	for _, e := range w.events {
		if strings.HasSuffix(e, "-pr-1") {
			made = append(made, e)
		}
	}
	slices.Sort(made)
	if want := "[deprovision u-pr-1 deprovision v-pr-1 provision u-pr-1 provision v-pr-1]"; fmt.Sprint(made) != want {
		t.Errorf("previews: %v", made)
	}
	if left := must(w.ledger.Previews(w.ctx)); len(left) > 0 {
		t.Errorf("left are %+v", left)
	}
	again := w.push("main", map[string]string{path("t0"): file("t0", "one"), path("t1"): file("t1", "one"), path("t2"): file("t2", "one"), path("t3"): file("t3", "one")})
	w.done()
	w.wantSync(again, "success", "done")
	again = w.push("main", without("t0", "t1", "t2", "t3"))
	w.done()
	w.wantSync(again, "pending", "Held") // the approval was used
	return m.n
}
