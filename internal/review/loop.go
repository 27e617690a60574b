package review

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	gosync "sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Source is the repository as a review needs it.
type Source interface {
	// Head returns the branch's commit as it was fetched last, "" before.
	Head() string
	// Obtain brings commits that are not of the branch, each with the ref that
	// leads to it. A commit that its ref no longer leads to is left out.
	Obtain(ctx context.Context, wanted []Wanted) error
	// Has reports whether a commit was brought.
	Has(ctx context.Context, sha string) (bool, error)
	// Merge returns what merging head into base would give. Histories that have
	// nothing in common are fault.Invalid.
	Merge(ctx context.Context, base, head string) (Merged, error)
	// Ignored names what of the paths is not in the repository itself, such as
	// submodules.
	Ignored(ctx context.Context, commit string, paths []string) ([]string, error)
}

// Wanted is a commit to bring.
type Wanted struct{ Ref, SHA string }

// Merged is what a merge would give.
type Merged struct {
	SHA       string
	Base      string   // of the merge: the newest commit that both have
	Conflicts []string // paths; then SHA is ""
}

// Planner plans beside the loop that follows the branch.
type Planner interface {
	// Preview plans what accepting a commit would do now.
	Preview(ctx context.Context, to string) (head string, p plan.Plan, err error)
	// Settings returns what a commit's policy says that is data; fault.Invalid if
	// it has problems.
	Settings(ctx context.Context, commit string) (sync.Settings, error)
	// Distrust says which commit after from up to to is not signed as the policy
	// of the commit authority demands; "" if there is none, or no such demand.
	Distrust(ctx context.Context, authority, from, to string) (string, error)
	// Desire says what a tenant amounts to, built from a commit.
	Desire(ctx context.Context, commit string, t *tenant.Tenant) (plan.Desired, error)
	// Wake makes the loop look at what was queued or approved.
	Wake()
}

// Migrations finds what a step would change in a tenant's database.
type Migrations interface {
	Migrations(ctx context.Context, from, to string, s plan.Step) ([]Migration, error)
}

// Links are the addresses of pages that people get to see.
type Links struct {
	Commit func(sha string) string
	Pull   func(number int) string
	Tenant func(name string) string // of the tenant itself, not of a page about it
	Run    func(tenant string) string
}

// Config sets reviews up.
type Config struct {
	Forge      Forge
	Ledger     Ledger
	Source     Source
	Planner    Planner
	Migrations Migrations
	Links      Links
	Domain     string // the platform's
	Branch     string
	Interval   time.Duration // between looks at the forge when no hint comes
	Changes    func(ctx context.Context) <-chan struct{}
	Log        *slog.Logger
}

// Loop looks at pull requests, and delivers what the forge is to show.
type Loop struct {
	Config
	hints   chan Hint
	deliver chan struct{}

	pulls   map[int]*review
	listed  time.Time // all pulls were asked for last, by our clock
	failing string    // why the forge cannot be asked now
	pruned  time.Time
	unknown string    // the branch's commit while the loop that follows it has not looked at it
	since   time.Time // unknown is

	ended  map[string]time.Time // previews that failed to go, and when that was tried last
	read   time.Time            // comments up to then, by the forge's clock
	obeyed map[int64]bool       // comments that this process looked at
	vain   map[int64]inVain     // those of them that are to be tried again

	mu       gosync.Mutex
	labelled map[ofLabel]Labelling // from signed deliveries, with their head
}

// review is what the loop knows of one open pull request.
type review struct {
	pull   Pull
	report Report
	forced bool          // someone asked for a new plan
	seen   time.Time     // its head, first, by the forge's clock
	known  bool          // this process heard of it from the forge
	gone   bool          // its head could not be brought
	unfit  *fault.Record // why its head can never be brought
	still  bool          // what is applied does not bear on its plan
	made   bool          // report was made by this process
	asked  labelWish
}

// New returns reviews that are ready to Run.
func New(c Config) *Loop {
	if c.Interval == 0 {
		c.Interval = 15 * time.Second
	}
	return &Loop{
		Config: c, hints: make(chan Hint, 1024), deliver: make(chan struct{}, 1),
		pulls: map[int]*review{}, obeyed: map[int64]bool{}, vain: map[int64]inVain{}, ended: map[string]time.Time{}, labelled: map[ofLabel]Labelling{},
	}
}

// Hint makes the loop look sooner. It never blocks: what it has no room for,
// the next poll finds.
func (l *Loop) Hint(h Hint) {
	l.hear(h)
	select {
	case l.hints <- h:
	default:
	}
}

// Run works until ctx ends or the lease is lost.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.Load(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.follow(ctx) })
	g.Go(func() error { return l.deliverAll(ctx) })
	err := g.Wait()
	if ctx.Err() != nil && !fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// Load takes up the reports that were made before. Run does it first; who takes
