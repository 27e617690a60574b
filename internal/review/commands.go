package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// The commands that a comment may give.
const (
	CommandPlan    = "plan"    // make the plan anew
	CommandApprove = "approve" // let what is held pass
)

// firstLook is how far back the first look at comments goes.
const firstLook = time.Hour

// prefix begins a command's line.
const prefix = "/gitopsd"

// parseCommand returns the command of a comment: of its first line that begins
// with /gitopsd, "" if there is none. Quotes and code are not commands.
func parseCommand(body string) string {
	fenced := false
	for line := range strings.Lines(body) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		words := strings.Fields(line)
		if !fenced && strings.HasPrefix(line, prefix) && words[0] == prefix {
			return strings.Join(words[1:], " ")
		}
	}
	return ""
}

// commands works off the comments that came since the last look.
func (l *Loop) commands(ctx context.Context) error {
	for {
		since, err := l.Ledger.Cursor(ctx)
		if err != nil {
			return err
		}
		if since.IsZero() { // what was asked for long before is not meant for us
			since = time.Now().Add(-firstLook)
		}
		comments, err := l.Forge.Comments(ctx, since)
		if err != nil {
			return err
		}
		moved := false
		for _, c := range comments {
			if l.obeyed[c.ID] {
				continue // the last ones come again and again
			}
			if err := l.command(ctx, c); err != nil {
				return fmt.Errorf("comment %d: %w", c.ID, err)
			}
			if len(l.obeyed) > 10_000 {
				clear(l.obeyed) // the ledger knows them all
			}
			l.obeyed[c.ID] = true
			moved = moved || c.Updated.After(since)
		}
		if !moved { // else there may be more than one answer holds
			return nil
		}
	}
}

// command works one comment off, once: what it asks for is done before that is
// noted, and doing it again changes nothing.
func (l *Loop) command(ctx context.Context, c Comment) error {
	name := parseCommand(c.Body)
	if name == "" || strings.HasPrefix(c.Body, Marker) {
		return l.noteCommand(ctx, Command{Comment: c.ID, Pull: c.Pull, By: c.Author, At: c.Updated}, "")
	}
	cmd := Command{Comment: c.ID, Pull: c.Pull, By: c.Author, Name: name, At: c.Updated}
	err := l.obey(ctx, c, name)
	if err != nil {
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound || ctx.Err() != nil {
			return err // it is to be obeyed another time
		}
		cmd.Failure = fault.RecordOf(err)
		l.Log.Warn("comment not obeyed", "pull", c.Pull, "who", c.Author, "command", name, "error", err)
		return l.noteCommand(ctx, cmd, "confused")
	}
	l.Log.Info("comment obeyed", "pull", c.Pull, "who", c.Author, "command", name)
	return l.noteCommand(ctx, cmd, "+1")
}

func (l *Loop) noteCommand(ctx context.Context, cmd Command, answer string) error {
	var notices []Notice
	if answer != "" {
		n, err := notice(NoticeReaction, Reaction{Comment: cmd.Comment, Content: answer}, fmt.Sprint(cmd.Comment))
		if err != nil {
			return err
		}
		notices = []Notice{n}
		signal(l.deliver)
	}
	_, err := l.Ledger.PutCommand(ctx, cmd, notices)
	return err
}

// obey does what a comment asks for. What cannot be done is fault.Invalid.
func (l *Loop) obey(ctx context.Context, c Comment, name string) error {
	done, err := l.Ledger.Commanded(ctx, c.ID)
	if err != nil || done {
		return err
	}
	if c.Edited { // whoever may write can put words into another's mouth
		return fault.Errorf(fault.Invalid, "a comment that was edited is not obeyed").WithHint("comment anew")
	}
	switch name {
	case CommandPlan:
		if err := l.allow(ctx, c.Author, nil); err != nil {
			return err
		}
		if r := l.pulls[c.Pull]; r != nil {
			r.forced, r.gone = true, false
		}
		return nil
	case CommandApprove:
		settings, err := l.accepted(ctx)
		if err != nil {
			return err
		}
		if err := l.allow(ctx, c.Author, settings.Approvers); err != nil {
			return err
		}
		return l.approve(ctx, c)
	}
	return fault.Errorf(fault.Invalid, "there is no command %q", name).WithHint("there are: plan, approve")
}

// accepted returns the settings that say who may do what: those of the branch.
func (l *Loop) accepted(ctx context.Context) (sync.Settings, error) {
	head, err := l.Ledger.Head(ctx)
	if err != nil {
		return sync.Settings{}, err
	}
	return l.Planner.Settings(ctx, head)
}

// allow returns fault.Invalid unless a user is one of those listed, or, where
// nobody is, may write.
func (l *Loop) allow(ctx context.Context, login string, listed []string) error {
	if len(listed) > 0 {
		if !slices.ContainsFunc(listed, func(name string) bool { return strings.EqualFold(name, login) }) {
			return fault.Errorf(fault.Invalid, "%s is not one of the approvers of gitopsd.yaml", login)
		}
		return nil
	}
	may, err := l.Forge.MayWrite(ctx, login)
	if err != nil {
		return err
	}
	if !may {
		return fault.Errorf(fault.Invalid, "%s may not write to the repository", login)
	}
	return nil
}

// approve lets pass what a pull request's plan is held for, or, once it is
// merged, the commit that is held.
func (l *Loop) approve(ctx context.Context, c Comment) error {
	r := l.pulls[c.Pull]
	if r == nil {
		return l.approveMerged(ctx, c)
	}
	report := r.report
	switch {
	case report.Pull.Head != r.pull.Head || report.Fingerprint == "":
		return fault.Errorf(fault.Invalid, "pull request %d is not held", c.Pull).WithHint("look at its plan")
	case !c.Updated.After(report.Held):
		return fault.Errorf(fault.Invalid, "what pull request %d is held for changed after the comment", c.Pull).
			WithHint("look at its plan, and comment again")
	}
	err := l.Ledger.ApprovePlan(ctx, PlanApproval{
		Fingerprint: report.Fingerprint, Pull: c.Pull, Head: report.Pull.Head, By: c.Author, At: c.Updated,
	})
	r.forced = err == nil
	return err
}

func (l *Loop) approveMerged(ctx context.Context, c Comment) error {
	p, err := l.Forge.Pull(ctx, c.Pull)
	if err != nil {
		return err
	}
	if p.Merged == "" {
		return fault.Errorf(fault.Invalid, "pull request %d is closed and not merged", c.Pull)
	}
	progress, err := l.Ledger.Commit(ctx, p.Merged)
	if err != nil {
		return err // a commit that is not known is NotFound
	}
	if progress.Hold == nil || progress.SupersededBy != "" {
		return fault.Errorf(fault.Invalid, "commit %s is not held", short(p.Merged))
	}
	if err := l.Ledger.Approve(ctx, p.Merged, c.Author); err != nil {
		return err
	}
	l.Planner.Wake()
	return nil
}
