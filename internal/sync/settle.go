package sync

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
)

// settle says of each commit that has no terminal status yet how far it is.
func (l *Loop) settle(ctx context.Context) error {
	unsettled, err := l.Ledger.Unsettled(ctx)
	if err != nil {
		return fmt.Errorf("read unsettled commits: %w", err)
	}
	for _, p := range unsettled {
		state, description := Describe(p)
		if p.Status != nil && p.Status.State == state && p.Status.Description == description {
			continue
		}
		err := l.Ledger.PutStatus(ctx, CommitStatus{Commit: p.Commit.SHA, State: state, Description: description, At: time.Now()})
		if err != nil {
			return fmt.Errorf("put status of %s: %w", short(p.Commit.SHA), err)
		}
		signal(l.deliver)
	}
	return nil
}

// Describe returns the commit status that a commit's progress amounts to.
func Describe(p Progress) (CommitState, string) {
	switch {
	case p.SupersededBy != "":
		return StateSuccess, "Superseded by " + short(p.SupersededBy)
	case p.Hold != nil:
		return StatePending, Shorten("Held: " + p.Hold.Message)
	case len(p.Items) == 0:
		return StateSuccess, "No tenant is touched"
	}
	t := tally(p.Items)
	switch {
	case t.open > 0:
		return StatePending, Shorten(t.counted("in progress"))
	case len(t.failed) > 0:
		f := t.failed[0]
		text := fmt.Sprintf("%d of %d failed: %s: %s", len(t.failed), len(p.Items), f.Tenant, firstLine(reason(f)))
		return StateFailure, Shorten(text)
	case t.superseded == len(p.Items):
		return StateSuccess, "Superseded by newer commits"
	}
	return StateSuccess, Shorten(t.counted("done"))
}

func reason(i ItemProgress) string {
	for _, r := range []*fault.Record{i.Failure, i.Cause} {
		if r != nil {
			return r.Message
		}
	}
	return i.Reason
}

type counts struct {
	open, superseded, unchanged int
	by                          map[plan.Operation]int
	failed                      []ItemProgress
}

func tally(items []ItemProgress) counts {
	t := counts{by: map[plan.Operation]int{}}
	for _, i := range items {
		switch {
		case !i.Status.Terminal():
			t.open++
			t.by[i.Operation]++
		case i.Status == pipeline.Failed:
			t.failed = append(t.failed, i)
		case i.Status == pipeline.Superseded:
			t.superseded++
		case i.Operation == "":
			t.unchanged++
		default:
			t.by[i.Operation]++
		}
	}
	return t
}

// counted says how many of what, such as "2 deploy, 1 provision: done".
func (t counts) counted(state string) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	for _, op := range []plan.Operation{plan.Provision, plan.Update, plan.Deploy, plan.Deprovision} {
		add(t.by[op], string(op))
	}
	add(t.unchanged, "unchanged")
	add(t.superseded, "superseded")
	add(len(t.failed), "failed")
	return strings.Join(parts, ", ") + ": " + state
}

// Shorten cuts a description to what a forge takes.
func Shorten(s string) string {
	if utf8.RuneCountInString(s) <= MaxDescription {
		return s
	}
	return string([]rune(s)[:MaxDescription-1]) + "…"
}

// deliverAll hands statuses from the outbox to the reporter, each commit's in
// order, until ctx ends.
func (l *Loop) deliverAll(ctx context.Context) error {
	ticker := time.NewTicker(l.Interval)
	defer ticker.Stop()
	for {
		if err := l.Deliver(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if fault.Is(err, fault.Conflict) {
				return fmt.Errorf("the lease is lost: %w", err)
			}
			l.Log.Error("delivering statuses failed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.deliver:
		case <-ticker.C:
		}
	}
}

// Deliver hands the statuses that are due to the reporter. Run does it by itself.
func (l *Loop) Deliver(ctx context.Context) error {
	for {
		due, err := l.Ledger.Outbox(ctx, time.Now(), 100)
		if err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		blocked := map[string]bool{} // commits whose earlier status did not go out
		for _, s := range due {
			if blocked[s.Commit] {
				continue
			}
			if err := l.Reporter.Report(ctx, s); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				blocked[s.Commit] = true
				if err := l.undelivered(ctx, s, err); err != nil {
					return err
				}
				if !fault.After(err).IsZero() {
					return nil // the forge asks for a pause: everything waits
				}
				continue
			}
			if err := l.Ledger.Delivered(ctx, s.ID); err != nil {
				return err
			}
		}
	}
}

// undelivered gives up what the forge refuses for good, and has the rest wait.
func (l *Loop) undelivered(ctx context.Context, s CommitStatus, why error) error {
	after := fault.After(why)
	if kind := fault.KindOf(why); after.IsZero() && (kind == fault.Invalid || kind == fault.NotFound) {
		l.Log.Error("the forge refuses a status", "commit", s.Commit, "error", why)
		return l.Ledger.GiveUp(ctx, s.ID, why.Error())
	}
	l.Log.Warn("status not delivered", "commit", s.Commit, "error", why)
	until := time.Now().Add(backoff(s.Tries))
	if after.After(until) {
		until = after
	}
	return l.Ledger.Postpone(ctx, s.ID, until, why.Error())
}

// backoff doubles from one second to five minutes.
func backoff(tries int) time.Duration {
	return min(time.Second<<min(tries, 9), 5*time.Minute)
}
