package sync

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
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// Source is where commits come from.
type Source interface {
	Tree
	// Fetch brings the tracked branch's newest commit and returns its name.
	Fetch(ctx context.Context) (head string, err error)
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
	// Commits returns the commits after from up to to on the first-parent line,
	// newest first, at most limit; Parent names the one before the last.
	Commits(ctx context.Context, from, to string, limit int) ([]Commit, error)
	// Watch delivers when there may be something to fetch, until ctx ends.
	Watch(ctx context.Context) <-chan struct{}
}

// Signatures reads what commits are signed with.
type Signatures interface {
	// Signed returns a commit as its signature covers it; fault.Invalid if that
	// cannot be told.
	Signed(ctx context.Context, sha string) (SignedCommit, error)
}

// Engine runs machines.
type Engine interface {
	// Start runs the run's machine, or goes on with it. Starting a run twice is
	// one run.
	Start(ctx context.Context, run pipeline.Run) error
}

// Reporter shows a commit's status where people look.
type Reporter interface {
	Report(ctx context.Context, s CommitStatus) error
}

// Config sets the loop up.
type Config struct {
	Planner    Planner
	Source     Source
	Ledger     Ledger
	Engine     Engine
	Reporter   Reporter
	Signatures Signatures    // nil where none can be read: then a policy that demands them holds everything
	Branch     string        // that the source follows, for the policy
	Runs       int           // at a time, at most
	Interval   time.Duration // longest time between two turns
	Log        *slog.Logger
}

// Loop is the loop. Make it with New, then Run it.
type Loop struct {
	Config
	index   *Index
	head    string // accepted
	held    string // head that was held last
	waits   string // fingerprint of the plan that held waits for, "" if it waits for more
	stale   bool   // head and index may not be what the ledger has
	again   bool   // the last look at the branch did not come to an end
	started map[string]bool
	wake    chan struct{}
	deliver chan struct{}

	mu     gosync.Mutex
	health Health
	loaded chan struct{}  // closed once head and index are known
	known  gosync.RWMutex // held to write head and index, or to read them beside the loop

	purgeTried map[string]time.Time
}

// Health is how the loop does.
type Health struct {
	Head    string    `json:"head"`              // accepted
	Fetched time.Time `json:"fetched,omitzero"`  // last success
	Failing string    `json:"failing,omitempty"` // why the repository can't be followed now
}

// New returns a loop that is ready to Run.
func New(c Config) *Loop {
	if c.Interval == 0 {
		c.Interval = 5 * time.Second
	}
	return &Loop{
		Config: c, loaded: make(chan struct{}), wake: make(chan struct{}, 1), deliver: make(chan struct{}, 1),
		purgeTried: map[string]time.Time{}, started: map[string]bool{},
	}
}

// Wake makes the loop take a turn soon. It never blocks.
func (l *Loop) Wake() { signal(l.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Health returns how the loop does.
func (l *Loop) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health
}

// Run follows the branch until ctx ends or the lease is lost.
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

// Load reads what is recorded and goes on with the runs that were under way. Run
// does it first; who takes turns by hand must.
func (l *Loop) Load(ctx context.Context) error {
	if err := l.read(ctx); err != nil {
		return err
	}
	_, err := l.resume(ctx)
	return err
}

// read learns from the ledger where the loop is.
func (l *Loop) read(ctx context.Context) error {
	head, err := l.Ledger.Head(ctx)
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	applied, err := l.Ledger.Applied(ctx, nil)
	if err != nil {
		return fmt.Errorf("read applied tenants: %w", err)
	}
	index := NewIndex(l.Planner.Domain, applied)
	l.known.Lock()
	l.head, l.index, l.stale = head, index, false
	l.known.Unlock()
	select {
	case <-l.loaded:
	default:
		close(l.loaded)
	}
	l.mu.Lock()
	l.health.Head = head
	l.mu.Unlock()
	return nil
}

func (l *Loop) follow(ctx context.Context) error {
	fetch := true
	arrivals := l.Source.Watch(ctx)
	timer := time.NewTimer(l.Interval)
	defer timer.Stop()
	for {
		if err := l.Turn(ctx, fetch); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if fault.Is(err, fault.Conflict) {
				return fmt.Errorf("the lease is lost: %w", err)
			}
			l.Log.Error("turn failed; trying again", "error", err)
		}
		timer.Reset(l.Interval)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-arrivals:
			fetch = open
			if !open {
				arrivals = nil
			}
		case <-l.wake:
			fetch = false
		case <-timer.C:
			fetch = l.Health().Failing != ""
		}
	}
}

