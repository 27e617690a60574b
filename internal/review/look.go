package review

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// look learns of pull requests: of all, or of those that were hinted at.
func (l *Loop) look(ctx context.Context, hints []Hint, poll bool) error {
	var numbers []int
	recheck := map[int]bool{}
	for _, h := range hints {
		if h.Pull > 0 && h.Kind != HintComment {
			numbers = append(numbers, h.Pull)
			recheck[h.Pull] = recheck[h.Pull] || h.Kind == HintRecheck
		}
	}
	var failed error
	if poll {
		l.listed = time.Now() // also when it fails: the next try is at the next poll
		open, err := l.Forge.Pulls(ctx, l.Branch)
		if failed = asked(err); failed == nil {
			numbers = append(numbers, l.list(open)...)
		}
	}
	if ctx.Err() != nil || !fault.After(failed).IsZero() {
		return failed
	}
	slices.Sort(numbers)
	return join(failed, each(ctx, slices.Compact(numbers), func(n int) error {
		return l.lookAt(ctx, n, recheck[n])
	}))
}

// list learns of the pull requests that are listed, and returns the known ones
// that are not. A list that is empty by error must not end anything: each of
// those is looked at by itself.
func (l *Loop) list(open []Pull) (missing []int) {
	listed := map[int]bool{}
	for _, p := range open {
		if p.makesSense() {
			listed[p.Number] = true
			l.learn(p)
		}
	}
	for number := range l.pulls {
		if !listed[number] {
			missing = append(missing, number)
		}
	}
	return missing
}

// lookAt asks for one pull request; recheck says that its plan is to be made anew.
func (l *Loop) lookAt(ctx context.Context, number int, recheck bool) error {
	p, err := l.Forge.Pull(ctx, number)
	switch {
	case fault.Is(err, fault.NotFound):
		p, err = Pull{Number: number, Closed: true}, nil
	case err == nil && (p.Number != number || !p.makesSense()):
		err = fault.Errorf(fault.Transient, "the forge's answer is no pull request")
	}
	if err != nil {
		return fmt.Errorf("look at pull request %d: %w", number, asked(err))
	}
	if p.Closed || p.Branch != l.Branch {
		return l.leave(ctx, p)
	}
	l.learn(p)
	if recheck {
		l.pulls[number].forced = true
	}
	return nil
}

// makesSense reports whether this can be a pull request at all.
func (p Pull) makesSense() bool {
	if p.Closed {
		return p.Number > 0
	}
	_, err := hex.DecodeString(p.Head)
	return p.Number > 0 && err == nil && len(p.Head) >= 40
}

func (l *Loop) learn(p Pull) {
	r := l.pulls[p.Number]
	if r == nil {
		r = &review{}
		l.pulls[p.Number] = r
	}
	if r.pull.Head != p.Head {
		r.seen, r.unfit = time.Time{}, nil
	}
	// A forge may show a head before its ref leads there: it is looked for again.
	r.pull, r.known, r.gone = p, true, false
}

// leave ends the review of a pull request that was closed, or is onto another branch now.
func (l *Loop) leave(ctx context.Context, p Pull) error {
	r := l.pulls[p.Number]
	if r == nil {
		return nil
	}
	if r.report.Pull.Number != 0 { // else nobody heard of it
		r.report.Pull.Closed, r.report.Pull.Merged = true, p.Merged
		if err := l.Ledger.PutReport(ctx, r.report, nil); err != nil {
			return fmt.Errorf("close the review of pull request %d: %w", p.Number, err)
		}
	}
	delete(l.pulls, p.Number)
	return nil
}
