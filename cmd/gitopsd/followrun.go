package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// runPoll is how often a run is asked for.
const runPoll = 300 * time.Millisecond

// tenant asks for a tenant; false if the daemon knows none of the name.
func (c *client) tenant(ctx context.Context, name string) (d console.Detail, known bool, err error) {
	err = c.get(ctx, apiPath("tenants", name), &d)
	if fault.Is(err, fault.NotFound) && !errors.Is(err, errUnreachable) {
		return d, false, nil
	}
	return d, err == nil, err
}

// runFollower shows how far a tenant's run is, until it is over.
type runFollower struct {
	client  *client
	t       *terminal
	tenant  string
	timeout time.Duration

	shown string
}

// follow returns the run that find recognises, once it is over. A daemon that
// goes away meanwhile is waited for.
func (f *runFollower) follow(ctx context.Context, find func(console.Detail) *console.Run) (*console.Run, error) {
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	for {
		d, _, err := f.client.tenant(bounded, f.tenant)
		switch {
		case bounded.Err() != nil: // below
		case errors.Is(err, errUnreachable) || fault.Is(err, fault.Transient):
			f.show("the daemon does not answer; trying again")
		case err != nil:
			return nil, err
		default:
			run := find(d)
			if run == nil {
				return nil, fault.Errorf(fault.Conflict, "%s was changed by a newer commit: nothing was done", f.tenant)
			}
			f.show(runLine(run))
			if run.Status.Terminal() {
				return run, nil
			}
		}
		if pause(bounded, runPoll) != nil {
			how := "not finished after " + tenant.FormatDuration(f.timeout)
			if ctx.Err() != nil {
				how = "interrupted"
			}
			fmt.Fprintf(f.t.err, "%s: it goes on; see how far it is with: gitopsd describe %s\n", how, clean(f.tenant))
			return nil, exitError(exitUnfinished)
		}
	}
}

func (f *runFollower) show(line string) {
	if f.shown != line {
		f.shown = line
		fmt.Fprintln(f.t.err, line)
	}
}

func runLine(r *console.Run) string {
	line := string(r.Operation) + " " + string(r.Status)
	if r.State != "" && !r.Status.Terminal() {
		line += " in " + clean(r.State)
	}
	return line
}

// runOf returns the run of a name among a tenant's last ones, or nil.
func runOf(d console.Detail, id string) *console.Run {
	for i := range d.Runs {
		if d.Runs[i].ID == id {
			return &d.Runs[i]
		}
	}
	return nil
}

// confirm has the user agree, unless that was said before. Without anybody to
// ask, it is fault.Invalid.
func (t *terminal) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !term.IsTerminal(int(t.in.Fd())) {
		return fault.Errorf(fault.Invalid, "this needs a yes: %s", question).WithHint("say it with --yes")
	}
	fmt.Fprint(t.err, question+" [y/N] ")
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil {
		return fault.Errorf(fault.Invalid, "no answer: nothing is done")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(t.err, "nothing is done")
	return exitError(exitFailed)
}