// Turn takes every step once; fetch says whether to look for commits. A step
// that fails keeps no other from being taken, and is taken up by the next turn.
func (l *Loop) Turn(ctx context.Context, fetch bool) error {
	var failed error
	if fetch || l.held != "" || l.again {
		again := l.again
		l.again = false
		if failed = l.advance(ctx, again); failed != nil {
			l.again = true
		}
	}
	for _, step := range []func(context.Context) error{l.purge, l.dispatch, l.settle} {
		if fault.Is(failed, fault.Conflict) {
			return failed // another daemon takes the steps
		}
		if err := step(ctx); fault.Is(err, fault.Conflict) {
			failed = err
		} else {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// advance fetches and, if there is a new head, plans and accepts or holds it. One
// that was held is left alone until it is approved, or with again planned anew.
func (l *Loop) advance(ctx context.Context, again bool) error {
	head, err := l.Source.Fetch(ctx)
	l.note(head, err)
	if err != nil {
		l.Log.Warn("cannot fetch; everything stays as it is", "error", err)
		return nil // noted: an unreachable repository changes nothing
	}
	if l.stale {
		if err := l.read(ctx); err != nil {
			return err
		}
	}
	if head == l.head {
		l.held = ""
		return nil
	}
	if head == l.held && !again {
		approved, err := l.Ledger.Approved(ctx, head)
		if err == nil && !approved {
			approved, err = l.approvedBefore(ctx, head, l.waits)
		}
		if err != nil || !approved {
			return err
		}
	}
	return l.move(ctx, head)
}

func (l *Loop) note(head string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.health.Failing = err.Error()
		return
	}
	l.health.Failing, l.health.Fetched = "", time.Now()
}

// move makes a fetched head the accepted one, or holds it. What is against it is
// said as a whole: an approval is of all that was said, and of nothing else.
func (l *Loop) move(ctx context.Context, head string) error {
	from := l.head
	objection, err := l.objection(ctx, from, head)
	if err != nil {
		return err
	}
	if objection != nil && objection.Reason == HoldPolicy { // which no approval makes readable
		return l.hold(ctx, head, *objection, "")
	}
	rewritten, err := l.rewritten(ctx, from, head)
	if err != nil {
		return err
	}
	if rewritten != nil {
		from = "" // look at everything: what changed since is not to be told from the history
	}
	var unknown error
	p, err := l.Planner.Plan(ctx, from, head, l.index, func(names []string) (applied map[string]plan.Applied, err error) {
		applied, unknown = l.Ledger.Applied(ctx, names)
		return applied, unknown
	})
	if err != nil {
		if ctx.Err() != nil || unknown != nil || fault.Is(err, fault.Conflict) {
			return err // which says nothing of the commit
		}
		l.again = true // it may be read whole another time
		return l.hold(ctx, head, Hold{Reason: HoldUnreadable, Message: "the commit cannot be read whole: " + firstLine(err.Error())}, "")
	}
	against, ok := together(p, rewritten, objection)
	if !ok {
		return l.accept(ctx, from, head, p, "")
	}
	fingerprint := "" // where the plan is all there is against it, it may be approved before the merge
	if rewritten == nil && objection == nil {
		fingerprint = p.Fingerprint()
	}
	if before, err := l.approvedBefore(ctx, head, fingerprint); err != nil {
		return err
	} else if before {
		return l.accept(ctx, from, head, p, fingerprint)
	}
	against.Message = approval(head, against.Message)
	if err := l.hold(ctx, head, against, fingerprint); err != nil {
		return err
	}
	if approved, err := l.Ledger.Approved(ctx, head); err != nil || !approved {
		return err
	}
	return l.accept(ctx, from, head, p, "")
}

// rewritten returns the hold of a head that does not descend from the accepted
// one, nil if it does.
func (l *Loop) rewritten(ctx context.Context, from, head string) (*Hold, error) {
	if from == "" {
		return nil, nil //nolint:nilnil // nothing against it
	}
	descends, err := l.Source.IsAncestor(ctx, from, head)
	if err != nil {
		return nil, fmt.Errorf("compare histories: %w", err)
	}
	if descends {
		return nil, nil //nolint:nilnil // nothing against it
	}
	return &Hold{
		Reason:  HoldRewritten,
		Message: fmt.Sprintf("history was rewritten: it does not descend from %s, which was carried out before", short(from)),
	}, nil
}

// together says in one hold what is against a plan, first what the plan says
// itself; false if nothing is. Where the brake says nothing of deletions (a
// history that was rewritten has none from before), they are said as well.
func together(p plan.Plan, holds ...*Hold) (all Hold, ok bool) {
	if p.Hold != "" {
		all, ok = Hold{Reason: p.Reason, Message: p.Hold}, true
	}
	for _, h := range holds {
		switch {
		case h == nil:
		case !ok:
			all, ok = *h, true
		default:
			all.Message += "; and " + h.Message
		}
	}
	if n := p.Deletions(); ok && p.Hold == "" && len(n) > 0 {
		all.Message += fmt.Sprintf("; and it deletes %d: %s", len(n), strings.Join(n[:min(len(n), 5)], ", "))
	}
	return all, ok
}

// approvedBefore reports whether someone approved, before it was merged, the
// plan that the fingerprint names.
func (l *Loop) approvedBefore(ctx context.Context, head, fingerprint string) (bool, error) {
	if fingerprint == "" {
		return false, nil
	}
	who, err := l.Ledger.ApprovalOf(ctx, fingerprint)
	if err != nil || who == "" {
		return false, err
	}
	l.Log.Info("what holds the commit was approved before the merge", "commit", head, "who", who)
	return true, nil
}

// approval says what lets a held commit pass, then why it is held: a forge cuts
// what is long.
func approval(head, why string) string {
	return "needs gitopsd approve " + short(head) + ": " + why
}

// hold records that a head is held; fingerprint is of the plan whose approval
// alone lets it pass, "" if there is none. An approval of the head stays where
// the same is said as before.
func (l *Loop) hold(ctx context.Context, head string, h Hold, fingerprint string) error {
	if l.held != head {
		l.Log.Warn("commit is held", "commit", head, "reason", h.Reason, "message", h.Message)
	}
	c, err := l.commit(ctx, head)
	if err != nil {
		return err
	}
	if err := l.Ledger.Hold(ctx, c, h); err != nil {
		return fmt.Errorf("hold %s: %w", short(head), err)
	}
	l.held, l.waits = head, fingerprint
	return nil
}

func (l *Loop) commit(ctx context.Context, sha string) (Commit, error) {
	commits, err := l.Source.Commits(ctx, "", sha, 1)
	if err != nil {
		return Commit{}, fmt.Errorf("read commit %s: %w", short(sha), err)
	}
	if len(commits) == 0 {
		return Commit{}, fault.Errorf(fault.Transient, "commit %s is not in the mirror", short(sha))
	}
	return commits[0], nil
}
