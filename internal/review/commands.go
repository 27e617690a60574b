package review

import (
	"context"
	"fmt"
	"maps"
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

// firstLook is how far back a process looks at comments when it starts: the
// ledger knows which ones were worked off. What was asked for long before we came
// is not meant for us.
const firstLook = time.Hour

// keepTrying is how long a comment that cannot be worked off is tried again. It
// is shorter than firstLook, so that none is lost by a restart.
const keepTrying = firstLook / 2

// prefix begins a command's line.
const prefix = "/gitopsd"

// parseCommand returns the command of a comment: of its first line that begins
// with /gitopsd, "" if there is none. Quotes and code are not commands.
func parseCommand(body string) string {
	open := "" // the fence of the code that the line is in
	for line := range strings.Lines(body) {
		mark, rest := fenceOf(line)
		switch {
		case open != "":
			if strings.HasPrefix(mark, open) && rest == "" {
				open = ""
			}
		case mark != "":
			open = mark
		default:
			words := strings.Fields(line)
			if strings.HasPrefix(line, prefix) && words[0] == prefix {
				return strings.Join(words[1:], " ")
			}
		}
	}
	return ""
}

// fenceOf returns the fence that a line begins or ends code with, "" if it does
// not, and what is behind it.
func fenceOf(line string) (mark, rest string) {
	text := strings.TrimLeft(line, " ")
	if len(line)-len(text) > 3 || text == "" || text[0] != '`' && text[0] != '~' {
		return "", ""
	}
	rest = strings.TrimLeft(text, text[:1])
	mark = text[:len(text)-len(rest)]
	if rest = strings.TrimSpace(rest); len(mark) < 3 || mark[0] == '`' && strings.Contains(rest, "`") {
		return "", "" // code in a line
	}
	return mark, rest
}

// inVain is a comment that could not be worked off, and since when.
type inVain struct {
	Comment
	since time.Time
}

// commands works off the comments that came since the last look. One that cannot
// be worked off keeps no other from it; it is tried again for a while.
func (l *Loop) commands(ctx context.Context) error {
	if l.read.IsZero() {
		cursor, err := l.Ledger.Cursor(ctx)
		if err != nil {
			return err
		}
		if cursor.IsZero() {
			cursor = time.Now()
		}
		l.read = cursor.Add(-firstLook)
	}
	failed := each(ctx, slices.Collect(maps.Values(l.vain)), func(v inVain) error { return l.work(ctx, v.Comment) })
	for !ends(ctx, failed) {
		comments, err := l.Forge.Comments(ctx, l.read)
		if err != nil {
			return join(failed, asked(err))
		}
		err = each(ctx, comments, func(c Comment) error {
			if l.obeyed[c.ID] {
				return nil // the last ones come again and again, and so do ours when they are edited
			}
			return l.work(ctx, c)
		})
		failed = join(failed, err)
		if ends(ctx, err) || len(comments) == 0 || !comments[len(comments)-1].Updated.After(l.read) {
			break // else there may be more than one answer holds
		}
		l.read = comments[len(comments)-1].Updated
	}
	return failed
}

// work works one comment off, or notes that it is to be tried again.
func (l *Loop) work(ctx context.Context, c Comment) error {
	err := l.command(ctx, c)
	if err != nil && (fault.Is(err, fault.Conflict) || ctx.Err() != nil) {
		return err
	}
	if err != nil {
		err = fmt.Errorf("comment %d: %w", c.ID, err)
		v, again := l.vain[c.ID]
		if !again {
			v = inVain{c, time.Now()}
			l.vain[c.ID] = v
		}
		if time.Since(v.since) < keepTrying {
			l.worked(c)
			return err
		}
		if err := l.refuse(ctx, c, err); err != nil {
			return err
		}
	}
	delete(l.vain, c.ID)
	l.worked(c)
	return nil
}

// worked remembers that a comment need not be looked at again.
func (l *Loop) worked(c Comment) {
	if len(l.obeyed) > 10_000 {
		clear(l.obeyed) // the ledger knows them all
	}
	l.obeyed[c.ID] = true
}

// command works one comment off, once: what it asks for is done before that is
// noted, and doing it again changes nothing.
func (l *Loop) command(ctx context.Context, c Comment) error {
	if done, err := l.Ledger.Commanded(ctx, c.ID); err != nil || done {
		return err
	}
	name := parseCommand(c.Body)
	if name == "" || strings.HasPrefix(c.Body, Marker) {
		return l.noteCommand(ctx, Command{Comment: c.ID, Pull: c.Pull, By: c.Author, At: c.Updated}, "")
	}
	err := l.obey(ctx, c, name)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		return l.refuse(ctx, c, err)
	}
	if err != nil {
		return err // it is to be obeyed another time
	}
	l.Log.Info("comment obeyed", "pull", c.Pull, "who", c.Author, "command", name)
	return l.noteCommand(ctx, Command{Comment: c.ID, Pull: c.Pull, By: c.Author, Name: name, At: c.Updated}, "+1")
}

