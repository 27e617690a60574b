package review

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	ended   map[string]time.Time // previews that failed to go, and when that was tried last
	obeyed  map[int64]bool       // comments that this process worked off

	mu       gosync.Mutex
	labelled map[int]Labelling // from signed deliveries, with their head
}

// review is what the loop knows of one open pull request.
type review struct {
	pull   Pull
	report Report
	forced bool      // someone asked for a new plan
	seen   time.Time // its head, first, by the forge's clock
	gone   bool      // its head could not be brought
	made   bool      // report was made by this process
	asked  labelWish
}

// New returns reviews that are ready to Run.
func New(c Config) *Loop {
	if c.Interval == 0 {
		c.Interval = 15 * time.Second
	}
	return &Loop{
		Config: c, hints: make(chan Hint, 1024), deliver: make(chan struct{}, 1),
		pulls: map[int]*review{}, obeyed: map[int64]bool{}, ended: map[string]time.Time{}, labelled: map[int]Labelling{},
	}
}

// Hint makes the loop look sooner. It never blocks: what it has no room for,
// the next poll finds.
func (l *Loop) Hint(h Hint) {
	if h.Labelled != nil && h.Labelled.Head != "" {
		l.mu.Lock()
		l.labelled[h.Pull] = *h.Labelled
		l.mu.Unlock()
	}
	select {
	case l.hints <- h:
	default:
	}
}

// Run works until ctx ends or the lease is lost.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
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

// load takes up the reports that were made before.
func (l *Loop) load(ctx context.Context) error {
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
	var failed []error
	step := func(what string, do func() error) bool {
		err := do()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", what, err))
		}
		return !fault.Is(err, fault.Conflict) && ctx.Err() == nil
	}
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
	for _, s := range steps {
		if !step(s.what, s.do) {
			break
		}
	}
	err := errors.Join(failed...)
	if err == nil && poll {
		l.failing = ""
	}
	return err
}

