package review

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// deliverAll hands notices to the forge until ctx ends.
func (l *Loop) deliverAll(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	changes := l.Changes(ctx)
	for {
		if err := l.Deliver(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if fault.Is(err, fault.Conflict) {
				return fmt.Errorf("the lease is lost: %w", err)
			}
			l.Log.Error("delivering to the forge failed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.deliver:
		case _, open := <-changes:
			if !open {
				changes = nil
			}
		case <-ticker.C:
		}
	}
}

// Deliver hands every notice that is due to the forge. What the forge refuses
// for good is given up; where it asks for a pause, everything waits.
func (l *Loop) Deliver(ctx context.Context) error {
	for {
		due, err := l.Ledger.DueNotices(ctx, time.Now(), 100)
		if err != nil {
			return fmt.Errorf("read the outbox: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		slices.SortStableFunc(due, func(a, b Notice) int { return rank(a) - rank(b) })
		for _, n := range due {
			paused, err := l.deliverOne(ctx, n)
			if err != nil || paused {
				return err
			}
		}
	}
}

// rank puts statuses first: a merge may wait for one.
func rank(n Notice) int {
	if n.Kind == NoticeStatus {
		return 0
	}
	return 1
}

// deliverOne reports whether the forge asks for a pause.
func (l *Loop) deliverOne(ctx context.Context, n Notice) (paused bool, err error) {
	remote, err := l.Forge.Deliver(ctx, n)
	if err == nil {
		return false, l.Ledger.NoticeDelivered(ctx, n.Key, n.Version, remote)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	after := fault.After(err)
	var until time.Time
	if kind := fault.KindOf(err); after.IsZero() && (kind == fault.Invalid || kind == fault.NotFound) {
		l.Log.Warn("the forge refuses a notice", "notice", n.Key, "error", err)
	} else {
		until = time.Now().Add(Backoff(n.Tries))
		if after.After(until) {
			until = after
		}
		l.Log.Warn("notice not delivered", "notice", n.Key, "error", err, "until", until)
	}
	return !after.IsZero(), l.Ledger.NoticePostponed(ctx, n.Key, n.Version, until, err.Error())
}

// Backoff is how long a delivery waits that failed before: it doubles from one
// second to five minutes.
func Backoff(tries int) time.Duration {
	return min(time.Second<<min(tries, 9), 5*time.Minute)
}