// refuse notes that a comment is not obeyed.
func (l *Loop) refuse(ctx context.Context, c Comment, why error) error {
	name := parseCommand(c.Body)
	l.Log.Warn("comment not obeyed", "pull", c.Pull, "who", c.Author, "command", name, "error", why)
	return l.noteCommand(ctx, Command{
		Comment: c.ID, Pull: c.Pull, By: c.Author, Name: name, At: c.Updated, Failure: fault.RecordOf(why),
	}, "confused")
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
		return asked(err)
	}
	if !may {
		return fault.Errorf(fault.Invalid, "%s may not write to the repository", login)
	}
	return nil
}

// approve lets pass what a pull request's plan is held for, or, once it is
// merged, the commit that is held.
func (l *Loop) approve(ctx context.Context, c Comment) error {
	// It may be merged by now: then nobody looks at what its plan was held for.
	p, err := l.Forge.Pull(ctx, c.Pull)
	if err != nil {
		return asked(err)
	}
	if p.Closed {
		return l.approveMerged(ctx, c, p)
	}
	r := l.pulls[c.Pull]
	switch {
	case r == nil || r.report.Pull.Head != p.Head || r.report.Fingerprint == "":
		return fault.Errorf(fault.Invalid, "pull request %d is not held", c.Pull).WithHint("look at its plan")
	case !c.Updated.After(r.report.Held):
		return fault.Errorf(fault.Invalid, "what pull request %d is held for changed after the comment", c.Pull).
			WithHint("look at its plan, and comment again")
	}
	err = l.Ledger.ApprovePlan(ctx, PlanApproval{
		Fingerprint: r.report.Fingerprint, Pull: c.Pull, Head: p.Head, By: c.Author, At: c.Updated,
	})
	for _, other := range l.pulls { // whoever asks for the same, it is approved
		if err == nil && other.report.Fingerprint == r.report.Fingerprint {
			other.forced = true
		}
	}
	return err
}

func (l *Loop) approveMerged(ctx context.Context, c Comment, p Pull) error {
	if p.Merged == "" {
		return fault.Errorf(fault.Invalid, "pull request %d is closed and not merged", c.Pull)
	}
	progress, err := l.Ledger.Commit(ctx, p.Merged)
	if err != nil {
		return err // a commit that is not known is NotFound
	}
	if progress.Hold == nil || progress.SupersededBy != "" || progress.Status == nil {
		return fault.Errorf(fault.Invalid, "commit %s is not held", short(p.Merged))
	}
	// By the forge's clock, which tells whole seconds.
	held := progress.Status.At.Add(time.Until(p.Seen.Add(time.Second)))
	if !c.Updated.After(held) {
		return fault.Errorf(fault.Invalid, "what commit %s is held for was not known at the time of the comment", short(p.Merged)).
			WithHint("look at its status, and comment again")
	}
	err = l.Ledger.Approve(ctx, p.Merged, c.Author)
	if fault.Is(err, fault.Conflict) { // of another approval, and not of another daemon: users approve
		return fault.Errorf(fault.Invalid, "commit %s is not held any more", short(p.Merged))
	}
	if err == nil {
		l.Planner.Wake()
	}
	return err
}