// look learns of pull requests: of all, or of those that were hinted at.
func (l *Loop) look(ctx context.Context, hints []Hint, poll bool) error {
	if poll {
		l.listed = time.Now() // also when it fails: the next try is at the next poll
		open, err := l.Forge.Pulls(ctx, l.Branch)
		if err != nil {
			return err
		}
		listed := map[int]bool{}
		for _, p := range open {
			listed[p.Number] = true
			l.learn(p)
		}
		for number := range l.pulls {
			if !listed[number] {
				hints = append(hints, Hint{Kind: HintPull, Pull: number})
			}
		}
	}
	asked := map[int]bool{}
	for _, h := range hints {
		if h.Pull == 0 || h.Kind == HintComment || asked[h.Pull] {
			continue
		}
		asked[h.Pull] = true
		if err := l.lookAt(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) lookAt(ctx context.Context, h Hint) error {
	p, err := l.Forge.Pull(ctx, h.Pull)
	if fault.Is(err, fault.NotFound) {
		p, err = Pull{Number: h.Pull, Closed: true}, nil
	}
	if err != nil {
		return fmt.Errorf("look at pull request %d: %w", h.Pull, err)
	}
	if p.Closed || p.Branch != l.Branch {
		return l.leave(ctx, p)
	}
	l.learn(p)
	if h.Kind == HintRecheck {
		l.pulls[p.Number].forced = true
	}
	return nil
}

func (l *Loop) learn(p Pull) {
	r := l.pulls[p.Number]
	if r == nil {
		r = &review{}
		l.pulls[p.Number] = r
	}
	if r.pull.Head != p.Head {
		r.seen, r.gone = time.Time{}, false
	}
	r.pull = p
}

// leave ends the review of a pull request that was closed, or is onto another branch now.
func (l *Loop) leave(ctx context.Context, p Pull) error {
	r := l.pulls[p.Number]
	if r == nil {
		return nil
	}
	r.report.Pull.Closed, r.report.Pull.Merged = true, p.Merged
	if err := l.Ledger.PutReport(ctx, r.report, nil); err != nil {
		return fmt.Errorf("close the review of pull request %d: %w", p.Number, err)
	}
	delete(l.pulls, p.Number)
	l.mu.Lock()
	delete(l.labelled, p.Number)
	l.mu.Unlock()
	return nil
}

// planDue makes the plans that are missing or out of date, those of new heads
// first. It stops for a hint: what is new comes before what only moved.
func (l *Loop) planDue(ctx context.Context) error {
	base := l.Source.Head()
	if base == "" || len(l.pulls) == 0 {
		return nil // nothing was fetched yet, or there is nothing to plan
	}
	live, err := l.Ledger.State(ctx)
	if err != nil {
		return err
	}
	fresh, moved := l.due(base, live)
	if err := l.obtain(ctx, fresh); err != nil {
		return err
	}
	for _, r := range fresh {
		if err := l.planOne(ctx, r, base, live); err != nil {
			return err
		}
	}
	for _, r := range moved {
		if len(l.hints) > 0 {
			l.Hint(Hint{Kind: HintPush}) // come back for the rest
			return nil
		}
		if err := l.planOne(ctx, r, base, live); err != nil {
			return err
		}
	}
	return nil
}

// due returns the reviews whose plan is missing, and those whose plan is of
// another base or of what was applied before.
func (l *Loop) due(base, live string) (fresh, moved []*review) {
	for _, r := range l.pulls {
		was := r.report
		switch {
		case r.gone:
		case r.forced || was.Pull.Head != r.pull.Head || was.Pull.Draft != r.pull.Draft:
			fresh = append(fresh, r)
		case was.Base != base || was.Live != live && (len(was.Steps) > 0 || was.Failure != nil):
			moved = append(moved, r)
		}
	}
	byNumber := func(a, b *review) int { return a.pull.Number - b.pull.Number }
	slices.SortFunc(fresh, byNumber)
	slices.SortFunc(moved, byNumber)
	return fresh, moved
}

// obtain brings the heads of reviews, all in one exchange.
func (l *Loop) obtain(ctx context.Context, reviews []*review) error {
	var wanted []Wanted
	for _, r := range reviews {
		wanted = append(wanted, Wanted{Ref: r.pull.Ref, SHA: r.pull.Head})
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := l.Source.Obtain(ctx, wanted); err != nil {
		return fmt.Errorf("fetch the heads of pull requests: %w", err)
	}
	return nil
}

// planOne makes a pull request's plan and puts what shows it.
func (l *Loop) planOne(ctx context.Context, r *review, base, live string) error {
	there, err := l.Source.Has(ctx, r.pull.Head)
	if err == nil && !there { // the mirror was made anew, or the head is older than a restart
		if err = l.obtain(ctx, []*review{r}); err == nil {
			there, err = l.Source.Has(ctx, r.pull.Head)
		}
	}
	if err != nil {
		return err
	}
	if !there {
		r.gone = true // its ref leads elsewhere by now: the next look brings its new head
		return nil
	}
	if r.seen.IsZero() {
		if r.seen, err = l.Ledger.SawHead(ctx, r.pull.Number, r.pull.Head, r.pull.Seen); err != nil {
			return err
		}
	}
	report, err := l.makeReport(ctx, r, base, live)
	if err != nil {
		return fmt.Errorf("plan pull request %d: %w", r.pull.Number, err)
	}
	r.made = true
	return l.publish(ctx, r, report)
}

// publish keeps a report and puts the notices that show it.
func (l *Loop) publish(ctx context.Context, r *review, report Report) error {
	notices, err := l.notices(&report)
	if err != nil {
		return err
	}
	if err := l.Ledger.PutReport(ctx, report, notices); err != nil {
		return err
	}
	if report.State != r.report.State || report.Pull.Head != r.report.Pull.Head {
		l.Log.Info("pull request planned", "pull", report.Pull.Number, "commit", report.Pull.Head,
			"state", report.State, "description", report.Description)
	}
	r.report, r.forced = report, false
	signal(l.deliver)
	return nil
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
