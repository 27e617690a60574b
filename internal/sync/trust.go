package sync

import (
	"context"
	"fmt"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// mostChecked bounds how many commits of one push have their signatures checked.
const mostChecked = 1000

// objection returns why a head is held before anything of it is looked at: its
// policy, or a commit on the way to it that nobody known has signed; nil if
// there is nothing against it.
func (l *Loop) objection(ctx context.Context, from, head string) (*Hold, error) {
	policy, err := l.Planner.policy(ctx, head)
	if fault.Is(err, fault.Invalid) {
		return &Hold{Reason: HoldPolicy, Message: "the policy is invalid: " + firstLine(problem(err)) + "; correct it in a new commit"}, nil
	}
	if err != nil {
		return nil, err
	}
	if b := policy.Settings().Branch; b != "" && l.Branch != "" && b != l.Branch {
		return &Hold{Reason: HoldPolicy, Message: fmt.Sprintf("the policy is for branch %s, and this is %s", b, l.Branch)}, nil
	}
	// Who signs is what was accepted before: a commit cannot bring its own key.
	authority, err := l.Planner.before(ctx, from)
	if err != nil {
		return nil, err
	}
	if authority == nil {
		authority = policy
	}
	if !authority.Settings().Signed {
		return nil, nil //nolint:nilnil // nothing against it
	}
	return l.distrust(ctx, authority, from, head)
}

// distrust returns the hold of the first commit, from the newest, that is not
// signed by a key the policy trusts.
func (l *Loop) distrust(ctx context.Context, authority Policy, from, head string) (*Hold, error) {
	limit := 1 // the first one that is followed vouches for all before it
	if from != "" {
		limit = mostChecked + 1
	}
	commits, err := l.Source.Commits(ctx, from, head, limit)
	if err != nil {
		return nil, fmt.Errorf("list commits: %w", err)
	}
	if len(commits) > mostChecked {
		return &Hold{Reason: HoldUnsigned, Message: fmt.Sprintf("it brings more than %d commits at once, whose signatures are not all checked", mostChecked)}, nil
	}
	for _, c := range commits {
		if l.Signatures == nil {
			return &Hold{Reason: HoldUnsigned, Message: "signatures cannot be read here"}, nil
		}
		signed, err := l.Signatures.Signed(ctx, c.SHA)
		if err != nil && !fault.Is(err, fault.Invalid) {
			return nil, fmt.Errorf("read the signature of %s: %w", short(c.SHA), err)
		}
		if err == nil { // else it cannot be told what is signed, and will not be
			err = authority.Trust(signed)
		}
		if err != nil {
			return &Hold{Reason: HoldUnsigned, Message: firstLine(err.Error())}, nil // which names the commit
		}
	}
	return nil, nil //nolint:nilnil // nothing against it
}

// Distrust says which commit after from up to to is not signed as the policy of
// the commit authority demands; "" if there is none, or no such demand.
func (l *Loop) Distrust(ctx context.Context, authority, from, to string) (string, error) {
	policy, err := l.Planner.policy(ctx, authority)
	if err != nil || !policy.Settings().Signed {
		return "", err
	}
	h, err := l.distrust(ctx, policy, from, to)
	if err != nil || h == nil {
		return "", err
	}
	return h.Message, nil
}

// Settings returns what a commit's policy says that is data; fault.Invalid if it
// has problems.
func (l *Loop) Settings(ctx context.Context, commit string) (Settings, error) {
	return l.Planner.Settings(ctx, commit)
}

// Desire says what a tenant amounts to, built from a commit: as Planner.Desire.
func (l *Loop) Desire(ctx context.Context, commit string, t *tenant.Tenant) (plan.Desired, error) {
	return l.Planner.Desire(ctx, commit, t)
}

// problem is the first of the problems that an error is about, else its text.
func problem(err error) string {
	if r := fault.RecordOf(err); r.Detail != "" {
		return r.Detail
	}
	return err.Error()
}

// Preview plans what accepting a commit would do now, beside the loop. It
// changes nothing, and waits for the loop to know what is applied. head is what
// is accepted and planned from.
func (l *Loop) Preview(ctx context.Context, to string) (head string, p plan.Plan, err error) {
	select {
	case <-l.loaded:
	case <-ctx.Done():
		return "", p, fmt.Errorf("wait for what is applied: %w", ctx.Err())
	}
	l.known.RLock()
	defer l.known.RUnlock()
	p, err = l.Planner.Plan(ctx, l.head, to, l.index, func(names []string) (map[string]plan.Applied, error) {
		return l.Ledger.Applied(ctx, names)
	})
	return l.head, p, err
}