// turns by hand must.
func (l *Loop) Load(ctx context.Context) error {
	reports, err := l.Ledger.Reports(ctx)
	if err != nil {
		return fmt.Errorf("read reports: %w", err)
	}
	for _, r := range reports {
		r.Base = "" // of which no plan can be: it is made anew, since what it is made of is not kept
		l.pulls[r.Pull.Number] = &review{pull: r.Pull, report: r}
	}
	return nil
}

// settled is how long changes of what is applied are gathered before plans are
// made anew for them.
const settled = 500 * time.Millisecond

func (l *Loop) follow(ctx context.Context) error {
	changes := l.Changes(ctx)
	timer := time.NewTimer(0) // the first turn is at once
	defer timer.Stop()
	var hints []Hint
	poll := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case h := <-l.hints:
			hints = l.gather(h)
		case _, open := <-changes:
			if !open {
				changes = nil
				continue
			}
			if err := pause(ctx, l.hints, &hints, settled); err != nil {
				return err
			}
		case <-timer.C:
			poll = true
		}
		err := l.Turn(ctx, hints, poll || time.Since(l.listed) >= l.Interval)
		hints, poll = nil, false
		timer.Reset(max(l.Interval-time.Since(l.listed), l.Interval/4))
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fault.Is(err, fault.Conflict) {
			return fmt.Errorf("the lease is lost: %w", err)
		}
		l.note(err)
	}
}

// note logs why a turn failed, once for as long as it is the same.
func (l *Loop) note(err error) {
	text := err.Error()
	if text != l.failing {
		l.Log.Warn("cannot review pull requests; trying again", "error", err)
	}
	l.failing = text
}

// gather takes the hints that are there already, too.
func (l *Loop) gather(first Hint) []Hint {
	hints := []Hint{first}
	for {
		select {
		case h := <-l.hints:
			hints = append(hints, h)
		default:
			return hints
		}
	}
}

// pause waits for a while, or for a hint.
func pause(ctx context.Context, hints <-chan Hint, got *[]Hint, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case h := <-hints:
		*got = append(*got, h)
	case <-t.C:
	}
	return nil
}

// Turn takes every step once. poll says whether to ask the forge for all pull
// requests and comments; else only what the hints are about is asked for. A step
// that fails keeps no other from being taken.
func (l *Loop) Turn(ctx context.Context, hints []Hint, poll bool) error {
	comments := poll
	for _, h := range hints {
		comments = comments || h.Kind == HintComment
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"look at pull requests", func() error { return l.look(ctx, hints, poll) }},
		{"plan", func() error { return l.planDue(ctx) }},
		{"work off comments", func() error {
			if !comments {
				return nil
			}
			return l.commands(ctx)
		}},
		{"plan", func() error { return l.planDue(ctx) }}, // what a comment asked for
		{"keep previews", func() error { return l.keepPreviews(ctx) }},
		{"announce runs", func() error { return l.announce(ctx) }},
	}
	var failed []error
	for _, s := range steps {
		err := s.do()
		if err == nil {
			continue
		}
		failed = append(failed, fmt.Errorf("%s: %w", s.what, err))
		if fault.Is(err, fault.Conflict) || ctx.Err() != nil {
			break // another daemon takes the steps
		}
	}
	if len(failed) == 0 && poll {
		l.failing = ""
	}
	return join(failed...)
}

// each does something for each of several things. What goes wrong with one keeps
// no other from its turn, unless it concerns all of them.
func each[T any](ctx context.Context, all []T, do func(T) error) error {
	var failed []error
	for _, one := range all {
		err := do(one)
		if err == nil {
			continue
		}
		failed = append(failed, err)
		if ends(ctx, err) {
			break
		}
	}
	return join(failed...)
}

// ends reports whether an error is no single thing's: the lease is lost, all ends,
// or the forge asks for a pause.
func ends(ctx context.Context, err error) bool {
	return fault.Is(err, fault.Conflict) || ctx.Err() != nil || !fault.After(err).IsZero()
}

// join joins errors so that the kind of the whole is that which ends more: a lost
// lease, and then a pause.
func join(errs ...error) error {
	for i, err := range errs {
		switch {
		case fault.Is(err, fault.Conflict):
			return err
		case !fault.After(err).IsZero():
			errs[0], errs[i] = err, errs[0]
		}
	}
	return errors.Join(errs...)
}

// asked keeps what is a conflict to the forge from being taken for a lost lease.
func asked(err error) error {
	if fault.Is(err, fault.Conflict) {
		return fault.Errorf(fault.Transient, "%w", err)
	}
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func short(commit string) string { return commit[:min(len(commit), 7)] }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
