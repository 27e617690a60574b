package review

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Reporter shows the statuses of the tracked branch's commits on the forge, as
// gitopsd/sync, and what went wrong with files on their lines.
type Reporter struct {
	Forge  Forge
	Ledger Ledger
	Links  Links
}

var _ sync.Reporter = Reporter{}

// Report shows one status. A status whose last try had no answer may be there
// already; the forge looks.
func (r Reporter) Report(ctx context.Context, s sync.CommitStatus) error {
	url := r.Links.Commit(s.Commit)
	n, err := notice(NoticeStatus, Status{
		SHA: s.Commit, Context: ContextSync, State: s.State, Description: s.Description, URL: url,
	}, ContextSync, s.Commit)
	if err != nil {
		return err
	}
	n.Tries = s.Tries
	if _, err := r.Forge.Deliver(ctx, n); err != nil {
		return fmt.Errorf("show the status of %s: %w", short(s.Commit), err)
	}
	if s.State == sync.StatePending {
		return nil
	}
	p, err := r.Ledger.Commit(ctx, s.Commit)
	if err != nil {
		return err
	}
	check := Check{SHA: s.Commit, Name: ContextSync, State: s.State, Title: s.Description, URL: url, Summary: outcome(p)}
	for _, i := range p.Items {
		check.Annotations = append(check.Annotations, annotate(i.Problems)...)
	}
	if n, err = notice(NoticeCheck, check, ContextSync, s.Commit); err != nil {
		return err
	}
	return r.Ledger.PutNotices(ctx, []Notice{n})
}

// outcome lists what became of each tenant.
func outcome(p sync.Progress) string {
	if len(p.Items) == 0 {
		return "No tenant is touched."
	}
	var b strings.Builder
	for i, item := range p.Items {
		what := item.Operation
		if what == "" {
			what = plan.Operation("no change")
		}
		line := fmt.Sprintf("- **%s**: %s, %s", plain(item.Tenant), what, item.Status)
		switch {
		case item.Failure != nil:
			line += ": " + plain(item.Failure.Message)
		case item.Cause != nil:
			line += ": " + plain(item.Cause.Message)
		}
		if b.Len()+len(line) > maxShown {
			fmt.Fprintf(&b, "- … and %d more\n", len(p.Items)-i)
			break
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
