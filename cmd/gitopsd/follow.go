package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

const (
	oncePoll  = 25 * time.Second // how long the daemon is asked to wait before it answers
	reconnect = time.Second      // between two tries while the daemon restarts
)

// unknownTag is the tag of no commit: any answer is news to who has it.
const unknownTag = `"unknown"`

// follower asks for a commit until it is settled, and shows on the way what moves.
type follower struct {
	client *client
	sha    string
	t      *terminal

	last     console.Commit
	tag      string            // of last; "" before the commit is known
	shown    map[string]string // what → line shown last about it
	answered bool              // the daemon was there once
}

// settle returns nil once nothing more happens to the commit by itself. A
// commit that is not known yet is waited for, and so is a daemon that goes away
// meanwhile.
func (f *follower) settle(ctx context.Context) error {
	for wait := time.Duration(0); ; wait = oncePoll {
		err := f.poll(ctx, wait)
		switch {
		case err == nil:
			f.answered = true
			f.showAll()
			if f.last.Settled() {
				return nil
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case f.answered && (errors.Is(err, errUnreachable) || fault.Is(err, fault.Transient)):
			f.show("", "the daemon does not answer; trying again")
			if err := pause(ctx, reconnect); err != nil {
				return err
			}
		case fault.Is(err, fault.NotFound) && !errors.Is(err, errUnreachable):
			f.answered = true
			f.show("", short(f.sha)+" is not known yet; waiting for the daemon to fetch it")
		default:
			return err
		}
	}
}

// poll asks once. The daemon answers as soon as there is something new.
func (f *follower) poll(ctx context.Context, wait time.Duration) error {
	p, header := apiPath("commits", f.sha), http.Header{}
	if wait > 0 {
		p += "?wait=" + wait.String()
	}
	header.Set("If-None-Match", cmp.Or(f.tag, unknownTag))
	res, err := f.client.do(ctx, http.MethodGet, p, nil, header)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusNotModified {
		return res.Body.Close()
	}
	f.last = console.Commit{}
	if err := decode(res, &f.last); err != nil {
		return err
	}
	f.tag = res.Header.Get("ETag")
	return nil
}

func (f *follower) showAll() {
	f.show("", short(f.last.Commit.SHA)+" "+clean(f.last.Commit.Subject))
	for _, i := range f.last.Items {
		f.show(i.Tenant, "  "+clean(i.Tenant)+": "+itemLine(i))
	}
}

func itemLine(i sync.ItemProgress) string {
	if r := failureOf(i); r != nil {
		return "failed: " + clean(cut(r.Message, 200))
	}
	if itemStatus(i) == "no change" {
		return clean(i.Reason)
	}
	line := string(i.Operation) + " " + string(i.Status)
	if i.State != "" && !i.Status.Terminal() {
		line += " in " + clean(i.State)
	}
	return line
}

// show writes a line unless it is what was said last of the subject.
func (f *follower) show(subject, line string) {
	if f.shown[subject] != line {
		f.shown[subject] = line
		fmt.Fprintln(f.t.err, line)
	}
}

// unfinished says where the commit is when the time is over.
func (f *follower) unfinished(interrupted bool, after time.Duration) string {
	how := "not finished after " + tenant.FormatDuration(after)
	if interrupted {
		how = "interrupted"
	}
	if f.tag == "" {
		return fmt.Sprintf("%s: the daemon does not know %s", how, short(f.sha))
	}
	return fmt.Sprintf("%s: %s", how, clean(f.last.Description))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
